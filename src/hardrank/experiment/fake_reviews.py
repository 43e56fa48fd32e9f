"""Fake reviews from both sides: what each generator costs and gains, and how well it is found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardrank.attacks.reviews import REVIEW_ATTACKS, ReviewUnion
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.detection.reviews import NgramReviews, StyleReviews
from hardrank.experiment.fake_reviews_deceptive import Deceptive, Protocol, judge_on_deceptive
from hardrank.experiment.fake_reviews_effect import ReviewField
from hardrank.experiment.fake_reviews_generated import GeneratedKey, judge_on_generated
from hardrank.experiment.fake_reviews_measure import Judgement, ReviewDetector
from hardrank.experiment.fake_reviews_pool import ReviewEffect
from hardrank.experiment.fake_reviews_victims import THREAT, measure_effect
from hardrank.files import write_json, write_text
from hardrank.metrics.intervals import Interval
from hardrank.recommender import ModelSpec
from hardrank.threats.model import ThreatModel

__all__ = ["DETECTORS", "FakeReviews", "run_fake_reviews", "show"]

DETECTORS: tuple[ReviewDetector, ...] = (NgramReviews(), StyleReviews())
"""The light ones; `ClassifierReviews` adds the text encoder."""


@dataclass(frozen=True, kw_only=True)
class FakeReviews:
    """Everything that was measured."""

    effects: tuple[ReviewEffect, ...]
    """By model; of each the control first."""
    generated: dict[GeneratedKey, Judgement]
    deceptive: dict[tuple[str, Protocol], Judgement]

    def moved(self, model: str) -> tuple[float, float]:
        """The largest change of one target's exposure, and of its score, either way."""
        rows = [e for e in self.effects if e.model == model]
        return max(e.largest_gain for e in rows), max(e.largest_shift for e in rows)

    def to_json(self) -> dict[str, Any]:
        blind = dict.fromkeys(e.model for e in self.effects if not e.reads)
        return {
            "controls": [
                {"model": m, "largest_gain": gain, "largest_shift": shift, "unmoved": _still(gain)}
                for m, (gain, shift) in ((m, self.moved(m)) for m in blind)
            ],
            "effects": [e.to_json() for e in self.effects],
            "generated": [
                {"generator": g, "detector": d, "trained": t, **j.to_json()}
                for (g, d, t), j in self.generated.items()
            ],
            "deceptive": [
                {"detector": d, "split": p, **j.to_json()} for (d, p), j in self.deceptive.items()
            ],
        }


def run_fake_reviews(
    data: Dataset,
    *,
    deceptive: Path | None = None,
    attacks: Sequence[ReviewUnion] | None = None,
    detectors: Sequence[ReviewDetector] = DETECTORS,
    threat: ThreatModel = THREAT,
    models: Sequence[ModelSpec] | None = None,
    field: ReviewField | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    folder: Path | None = None,
    run: RunContext | None = None,
) -> FakeReviews:
    """Measure effect and detection, and write `fake-reviews.json` and `fake-reviews.md` to
    `folder`.

    data: a log with reviews, stars and times. deceptive: CSV file of real deceptive reviews;
    None leaves that part out. attacks: None for all, as they are by default. models and field:
    see `measure_effect`; seeds are those of both parts. Raises `DataError` for a log without
    reviews.
    """
    chosen = [a() for a in REVIEW_ATTACKS] if attacks is None else list(attacks)
    out = FakeReviews(
        effects=tuple(
            measure_effect(
                data, chosen, threat, models=models, detectors=detectors, field=field,
                seeds=seeds, run=run,
            )
        ),
        generated=judge_on_generated(data, chosen, detectors, threat, seeds=seeds),
        deceptive={} if deceptive is None
        else judge_on_deceptive(Deceptive.load(deceptive), detectors, seeds=seeds),
    )  # fmt: skip
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "fake-reviews.json", out.to_json())
        write_text(folder / "fake-reviews.md", show(out))
    return out


def show(found: FakeReviews) -> str:
    """Markdown: for each model a row for each generator with cost, exposure gain and the AUROC
    of the best detector that did not train on it, that did, and that its writer knows; then
    each detector on each test."""
    lines = ["# Fake reviews"]
    for model in dict.fromkeys(e.model for e in found.effects):
        lines += _model_table(found, model)
    lines += ["", "| test | detector | AUROC | average precision | recall at 1 % FPR |",
              "|" + "---|" * 5]  # fmt: skip
    tests = [(f"{g}, {t}", d, j) for (g, d, t), j in found.generated.items()]
    tests += [(f"deceptive hotels, {p}", d, j) for (d, p), j in found.deceptive.items()]
    for name, detector, j in tests:
        numbers = " | ".join(_said(i, 3) for i in (j.auroc, j.average_precision, j.recall))
        lines.append(f"| {name} | {detector} | {numbers} |")
    return "\n".join(lines) + "\n"


def _model_table(found: FakeReviews, model: str) -> list[str]:
    rows = [e for e in found.effects if e.model == model]
    lines = ["", f"## {model}", "", f"NDCG@10 without an attack {rows[0].ndcg:.4f}, "
             f"{len(rows[0].by_seed)} seeds, {rows[0].targets} targets."]  # fmt: skip
    if not rows[0].reads:
        gain, shift = found.moved(model)
        lines += [
            "It reads no reviews: "
            + ("no exposure changed" if _still(gain) else "YET AN EXPOSURE CHANGED")
            + f" (largest change {gain:g}, of a score {shift:g})."
        ]
    lines += ["", "| generator | reviews | words | exposure before | after | gain | beyond moved "
              "real reviews | mean rank before | after | AUROC, left out (detector) | "
              "AUROC, known | AUROC, writer knows it |",
              "|" + "---|" * 12]  # fmt: skip
    for e in rows:
        left, known, adaptive = (
            _best(found, e.attack, how) for how in ("left-out", "known", "adaptive")
        )
        lines.append(
            f"| {e.attack} | {e.reviews:.1f} | {e.words:.0f} | {e.er_before:.4f} | "
            f"{e.er_after:.4f} | {_said(e.gain, 4)} | {_said(e.over_control, 4)} | "
            f"{e.rank_before:.1f} | {e.rank_after:.1f} | {left} | {known} | {adaptive} |"
        )
    return lines


def _still(gain: float) -> bool:
    """Nobody was shown anything else, to the last user."""
    return gain == 0.0


def _best(found: FakeReviews, attack: str, how: str) -> str:
    rows = [
        (j.auroc.value, d) for (g, d, t), j in found.generated.items() if (g, t) == (attack, how)
    ]
    return "-" if not rows else "{:.3f} ({})".format(*max(rows))


def _said(interval: Interval, digits: int) -> str:
    value, low, high = (f"{v:.{digits}f}" for v in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"
