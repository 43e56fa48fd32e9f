"""Folders of finished runs, made by hand: every number in them is known."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hardrank.audits import samples as table
from hardrank.audits.measure import measure
from hardrank.files import write_json

ATTACK = "copycat(candidates=4)"
THREAT = {
    "goal": {"kind": "promote", "items": "unpopular:2", "k": 5},
    "knowledge": "ranks",
    "budget": {"words": 2, "queries": 20, "whole_text": True},
}
MakeRun = Callable[..., Path]


def _utility(subject: str, seed: int, ranks: Sequence[int]) -> pl.DataFrame:
    """Of users u0, u1, ...; every second one's item is of the tail."""
    return table.samples({
        "subject": subject, "seed": seed, "audit": "utility", "trial": "clean",
        "sample": [f"u{n}" for n in range(len(ranks))],
        "group": ["tail" if n % 2 else "head" for n in range(len(ranks))], "rank": list(ranks),
    })  # fmt: skip


def _promotion(subject: str, seed: int, hits: Mapping[str, int], k: int) -> pl.DataFrame:
    """hits: target -> users of 10 who get it after the attack; nobody did before."""
    return table.samples({
        "subject": subject, "seed": seed, "audit": "promotion", "trial": ATTACK,
        "sample": list(hits), "goal": "promote", "site": "item-text", "knowledge": "ranks",
        "k": k, "eligible": 10, "hits_before": 0, "hits_after": list(hits.values()),
        "success": [h > 0 for h in hits.values()], "excluded": False, "words": 2, "queries": 4,
    })  # fmt: skip


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A run of `m/control` and other arms: ranks of four users and hits of targets a and b."""

    def make(
        name: str,
        arms: Mapping[str, tuple[Sequence[int], Mapping[str, int]]],
        *,
        seeds: Sequence[int] = (0,),
        k: int = 5,
        unreliable: str = "",
        **facts: Any,
    ) -> Path:
        parts = []
        for arm, (ranks, hits) in arms.items():
            for seed in seeds:
                parts.append(_utility(f"m/{arm}", seed, ranks))
                parts.append(_promotion(f"m/{arm}", seed, hits, k))
        samples = table.gather(parts)
        findings = []
        for arm in arms:
            about = {"subject": f"m/{arm}", "audit": "promotion", "trial": ATTACK}
            findings.append(measure(samples, metric=f"er_gain@{k}", formula="er_gain", **about))
            findings.append(measure(samples, subject=f"m/{arm}", audit="utility", metric="ndcg@10"))
        if unreliable:
            findings = [replace(f, reliable=False, reason=unreliable) for f in findings]
        folder = tmp_path / "made" / name
        folder.mkdir(parents=True)
        table.save(samples, folder / "samples.parquet")
        write_json(folder / "findings.json", [asdict(f) for f in findings])
        goal = {**THREAT["goal"], "k": k}  # type: ignore[dict-item]
        trial = {"threat": {**THREAT, "goal": goal},
                 "attacks": [{"kind": "copycat", "candidates": 4}]}  # fmt: skip
        config = {"data": {"kind": "table"}, "trials": [trial]}
        run = {"name": name, "model": "m", "seeds": list(seeds), "fingerprint": "f" * 64,
               "protocol": "leave-one-out", "config": config}  # fmt: skip
        (folder / "run.json").write_text(json.dumps(run | facts), "utf-8")
        return folder

    return make
