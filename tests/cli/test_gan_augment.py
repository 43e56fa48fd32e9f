"""`hardrank gan augment` on a log of one's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]
FILE = """
name = "shop"
seeds = [0]
data = { kind = "marketplace", users = 60, items = 60, median_events = 6 }
models = [{ kind = "item-knn" }]
generator = { size = 4, noise = 4, width = 8, steps = 10, warmup = 4, every = 5, batch_size = 16 }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "shop.toml").write_text(FILE, "utf-8")
    return tmp_path / "shop.toml"


def test_it_trains_measures_and_answers(hardrank: Call, file: Path, tmp_path: Path) -> None:
    """S2-13: one line a verdict, in words."""
    out = tmp_path / "run"
    done = hardrank("gan", "augment", file, "-o", out, "-q")
    assert done.exit_code == 0, done.output
    first, last = done.stdout.splitlines()
    assert first.startswith(("item-knn, sparse users: gain (", "item-knn, sparse users: no gain ("))
    assert last == f"table: {out / 'augmentation.md'}"
    assert first in (out / "augmentation.md").read_text("utf-8")
    about = json.loads((out / "run.json").read_text("utf-8"))
    assert about["verdicts"][0]["question"] == "sparse users"
    assert {p.name for p in out.iterdir()} >= {"samples.parquet", "findings.json"}


def test_check_reads_the_file_and_stops(hardrank: Call, file: Path, tmp_path: Path) -> None:
    done = hardrank("gan", "augment", file, "--check", "-o", tmp_path / "run")
    assert done.exit_code == 0 and done.stdout == f"{file}: fine\n"
    assert not (tmp_path / "run").exists()
    file.write_text(FILE.replace("seeds", "seed"), "utf-8")
    done = hardrank("gan", "augment", file, "--check")
    assert done.exit_code == 2
    assert "seed: unknown key; did you mean 'seeds'?" in done.output
