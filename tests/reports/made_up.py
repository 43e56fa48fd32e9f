"""A run folder with made-up numbers in realistic sizes: 3 seeds, 2 arms, 3 attacks, 5 radii.

`python -m tests.reports.made_up FOLDER` writes one to look at.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardrank.findings import Finding

SEEDS = (0, 1, 2)
ARMS = ("control", "hardened")
GROUPS = ("all", "warm", "head", "mid", "tail", "cold")
RADII = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
PROTOCOL = "full ranking over all unseen items; seen items removed; ties count against the model"
MODEL = "text-sequence"
NASTY = '<script>alert("x")</script> "><img src=x onerror=alert(1)> \u202egnp.exe | `code` & Co'

_QUALITY = {  # HR, NDCG, MRR over all items, by models as trained and by the hardening stage
    "hybrid/base": (0.0998, 0.0602, 0.0531),
    "text-sequence/base": (0.0731, 0.0398, 0.0348),
    "text-sequence/control": (0.0721, 0.0391, 0.0342),
    "text-sequence/hardened": (0.0714, 0.0385, 0.0337),
    "tfidf-knn-hybrid/base": (0.0956, 0.0564, 0.0487),
    "sasrec/base": (0.0841, 0.0423, 0.0371),
    "item-knn/base": (0.0748, 0.0438, 0.0379),
    "tfidf-text/base": (0.0539, 0.0306, 0.0261),
    "bpr-mf/base": (0.0402, 0.0201, 0.0176),
    "popularity/base": (0.0120, 0.0056, 0.0051),
}
_HIDDEN = {  # HR, NDCG, MRR on warm, then on cold items, of models that never met the cold ones
    "hybrid/hidden": (0.0991, 0.0598, 0.0527, 0.0288, 0.0121, 0.0102),
    "text-sequence/hidden": (0.0724, 0.0393, 0.0343, 0.0302, 0.0110, 0.0094),
}
_SHARES = {"all": 1.0, "warm": 1.02, "head": 1.6, "mid": 0.9, "tail": 0.42, "cold": 0.28}
_PRICES = {"all": (0.015, 0.02), "warm": (0.016, 0.02), "head": (0.011, 0.03),
           "mid": (0.02, 0.03), "tail": (-0.021, 0.04), "cold": (0.009, 0.05)}  # fmt: skip
_ATTACKS = {"copycat": (0.167, 0.016), "greedy-words": (0.037, 0.009), "hotflip": (0.061, 0.031)}
_TITLES = (
    "Neutrogena Rainbath Refreshing Shower Gel 40 oz",
    "Burt's Bees Lip Balm Honey",
    "China Glaze Nail Lacquer Ruby Pumps",
    "Olay Regenerist Micro-Sculpting Face Cream Fragrance Free",
    "Wet n Wild Mega Last Lip Color, Bare It All, 0.11 Ounce",
)
_POPULAR = ("HSI PROFESSIONAL 1 CERAMIC TOURMALINE IONIC FLAT IRON HAIR STRAIGHTENER",
            "Maybelline New York Volum' Express Colossal Mascara, Glam Black",
            "Boar Bristle Round Brush by Spornette, Italian made")  # fmt: skip
_WORDS = ("mascara", "best", "organic", "argan", "serum", "professional")


def ranged(value: float, half: float, *, crosses: bool = False, seeds: Iterable[int] = SEEDS,
           **rest: Any) -> Finding:  # fmt: skip
    """A finding with a symmetric interval and a spread between seeds of a third of it.

    Without `crosses` the interval stops at 0, as that of a share does.
    """
    seeds = tuple(seeds)
    steps = np.linspace(-half / 3, half / 3, len(seeds)) if len(seeds) > 1 else np.zeros(1)
    return Finding(
        value=value, low=value - half if crosses else max(0.0, value - half),
        high=value + half, seeds=seeds,
        per_seed=tuple(float(value + s) for s in steps), protocol=PROTOCOL,
        **{"n": 20} | rest,
    )  # fmt: skip


def _utility() -> Iterator[Finding]:
    names = ("hr@10", "ndcg@10", "mrr")
    for subject, values in _QUALITY.items():
        for name, value in zip(names, values, strict=True):
            yield ranged(value, 0.0031, subject=subject, audit="utility", metric=name, n=22363)
    for subject, values in _HIDDEN.items():
        for name, warm, cold in zip(names, values[:3], values[3:], strict=True):
            found = {"subject": subject, "audit": "utility", "metric": name}
            yield ranged(0.98 * warm, 0.0031, n=22363, **found)
            yield ranged(warm, 0.0031, group="warm", n=21319, **found)
            yield ranged(cold, cold * 0.2, group="cold", n=1044, **found)
    for arm in ARMS:
        for group in ("warm", "head", "mid", "tail", "cold"):
            value = 0.0391 * _SHARES[group]
            value *= 1 if arm == "control" else 1 - _PRICES[group][0]
            yield ranged(value, 0.002, subject=f"{MODEL}/{arm}", audit="utility",
                         metric="ndcg@10", group=group, n=7329)  # fmt: skip
    for group, (value, half) in _PRICES.items():
        yield ranged(value, half, crosses=True, subject=f"{MODEL}/hardened", audit="utility",
                     metric="price(ndcg@10)", group=group, trial="clean", n=22363)  # fmt: skip


def _promotion() -> Iterator[Finding]:
    for trial, gains in _ATTACKS.items():
        for arm, after in zip(ARMS, gains, strict=True):
            found = {
                "er_before@10": (0.0004, 0.0002), "er_after@10": (after, after * 0.3),
                "er_gain@10": (after - 0.0004, after * 0.3), "asr": (min(1, after * 5), 0.1),
                "rank_before": (6551, 300), "rank_after": (6551 * (0.3 - after), 200),
                "words": (3.0 if trial != "copycat" else 11.4, 0.3),
                "similarity": (0.77 - after, 0.03),
                "queries": (354 if trial == "greedy-words" else 100, 12),
            }  # fmt: skip
            for metric, (value, half) in found.items():
                yield ranged(value, half, subject=f"{MODEL}/{arm}", audit="promotion",
                             metric=metric, trial=trial)  # fmt: skip
        value = 1 - gains[1] / gains[0]
        yield ranged(value, 0.09, subject=f"{MODEL}/hardened", audit="promotion",
                     metric="defence_effect", trial=trial)  # fmt: skip
    for arm in ARMS:
        yield Finding(subject=f"{MODEL}/{arm}", audit="promotion", metric="er_gain@10", value=None,
                      trial="masked-lm", reason="no language model is installed")  # fmt: skip


def _curves() -> Iterator[Finding]:
    for goal, site, metric in (
        ("degrade", "item-vectors", "ndcg@10"), ("degrade", "history-vectors", "ndcg@10"),
        ("promote", "item-vectors", "er_after@10"), ("promote", "token-embeddings", "er_after@10"),
    ):  # fmt: skip
        for arm in ARMS:
            for radius in RADII:
                push = radius * (20 if arm == "control" else 7)
                value = 0.039 * np.exp(-push) if goal == "degrade" else 0.6 * (1 - np.exp(-push))
                half = 0.002 if goal == "degrade" else 0.04 * min(1, push)
                yield ranged(
                    float(value), half, subject=f"{MODEL}/{arm}", audit="curve", metric=metric,
                    trial="pgd", radius=radius, where={"goal": goal, "site": site}, n=500,
                )  # fmt: skip


def _gates() -> Iterator[Finding]:
    checks = {"quality floor": ("all", "tail", "cold"), "pgd beats fgsm": ("all",),
              "larger radius is not weaker": ("all",), "gradients are alive": ("all",),
              "unseen attack": ("all",)}  # fmt: skip
    for metric, groups in checks.items():
        for group in groups:
            for arm in ARMS:
                if metric == "quality floor" and arm == "control":
                    continue
                yield Finding(subject=f"{MODEL}/{arm}", audit="gate", metric=metric, value=1.0,
                              group=group, n=20, seeds=SEEDS)  # fmt: skip
    yield Finding(subject=f"{MODEL}/hardened", audit="gate", metric="adaptive attack", value=None,
                  reason="no adaptive attack was asked for")  # fmt: skip


def good_findings() -> list[Finding]:
    """Hardening works; one attack and one gate did not run."""
    return [*_utility(), *_promotion(), *_curves(), *_gates()]


def supported_findings() -> list[Finding]:
    """The same with every gate passed and every attack run."""
    kept = [f for f in good_findings() if f.value is not None]
    return [replace(f) for f in kept]


UNDECIDED = (
    "ndcg@10 falls by 1.2 %, 95 % interval up to 18.8 %; allowed 3.0 %; 18 samples are too few "
    "to say that it holds"
)


def undecided_findings() -> list[Finding]:
    """All is well, but the quality floor on cold items cannot be told."""
    return [
        replace(f, value=None, n=0, reason=UNDECIDED)
        if (f.audit, f.metric, f.group) == ("gate", "quality floor", "cold")
        else f
        for f in supported_findings()
    ]


def doubted_findings() -> list[Finding]:
    """The same floor missed: every attack on the hardened model is unreliable."""
    why = "ndcg@10 falls by 9.0 %, 95 % interval up to 18.8 %; allowed 3.0 %"
    return [
        replace(f, value=0.0, reliable=False, reason=why)
        if (f.audit, f.metric, f.group) == ("gate", "quality floor", "cold")
        else replace(f, reliable=False, reason=f"quality floor: {why}")
        if f.audit in ("promotion", "curve") and f.subject == f"{MODEL}/hardened"
        else f
        for f in supported_findings()
    ]


def samples(seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for trial, gains in _ATTACKS.items():
        for arm, gain in zip(ARMS, gains, strict=True):
            appeal = np.sort(rng.gamma(1.2, 1 / 1.2, 20))[::-1]
            for s in SEEDS:
                for i in range(20):
                    rows.append(_sample(trial, arm, gain * appeal[i], s, i, rng))
    return pl.DataFrame(rows)


def _sample(trial: str, arm: str, gain: float, seed: int, i: int, rng: Any) -> dict[str, Any]:
    title = NASTY if i == 0 else _TITLES[i % len(_TITLES)]
    words = list(rng.choice(_WORDS, 3, replace=False))
    after = _POPULAR[i % 3] if trial == "copycat" else " ".join([words[0], title, *words[1:]])
    eligible = 22000 - i
    hits = min(eligible, int(eligible * gain * rng.uniform(0.8, 1.2)))
    before = float(rng.integers(4000, 9000))
    return {
        "subject": f"{MODEL}/{arm}", "seed": seed, "audit": "promotion", "trial": trial,
        "sample": f"B000{i:04d}XK", "group": "tail", "goal": "promote", "knowledge": "scores",
        "k": 10, "eligible": eligible, "hits_before": int(rng.integers(0, 9)), "hits_after": hits,
        "rank_before": before, "rank_after": before * float(np.exp(-4 * min(gain, 0.5) - 0.3)),
        "success": bool(gain > 0.05), "excluded": False, "words": 3, "similarity": 0.71,
        "queries": 354, "text_before": title, "text_after": after, "error": None,
    }  # fmt: skip


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Amazon Beauty: text-sequence, control and hardened", "synthetic": False,
        "data_card": "22,363 users, 12,101 items, 198,502 events\n5 % of items hidden (cold)",
        "config": {
            "seeds": list(SEEDS), "k": 10,
            "data": {"kind": "s3rec", "path": "Beauty.txt"},
            "model": {"kind": MODEL, "encoder": "minilm", "epochs": 20},
            "harden": {"kind": "adversarial", "weight": 1.0,
                       "inner": {"kind": "pgd", "steps": 3, "radius": 0.05}},
            "cold": {"share": 0.05, "models": ["text-sequence", "hybrid"]},
            "trials": [{"attack": {"kind": "copycat"}, "targets": "unpopular:20"}],
        },
        "versions": {"hardrank": "0.1.0", "torch": "2.13.0", "polars": "2.1.0"},
        "seeds": list(SEEDS), "protocol": PROTOCOL + "; leave-one-out",
        "durations": {"train control": 1704.2, "train hardened": 4210.9, "audit": 611.0},
        "host": {"cores": 2, "processor": "x86_64"},
        "threats": [
            "promote 20 unpopular items; sees scores; rewrites the item's own text; 100 queries",
            "promote 20 unpopular items; sees scores; inserts at most 3 words; 500 queries",
        ],
        "fingerprint": "9f2c" * 16, "started": "2026-11-21 02:31 UTC",
    } | changes  # fmt: skip


def write_run(folder: Path, findings: Iterable[Finding], **changes: Any) -> Path:
    """The three files of a run, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(f) for f in findings], ensure_ascii=False)
    (folder / "findings.json").write_text(text, "utf-8")
    (folder / "run.json").write_text(json.dumps(facts(**changes)), "utf-8")
    samples().write_parquet(folder / "samples.parquet")
    return folder


if __name__ == "__main__":
    from hardrank.reports import render, summary_table

    kinds = {"good": good_findings, "supported": supported_findings,
             "undecided": undecided_findings, "doubted": doubted_findings}  # fmt: skip
    kind = sys.argv[2] if len(sys.argv) > 2 else "good"
    found = kinds[kind]()
    print(render(write_run(Path(sys.argv[1]), found, synthetic=True)))
    print(summary_table(found))
