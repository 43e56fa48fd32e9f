"""Every number is recomputed from the samples; an altered one is caught (S0-08, S1-20)."""

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

from hardrank.audits.measure import measure
from hardrank.audits.samples import gather, samples, save
from hardrank.audits.verify import verify
from hardrank.errors import DataError
from hardrank.files import write_json


@pytest.fixture
def run(tmp_path: Path) -> Path:
    table = gather(
        samples(
            {
                "subject": f"m/{arm}", "seed": seed, "audit": "utility", "trial": "clean",
                "sample": [f"u{n}" for n in range(40)],
                "rank": [1 + (n * (7 + seed) + shift) % 23 for n in range(40)],
            }
        )
        for arm, shift in (("control", 0), ("hardened", 3))
        for seed in range(3)
    )  # fmt: skip
    findings = [
        measure(table, subject=f"m/{arm}", audit="utility", metric=metric)
        for arm in ("control", "hardened")
        for metric in ("ndcg@10", "hr@10", "mrr")
    ]
    findings.append(
        measure(table, subject="m/hardened", audit="utility", metric="price",
                versus={"subject": "m/control"})
    )  # fmt: skip
    findings.append(measure(table, subject="m/control", audit="gate", metric="value"))
    save(table, tmp_path / "samples.parquet")
    write_json(tmp_path / "findings.json", [asdict(f) for f in findings])
    return tmp_path


def test_an_untouched_run_agrees(run: Path) -> None:
    assert verify(run) == []


@pytest.mark.parametrize(
    ("part", "change"),
    [("value", 1e-6), ("low", -1e-6), ("high", 0.01), ("n", 1), ("seeds", (7,)), ("per_seed", ())],
)
def test_an_altered_finding_is_caught(run: Path, part: str, change: object) -> None:
    path = run / "findings.json"
    rows = json.loads(path.read_text())
    rows[2][part] = change if isinstance(change, tuple) else rows[2][part] + change
    path.write_text(json.dumps(rows))
    (found,) = verify(run)
    assert (found.number, found.part) == (2, part)
    assert "m/control clean mrr" in str(found)


def test_one_altered_sample_is_caught(run: Path) -> None:
    table = pl.read_parquet(run / "samples.parquet")
    moved = pl.when(pl.int_range(pl.len()) == 0).then(pl.col("rank") + 30).otherwise(pl.col("rank"))
    table.with_columns(rank=moved).write_parquet(run / "samples.parquet")
    assert {m.number for m in verify(run)} >= {0, 2, 6}


def test_a_missing_sample_and_an_invented_formula_are_caught(run: Path) -> None:
    table = pl.read_parquet(run / "samples.parquet")
    table.filter(pl.col("subject") != "m/hardened").write_parquet(run / "samples.parquet")
    found = verify(run)
    assert {m.number for m in found} == {3, 4, 5, 6}
    rows = json.loads((run / "findings.json").read_text())
    rows[0]["formula"] = "ndcg@11"
    rows[1]["formula"] = "made-up"
    (run / "findings.json").write_text(json.dumps(rows))
    parts = {(m.number, m.part) for m in verify(run)}
    assert {(0, "value"), (1, "formula")} <= parts


def test_broken_files_are_named(run: Path) -> None:
    (run / "findings.json").write_text("[{")
    with pytest.raises(DataError, match="not a list of findings"):
        verify(run)
    (run / "findings.json").unlink()
    with pytest.raises(DataError, match=r"findings.json: no such file"):
        verify(run)
