"""What the documents say is true: commands exist, files are right, examples run."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

from hardrank.cli.main import app
from hardrank.errors import ConfigError
from hardrank.experiment import Experiment, parse_experiment
from hardrank.experiment.audit_spec import Audit, parse_audit
from hardrank.experiment.closed_loop_spec import Loop, parse_loop
from hardrank.experiment.gan_spec import parse_gan
from hardrank.experiment.guard_spec import parse_guard_fitting
from hardrank.experiment.mistakes import kind_of, specs_in
from hardrank.experiment.poison_spec import parse_poisoning
from hardrank.experiment.reference import described, reference
from hardrank.experiment.retrain_spec import parse_retraining
from hardrank.experiment.tune_spec import Tune, parse_tuning

ROOT = Path(__file__).resolve().parents[1]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(path: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block."""
    for found in re.finditer(r"^```(\w*)\n(.*?)^```", path.read_text("utf-8"), re.M | re.S):
        yield found[1], found[2]


def commands() -> dict[str, set[str]]:
    """`data check` -> its options, for every command of the command line."""
    found: dict[str, set[str]] = {}

    def walk(command: object, name: str) -> None:
        inner = getattr(command, "commands", {})
        for key, each in inner.items():
            walk(each, f"{name} {key}".strip())
        options = {o for p in command.params for o in p.opts}  # type: ignore[attr-defined]
        found[name] = {*options, "--help"}

    walk(typer.main.get_command(app), "")
    return found


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_only_commands_that_exist_are_mentioned(path: Path) -> None:
    known = commands()
    text = path.read_text("utf-8")
    for found in re.finditer(r"^hardrank .*$|`hardrank [^`]*`", text, re.M):
        line = found[0].strip("`")
        words = shlex.split(line, comments=True)[1:]
        if words[0].startswith("-"):
            assert words[0] in known[""], f"{path.name}: no such option: {line}"
            continue
        choices = words[1].split("|") if len(words) > 1 else [""]
        for choice in choices:
            two = f"{words[0]} {choice}".strip()
            name = two if two in known else words[0]
            assert name in known, f"{path.name}: no such command: {line}"
            assert words[0] not in ("data", "report", "attack") or name == two or "--" in two, line
            options = {w.split("=")[0] for w in words if re.match(r"--?[a-z]", w)}
            assert options <= known[name], f"{path.name}: no such option: {line}"


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_make_targets_that_are_mentioned_exist(path: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = re.findall(r"^make (\w+)|`make (\w+)", path.read_text("utf-8"), re.M)
    assert {a or b for a, b in named} <= targets


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert link.startswith("https://") or (path.parent / link).exists(), link


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_toml_in_documents_is_right(path: Path) -> None:
    """Every block, whole files and parts of them, is read as `hardrank` reads it."""
    for language, text in blocks(path):
        if language == "toml":
            read(tomllib.loads(text), path.name)


PART = {
    "name": "part",
    "data": {"kind": "marketplace"},
    "model": {"kind": "text-sequence"},
    "harden": {"kind": "adversarial", "inner": {"kind": "fgm"}, "radius": 0.1},
    "trials": [
        {
            "threat": {"goal": {"kind": "promote"}, "budget": {"words": 3}},
            "attacks": [{"kind": "greedy-words"}],
        }
    ],
}
"""What stands around a part of a file."""
SPACE = [{"path": "harden.radius", "low": 0.01, "high": 0.1}]


def read(raw: dict[str, Any], source: str) -> object:
    """Raises `ConfigError` for what no command would take."""
    if "victim" in raw:
        return parse_audit(raw, source=source)
    if "gan" in raw:
        return parse_gan(raw, source=source)
    if "champion" in raw:
        return parse_retraining(raw, source=source)
    if "reviews" in raw:
        guards = (ROOT / "examples" / "guards" / "demo.toml").read_text("utf-8")
        return parse_guard_fitting({**tomllib.loads(guards), **raw}, source=source)
    if "defences" in raw:
        poisoning = (ROOT / "examples" / "poisoning" / "poisoning.toml").read_text("utf-8")
        return parse_poisoning({**tomllib.loads(poisoning), **raw}, source=source)
    if "orders" in raw:
        return parse_guard_fitting(raw, source=source)
    if raw.keys() <= {f.name for f in fields(Tune)} - {f.name for f in fields(Experiment)}:
        raw = {"tune": {"space": SPACE, **raw}}
    whole = raw if "data" in raw else {**PART, **raw}
    if "loop" in raw:
        return parse_loop(whole, source=source)
    return (parse_tuning if "tune" in raw else parse_experiment)(whole, source=source)


def test_wrong_toml_in_a_document_is_found() -> None:
    for wrong in (
        "[[arms]]\nname = 'x'\nobjective = { kind = 'advers' }",
        "floors = [{ least = 1 }]",
    ):
        with pytest.raises(ConfigError):
            read(tomllib.loads(wrong), "a page")


def run(command: list[str], folder: Path) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HARDRANK_CACHE": str(folder / "cache"),
        "COLUMNS": "100",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_readme_example_runs(tmp_path: Path) -> None:
    (code,) = (
        text
        for language, text in blocks(ROOT / "README.md")
        if language == "python" and "HARDRANK_URL" not in text  # the client: tests of the service
    )
    said = run([sys.executable, "-c", code], tmp_path)
    assert "item_id" in said
    assert (tmp_path / "my-bundle" / "SHA256SUMS").is_file()


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path) -> None:
    """S0-08: one command, one report; S0-17: with its control."""
    said, code = {}, ""
    for language, text in blocks(ROOT / "docs" / "tutorial.md"):
        if language == "toml":  # the whole file, then what is added at its end
            with (tmp_path / "first.toml").open("a", encoding="utf-8") as file:
                file.write(text)
        elif language == "sh":
            for line in text.splitlines():
                said[line] = run(["bash", "-c", line], tmp_path)
        elif language == "python":
            code += text
    folder = tmp_path / "runs" / "first"
    table = said["hardrank run first.toml --out runs/first"]
    assert table.startswith("Verdict: ")
    assert "report: runs/first/report.html" in table
    (verified,) = said["hardrank report verify runs/first"].splitlines()
    right, total = re.findall(r"\d+", verified)[:2]
    assert right == total and int(total) > 100
    for named in (
        "report.html",
        "report.md",
        "findings.json",
        "samples.parquet",
        "bundle/spec.json",
    ):
        assert (folder / named).is_file(), named
    arms = (folder / "report.md").read_text("utf-8")
    assert all(arm in arms for arm in ("control", "hardened", "bounded"))
    recommended = [text for line, text in said.items() if line.startswith("hardrank recommend")]
    assert [len(text.splitlines()) for text in recommended] == [6, 6]  # a banner and five items
    attack = run([sys.executable, "-c", code], tmp_path)
    assert "-> " in attack and "2 words" in attack
    page = (folder / "report.html").read_bytes()
    limited = "ulimit -f 4; trap '' XFSZ; hardrank report render runs/first 2>&1; [ $? = 4 ]"
    assert "nothing half-written was left" in run(["bash", "-c", limited], tmp_path)
    assert (folder / "report.html").read_bytes() == page
    assert not list(folder.glob(".*"))
    again = run(["bash", "-c", "hardrank run first.toml --out runs/first"], tmp_path)
    assert again == table


def test_the_reference_of_the_experiment_file_is_current() -> None:
    """Every key of every spec, with its default: run the command that the page names."""
    assert (ROOT / "docs" / "experiment.md").read_text("utf-8") == reference()


def test_every_key_of_every_spec_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "experiment.md").read_text("utf-8")
    sections = dict(re.findall(r"^## `(.+?)`\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    assert len(sections) == len(described())
    for made, section in zip(described(), sections.values(), strict=True):
        for name in (f.name for f in fields(made)):
            assert name == "kind" or f"| `{name}` |" in section, f"{made.__name__}.{name}"


def test_every_key_of_every_spec_has_a_meaning() -> None:
    """A docstring under each attribute that an experiment, a search or an audit can spell."""
    found, waiting = set[type](), [*described(), Tune, Loop, Audit]
    while waiting:
        made: Any = waiting.pop()
        if made not in found:
            found.add(made)
            waiting += [inner for f in fields(made) for inner in specs_in(f.type)]
    lacking = [
        f"{made.__module__}.{made.__name__}.{f.name}"
        for made in found
        for f in fields(made)
        if f.name != "kind" and not _meaning(made, f.name)
    ]
    assert not lacking, "\n".join(sorted(lacking))
    assert not [made.__name__ for made in found if not made.__doc__]


def _meaning(made: Any, name: str) -> str:
    inherited = (getattr(base, "__pydantic_fields__", {}).get(name) for base in made.__mro__)
    return next((f.description for f in inherited if f and f.description), "")


def test_the_reference_names_every_kind() -> None:
    text = (ROOT / "docs" / "experiment.md").read_text("utf-8")
    kinds = [kind for made in described() if (kind := kind_of(made))]
    assert len(kinds) > 100
    assert [kind for kind in kinds if f'`kind = "{kind}"`' not in text] == []


def test_the_table_of_requirements_names_tests_that_show_them() -> None:
    """Each row's test file exists and cites the row."""
    text = (ROOT / "docs" / "requirements.md").read_text("utf-8")
    rows = re.findall(r"^\| (S\d-\d\d) \|.*\| (.*?) \|$", text, re.M)
    assert len(rows) > 20
    assert [row for row, _ in rows] == sorted({row for row, _ in rows})
    for row, shown in rows:
        files = re.findall(r"`(tests/[^`:]+\.py)", shown)
        assert files, row
        for name in files:
            assert row in (ROOT / name).read_text("utf-8"), f"{name} does not cite {row}"
