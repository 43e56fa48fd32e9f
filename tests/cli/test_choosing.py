"""tune, compare and leaderboard on the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]
FILE = """
name = "tiny"
data = { kind = "marketplace", users = 80, items = 60, median_events = 6 }
finetune = { epochs = 1, batch_size = 128, keep = "last", patience = 0, precision = "float32" }
gates = { panel = 16 }

[model]
kind = "text-sequence"
size = 16
length = 10
whiten = 16
max_tokens = 16
training = { epochs = 1, batch_size = 128, patience = 0, precision = "float32" }

[harden]
kind = "adversarial"
inner = { kind = "fgm" }
radius = 0.1

[[trials]]
threat = { goal = { kind = "promote", items = "unpopular:2", k = 5 }, knowledge = "ranks", budget = { queries = 5, whole_text = true } }
attacks = [{ kind = "copycat", candidates = 2 }]

[tune]
points = 2
price = 1.0
space = [{ path = "harden.weight", choices = [0.1, 0.3] }]
"""  # noqa: E501


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    monkeypatch.setenv("HARDRANK_CACHE", str(tmp_path / "cache"))

    def write(more: str = "") -> Path:
        path = tmp_path / "t.toml"
        path.write_text(FILE + more, "utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "command",
    [["tune"], ["compare"], ["leaderboard"], ["leaderboard", "add"], ["leaderboard", "build"],
     ["leaderboard", "verify"]],
)  # fmt: skip
def test_each_command_explains_itself(hardrank: Call, command: list[str]) -> None:
    done = hardrank(*command, "--help")
    assert done.exit_code == 0 and "Usage:" in done.stdout


def test_a_right_tuning_is_fine_and_a_wrong_one_is_not(
    hardrank: Call, file: Callable[[str], Path]
) -> None:
    path = file("")
    done = hardrank("tune", path, "--check")
    assert (done.exit_code, done.stdout) == (0, f"{path}: fine\n")
    done = hardrank("tune", file("startupp = 3\n"), "--check")
    assert done.exit_code == 2
    assert "tune.startupp: unknown key; did you mean 'startup'?" in done.stderr


@pytest.mark.slow
def test_a_floor_that_nothing_keeps_is_exit_code_1(
    hardrank: Call, file: Callable[[str], Path], tmp_path: Path
) -> None:
    """S0-48: planted: more of the catalogue than there is. Then the floor that holds."""
    out, floor = tmp_path / "out", 'floors = [{ metric = "coverage@10", least = 1.5 }]\n'
    done = hardrank("tune", file(floor), "--out", out, "--trials", 1, "-q")
    assert done.exit_code == 1, done.stderr
    assert "no configuration keeps every limit; binding: coverage@10: " in done.stdout
    assert ", at least 1.5" in done.stdout and not (out / "recommended.toml").exists()
    assert json.loads((out / "tune.json").read_text("utf-8"))["binding"]["name"] == "coverage@10"
    held = floor.replace("1.5", "0.01")
    done = hardrank("tune", file(held), "--out", out, "-q")
    assert done.exit_code == 2 and "holds the points of another file" in done.stderr
    done = hardrank("tune", file(held), "--out", tmp_path / "held", "-q")
    assert done.exit_code == 0, done.stderr
    assert "is recommended\n  harden.weight = 0." in done.stdout
    done = hardrank("run", tmp_path / "held" / "recommended.toml", "--check")
    assert done.exit_code == 0, done.stderr


def test_what_is_no_run_and_no_entry_is_said(hardrank: Call, tmp_path: Path) -> None:
    done = hardrank("compare", tmp_path, tmp_path)
    assert done.exit_code == 3 and "give the folder of a finished run" in done.stderr
    done = hardrank("leaderboard", "build", tmp_path)
    assert done.exit_code == 2 and "no entries; make one with" in done.stderr
    done = hardrank("leaderboard", "verify", tmp_path / "x.json", tmp_path)
    assert done.exit_code == 2 and "no such file" in done.stderr
    done = hardrank("leaderboard", "add", tmp_path, "--citation", "x", "--entry", tmp_path)
    assert done.exit_code == 3 and "give the folder of a finished run" in done.stderr
