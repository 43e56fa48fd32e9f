"""Measured strength of attacks, collected from finished runs for the attack cards.

python -m hardrank.experiment.strength docs/attacks/measured.json RUN [RUN ...]
"""

import json
import sys
from pathlib import Path
from typing import Any

import polars as pl

from hardrank.audits import samples as table
from hardrank.files import write_json

__all__ = ["cheapest", "collect"]

METRICS = (
    "er_before", "er_after", "er_gain", "rank_before", "rank_after", "asr", "words", "similarity",
    "cosine", "perplexity", "queries", "value", "events",
)  # fmt: skip


def collect(runs: list[Path]) -> dict[str, Any]:
    """Run name -> what was attacked, and for each attack every metric with its interval.

    Only the control arm (or the only arm) counts: strength is that against no defence.
    """
    return {_name(run): _strength(run) for run in runs}


def _name(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text("utf-8"))["name"])


def _strength(run: Path) -> dict[str, Any]:
    facts = json.loads((run / "run.json").read_text("utf-8"))
    findings = json.loads((run / "findings.json").read_text("utf-8"))
    attacks: dict[str, dict[str, Any]] = {}
    for f in findings:
        if f["audit"] not in ("promotion", "history") or f["subject"].endswith("/hardened"):
            continue
        if f["formula"] in METRICS and f["value"] is not None:
            row = attacks.setdefault(f["trial"], {"audit": f["audit"], "n": f["n"]})
            row[f["formula"]] = [_short(f["value"]), _short(f["low"]), _short(f["high"])]
    samples = table.load(run / "samples.parquet")
    for trial, seconds in _seconds(samples).items():
        if trial in attacks:
            attacks[trial]["seconds"] = [_short(seconds), None, None]
    return {
        "model": facts["model"],
        "seeds": facts["seeds"],
        "threats": facts["threats"],
        "attacks": attacks,
        "refused": _refused(samples),
        "curves": _curves(findings),
        "cheapest": cheapest(samples),
    }


def _seconds(samples: pl.DataFrame) -> dict[str, float]:
    """Mean wall time of a match; no finding, since no run repeats it."""
    rows = samples.filter(
        pl.col("seconds").is_not_null() & ~pl.col("subject").str.ends_with("/hardened")
    )
    return dict(rows.group_by("trial").agg(pl.col("seconds").mean()).iter_rows())


def _refused(samples: pl.DataFrame) -> dict[str, str]:
    """Attacks that could not be mounted, and why."""
    rows = samples.filter(pl.col("error").is_not_null()).select("trial", "error").unique()
    return dict(sorted(rows.iter_rows()))


def _curves(findings: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`site goal inner` -> radius -> value with interval, of the control arm's curves."""
    out: dict[str, dict[str, Any]] = {}
    for f in findings:
        if f["audit"] != "curve" or f["subject"].endswith("/hardened") or f["value"] is None:
            continue
        if f["formula"] in ("er_after", "ndcg@10"):
            where = f["where"]
            key = f"{where['goal']} at {where['site']}: {f['trial']}"
            out.setdefault(key, {})[str(f["radius"])] = [
                _short(f["value"]), _short(f["low"]), _short(f["high"]),
            ]  # fmt: skip
    return out


def cheapest(samples: pl.DataFrame) -> list[dict[str, Any]]:
    """For each target of each seed the successful attack with the fewest queries, then words;
    a target that no attack promoted has none."""
    rows = samples.filter(
        (pl.col("audit") == "promotion") & ~pl.col("subject").str.ends_with("/hardened")
    ).filter(~pl.col("excluded").fill_null(False))
    if not rows.height:
        return []
    won = rows.filter(pl.col("success").fill_null(False)).sort("queries", "words", "trial")
    best = won.group_by("seed", "sample", maintain_order=True).first()
    every = rows.select("seed", "sample").unique().sort("seed", "sample")
    joined = every.join(
        best.select("seed", "sample", "trial", "queries", "words"), on=["seed", "sample"],
        how="left",
    )  # fmt: skip
    return joined.sort("seed", "sample").to_dicts()


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


if __name__ == "__main__":
    write_json(Path(sys.argv[1]), collect([Path(name) for name in sys.argv[2:]]))
