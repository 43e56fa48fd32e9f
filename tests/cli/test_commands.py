"""The other commands: attack, doctor, help, and a pipe that closes early."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardrank.attacks.roll import ROLL

Call = Callable[..., Any]
ALL: tuple[Any, ...] = ROLL


def test_every_attack_is_listed_with_what_it_needs(hardrank: Call) -> None:
    done = hardrank("attack", "list")
    assert done.exit_code == 0
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()[1:]}
    assert set(rows) == {made.kind for made in ALL}
    assert len(rows) == len(ALL), "two attacks of one kind"
    assert rows["greedy-words"][1:3] == ["ranks", "item-text,query-text"]
    assert rows["copycat"][1] == "ranks"
    assert rows["bandwagon"][1:3] == ["catalogue", "profiles"]
    assert rows["copy-profile"][1:3] == ["log", "profiles"]
    assert rows["template-reviews"][1:3] == ["catalogue", "reviews"]


@pytest.mark.parametrize("made", ALL, ids=lambda made: made.kind)
def test_every_hyperparameter_is_shown(hardrank: Call, made: Any) -> None:
    done = hardrank("attack", "show", made.kind)
    assert done.exit_code == 0
    for name, field in made.__pydantic_fields__.items():
        if name != "kind":
            assert f"\n{name} = " in done.stdout
            assert field.description, f"{made.kind}.{name} has no docstring"


def test_an_unknown_attack_lists_the_known(hardrank: Call) -> None:
    done = hardrank("attack", "show", "hotflop")
    assert done.exit_code == 2
    assert "unknown kind 'hotflop'; allowed: append-title, " in done.stderr


def test_the_doctor_is_content_here(
    hardrank: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARDRANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HARDRANK_DATA", str(tmp_path / "nowhere"))
    done = hardrank("doctor")
    assert done.exit_code == 0, done.stdout
    signs = {line[8:17].strip(): line for line in done.stdout.splitlines()}
    assert set(signs) == {
        "hardrank", "python", "torch", "cores", "encoder", "cache", "data", "disk",
    }  # fmt: skip
    assert signs["data"].startswith("note")
    assert "set HARDRANK_DATA" in signs["data"]


def test_the_doctor_names_a_cache_that_cannot_be_written(
    hardrank: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    monkeypatch.setenv("HARDRANK_CACHE", str(tmp_path / "file" / "cache"))
    done = hardrank("doctor")
    assert done.exit_code == 1
    assert "MISSING cache" in done.stdout
    assert "set HARDRANK_CACHE" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["run"], ["recommend"], ["doctor"], ["data", "check"], ["data", "card"], ["data", "fetch"],
        ["report", "render"], ["report", "verify"], ["attack", "list"], ["attack", "show"],
    ],
)  # fmt: skip
def test_every_command_explains_itself(hardrank: Call, command: list[str]) -> None:
    done = hardrank(*command, "--help")
    assert done.exit_code == 0
    assert "Usage:" in done.stdout


def test_an_unknown_option_is_exit_code_2(hardrank: Call) -> None:
    assert hardrank("run", "x.toml", "--fast").exit_code == 2
    assert hardrank("runs").exit_code == 2


def test_a_right_file_is_fine_without_running(hardrank: Call, tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text(
        'name = "e"\ndata = { kind = "marketplace" }\nmodel = { kind = "text-sequence" }\n', "utf-8"
    )
    done = hardrank("run", path, "--check")
    assert (done.exit_code, done.stdout) == (0, f"{path}: fine\n")
    assert list(tmp_path.iterdir()) == [path]


def test_verify_wants_a_finished_run(hardrank: Call, tmp_path: Path) -> None:
    done = hardrank("report", "verify", tmp_path)
    assert done.exit_code == 3
    assert "give the folder of a finished run" in done.stderr
    done = hardrank("report", "render", tmp_path)
    assert done.exit_code == 3
    assert done.stderr.startswith("hardrank: ")
