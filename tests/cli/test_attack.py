"""`hardrank attack run|replay`: mounting attacks on a bundle, and transfer by replay."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hardrank.audits import samples as table
from hardrank.bundle import save_bundle
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.models import Tfidf
from hardrank.threats import MatchLog

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def reader(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose recommender reads titles."""
    folder = tmp_path_factory.mktemp("bundles") / "tfidf"
    about = {"name": "t", "arm": "base", "seed": 0, "dataset": "market", "synthetic": True}
    save_bundle(folder, Tfidf(), Tfidf().fit(data, RunContext()), data, about)
    return folder


def run(hardrank: Call, bundle: Path, out: Path, *more: object) -> Any:
    return hardrank(
        "attack", "run", bundle, "--quiet", "--items", "unpopular:4", "--queries", "60", "--panel",
        "30", "-o", out, *more,
    )  # fmt: skip


def test_attacks_are_mounted_logged_and_resumed(
    hardrank: Call, reader: Path, tmp_path: Path
) -> None:
    """Every target of every attack is a line; a second run plays nothing again."""
    args = ("-a", "copycat", "-a", '{ kind = "random-words", vocabulary = 5 }')
    done = run(hardrank, reader, tmp_path, *args)
    assert done.exit_code == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert {"copycat", "random-words(vocabulary=5)"} <= set(rows)
    matches = list(MatchLog(tmp_path / "matches.jsonl"))
    assert len(matches) == 8 and {m.attack for m in matches} == set(rows) & {
        "copycat", "random-words(vocabulary=5)",
    }  # fmt: skip
    samples = table.load(tmp_path / "samples.parquet")
    gained = samples.filter(pl.col("trial") == "copycat")
    shown = float(rows["copycat"][2])
    assert shown == pytest.approx((gained["hits_after"] / gained["eligible"]).mean(), abs=1e-4)
    before = (tmp_path / "matches.jsonl").read_bytes()
    again = run(hardrank, reader, tmp_path, *args)
    assert again.stdout == done.stdout and (tmp_path / "matches.jsonl").read_bytes() == before


def test_patches_are_replayed_on_another_recommender(
    hardrank: Call, reader: Path, bundle: Path, tmp_path: Path
) -> None:
    """On the victim itself the replay measures the same; on one that reads no text, nothing."""
    done = run(hardrank, reader, tmp_path / "a", "-a", "copycat")
    log = tmp_path / "a" / "matches.jsonl"
    same = hardrank("attack", "replay", log, reader, "-o", tmp_path / "b")
    assert same.exit_code == 0 and "copycat (transfer)" in same.stdout
    assert done.stdout.splitlines()[1].split()[1:6] == same.stdout.splitlines()[1].split()[2:7]
    findings = json.loads((tmp_path / "b" / "findings.json").read_text())
    assert {f["trial"] for f in findings} == {"copycat (transfer)"}
    deaf = hardrank("attack", "replay", log, bundle)
    cells = deaf.stdout.splitlines()[1].split()
    assert cells[2] == cells[3], "item-knn reads no titles: exposure before and after are equal"


def test_histories_are_attacked(hardrank: Call, bundle: Path, tmp_path: Path) -> None:
    done = run(
        hardrank, bundle, tmp_path, "-a", "insert-events", "-a", "random-events", "--surface",
        "history", "--users", "6", "--events", "2",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    samples = table.load(tmp_path / "samples.parquet")
    assert set(samples["audit"]) == {"history"} and samples["events"].max() <= 2
    mean = samples.group_by("trial").agg(pl.col("rank_after").mean())
    ranks = dict(mean.iter_rows())
    assert ranks["insert-events [scores]"] < ranks["random-events"]


def test_every_mistake_is_named(hardrank: Call, reader: Path, tmp_path: Path) -> None:
    done = run(hardrank, reader, tmp_path, "-a", "copycot", "--knowledge", "all")
    assert done.exit_code == 2
    assert "copycot" in done.stderr and "knowledge" in done.stderr
    broken = run(hardrank, reader, tmp_path, "-a", "{ kind = ")
    assert broken.exit_code == 2 and "not TOML" in broken.stderr
    query = run(hardrank, reader, tmp_path, "-a", "random-words", "--surface", "query-text")
    assert query.exit_code == 2 and "--surface query-text: must be one of" in query.stderr
    flip = run(hardrank, reader, tmp_path, "-a", "copycat", "--goal", "flip")
    assert flip.exit_code == 2 and "--goal flip: must be one of promote, demote" in flip.stderr
    nothing = tmp_path / "none.jsonl"
    nothing.write_text("")
    empty = hardrank("attack", "replay", nothing, reader)
    assert empty.exit_code == 3 and "holds no match" in empty.stderr


def test_unknown_targets_are_named(hardrank: Call, reader: Path) -> None:
    done = hardrank("attack", "run", reader, "--items", "nope,neither", "--quiet")
    assert done.exit_code == 3 and "nope" in done.stderr
