"""Fake reviews from both sides: what each generator costs and gains, and how well it is found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardrank.attacks.reviews import REVIEW_ATTACKS, ReviewUnion
from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.data.review_texts import training_reviews
from hardrank.data.splits import LeaveOneOut
from hardrank.detection.reviews import NgramReviews, StyleReviews
from hardrank.experiment.fake_reviews_deceptive import Deceptive, Protocol, judge_on_deceptive
from hardrank.experiment.fake_reviews_effect import ReviewEffect, ReviewField, review_effect
from hardrank.experiment.fake_reviews_generated import GeneratedKey, judge_on_generated
from hardrank.experiment.fake_reviews_measure import Judgement, ReviewDetector
from hardrank.files import write_json, write_text
from hardrank.metrics.intervals import Interval
from hardrank.models.tfidf import Tfidf
from hardrank.recommender import ModelSpec
from hardrank.threats.model import Budget, Promote, ThreatModel
from hardrank.threats.model import targets as draw_targets

__all__ = ["DETECTORS", "THREAT", "FakeReviews", "measure_effect", "run_fake_reviews", "show"]

DETECTORS: tuple[ReviewDetector, ...] = (NgramReviews(), StyleReviews())
"""The light ones; `ClassifierReviews` adds the text encoder."""
THREAT = ThreatModel(
    goal=Promote(items="unpopular:20"), surface="reviews", budget=Budget(reviews=5, words=60)
)


@dataclass(frozen=True, kw_only=True)
class FakeReviews:
    """Everything that was measured."""

    effects: tuple[ReviewEffect, ...]
    """The control first."""
    generated: dict[GeneratedKey, Judgement]
    deceptive: dict[tuple[str, Protocol], Judgement]

    def to_json(self) -> dict[str, Any]:
        return {
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
    model: ModelSpec | None = None,
    field: ReviewField | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    folder: Path | None = None,
    run: RunContext | None = None,
) -> FakeReviews:
    """Measure effect and detection, and write `fake-reviews.json` and `fake-reviews.md` to
    `folder`.

    data: a log with reviews, stars and times. deceptive: CSV file of real deceptive reviews;
    None leaves that part out. attacks: None for all, as they are by default. model and field:
    see `measure_effect`. Raises `DataError` for a log without reviews.
    """
    chosen = [a() for a in REVIEW_ATTACKS] if attacks is None else list(attacks)
    out = FakeReviews(
        effects=tuple(
            measure_effect(
                data, chosen, threat, model=model, field=field, seed=seeds[0], run=run
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


def measure_effect(
    data: Dataset,
    attacks: Sequence[ReviewUnion],
    threat: ThreatModel = THREAT,
    *,
    model: ModelSpec | None = None,
    field: ReviewField | None = None,
    users: int = 500,
    k: int = 10,
    seed: int = 0,
    run: RunContext | None = None,
) -> list[ReviewEffect]:
    """Train `model` on the log with its reviews as a field, and attack it.

    model: must read `field.name`; None for `tfidf` over title and reviews. The split is leave-
    one-out; neither the model nor the attacker reads a review of a held-out event. Lists are
    shown to at most `users` test users, drawn by the seed.
    """
    field = field or ReviewField()
    model = model or Tfidf(fields=("title", field.name))
    split = LeaveOneOut().split(data)
    train = training_reviews(split.train)
    rng = np.random.default_rng(derive(seed, "fake-reviews", "users"))
    kept = np.sort(rng.permutation(len(split.test))[:users])
    targets = draw_targets(
        threat.goal, train, np.random.default_rng(derive(seed, "fake-reviews", "targets"))
    )
    recommender = model.fit(field.of(train), (run or RunContext()).seeded(seed), valid=split.valid)
    return review_effect(
        recommender, train, split.test.queries.take(kept), attacks, threat,
        targets=targets, field=field, k=k, seed=seed,
    )  # fmt: skip


def show(found: FakeReviews) -> str:
    """Markdown: a row for each generator with cost, exposure gain and the AUROC of the best
    detector that did not train on it, then each detector on each test."""
    lines = ["# Fake reviews", "",
             "| generator | reviews | words | exposure before | after | gain | beyond moved real "
             "reviews | AUROC, left out (detector) | AUROC, known |", "|" + "---|" * 9]  # fmt: skip
    for e in found.effects:
        left, known = (_best(found, e.attack, how) for how in ("left-out", "known"))
        lines.append(
            f"| {e.attack} | {e.reviews:.1f} | {e.words:.0f} | {e.er_before:.4f} | "
            f"{e.er_after:.4f} | {_said(e.gain, 4)} | {_said(e.over_control, 4)} | {left} | "
            f"{known} |"
        )
    lines += ["", "| test | detector | AUROC | average precision | recall at 1 % FPR |",
              "|" + "---|" * 5]  # fmt: skip
    tests = [(f"{g}, {t}", d, j) for (g, d, t), j in found.generated.items()]
    tests += [(f"deceptive hotels, {p}", d, j) for (d, p), j in found.deceptive.items()]
    for name, detector, j in tests:
        numbers = " | ".join(_said(i, 3) for i in (j.auroc, j.average_precision, j.recall))
        lines.append(f"| {name} | {detector} | {numbers} |")
    return "\n".join(lines) + "\n"


def _best(found: FakeReviews, attack: str, how: str) -> str:
    rows = [
        (j.auroc.value, d) for (g, d, t), j in found.generated.items() if (g, t) == (attack, how)
    ]
    return "-" if not rows else "{:.3f} ({})".format(*max(rows))


def _said(interval: Interval, digits: int) -> str:
    value, low, high = (f"{v:.{digits}f}" for v in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"
