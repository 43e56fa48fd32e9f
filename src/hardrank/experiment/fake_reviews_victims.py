"""Several models, several seeds: each draws targets and users anew and trains anew."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hardrank.attacks.reviews import EvasiveReviews, ReviewUnion
from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.data.review_texts import training_reviews
from hardrank.data.splits import LeaveOneOut
from hardrank.detection.reviews import CopiedReviews
from hardrank.experiment.fake_reviews_effect import ReviewField, Shown, shown, write_reviews
from hardrank.experiment.fake_reviews_measure import ReviewDetector
from hardrank.experiment.fake_reviews_pool import ReviewEffect, pooled_effects
from hardrank.experiment.fake_reviews_texts import (
    Panel,
    labelled,
    plain_writers,
    real_texts,
    written,
)
from hardrank.models.common import holdout_ndcg
from hardrank.models.tfidf import Tfidf
from hardrank.recommender import ModelSpec
from hardrank.threats.model import Budget, Promote, ThreatModel
from hardrank.threats.model import targets as draw_targets

__all__ = ["THREAT", "measure_effect", "model_name", "reads"]

THREAT = ThreatModel(
    goal=Promote(items="unpopular:20"), surface="reviews", budget=Budget(reviews=5, words=60)
)


def model_name(model: ModelSpec) -> str:
    """`item-knn`, or `tfidf over title, reviews`."""
    spec: Any = model
    fields = ", ".join(getattr(spec, "fields", ()))
    return f"{spec.kind} over {fields}" if fields else str(spec.kind)


def reads(model: ModelSpec, field: ReviewField) -> bool:
    return field.name in getattr(model, "fields", ())


def measure_effect(
    data: Dataset,
    attacks: Sequence[ReviewUnion],
    threat: ThreatModel = THREAT,
    *,
    models: Sequence[ModelSpec] | None = None,
    detectors: Sequence[ReviewDetector] = (),
    field: ReviewField | None = None,
    users: int = 500,
    k: int = 10,
    seeds: Sequence[int] = (0,),
    run: RunContext | None = None,
) -> list[ReviewEffect]:
    """Train models on the log with its reviews as a field, and attack them. For each model the
    control's row, then one for each attack.

    models: None for `tfidf` over title and reviews; one that does not read `field.name` is a
    control and must not move. detectors: the shop's, known to adaptive writers, trained on
    what the plain ones write about other items than the targets; `copied-reviews` is always
    one of them. seeds: of targets, of at most `users` test users to whom lists are shown, and
    of the models. The split is leave-one-out; neither a model nor a writer reads a review of a
    held-out event. All models are shown the same texts.
    """
    field = field or ReviewField()
    models = models or (Tfidf(fields=("title", field.name)),)
    split = LeaveOneOut().split(data)
    train = training_reviews(split.train)
    read = field.of(train)
    found: dict[str, dict[int, Sequence[Shown]]] = {model_name(m): {} for m in models}
    quality: dict[str, list[float]] = {name: [] for name in found}
    for seed in seeds:
        rng = np.random.default_rng(derive(seed, "fake-reviews", "users"))
        kept = np.sort(rng.permutation(len(split.test))[:users])
        queries = split.test.queries.take(kept)
        targets = draw_targets(
            threat.goal, train, np.random.default_rng(derive(seed, "fake-reviews", "targets"))
        )
        panel = _panel(train, attacks, detectors, threat, targets, seed)
        texts = write_reviews(
            attacks, train, threat, targets=targets, field=field, seed=seed, detector=panel
        )
        for model in models:
            fitted = model.fit(read, (run or RunContext()).seeded(seed), valid=split.valid)
            quality[model_name(model)].append(holdout_ndcg(fitted, split.test))
            found[model_name(model)][seed] = [
                shown(w, fitted, queries, field=field.name, k=k) for w in texts
            ]
    return [
        effect
        for model in models
        for effect in pooled_effects(
            found[model_name(model)], model=model_name(model), reads=reads(model, field),
            ndcg=float(np.mean(quality[model_name(model)])),
        )
    ]  # fmt: skip


def _panel(
    train: Dataset, attacks: Sequence[ReviewUnion], detectors: Sequence[ReviewDetector],
    threat: ThreatModel, targets: Sequence[str], seed: int, *, most: int = 20,
) -> Panel | None:  # fmt: skip
    """The shop's detectors, if any writer here would ask them."""
    if not any(isinstance(a, EvasiveReviews) for a in attacks):
        return None
    rng = np.random.default_rng(derive(seed, "fake-reviews", "panel"))
    attacked = [train.item_rows[t] for t in targets]
    rest = rng.permutation(np.setdiff1d(np.arange(train.n_items), attacked))
    about, others = np.split(rest, [min(most, len(rest) // 2)])
    fakes = [written(train, a, threat, about, seed) for a in plain_writers(attacks)]
    n = sum(len(f.texts) for f in fakes)
    real, fresh = real_texts(train, threat, others, 2 * n, rng).halves()
    known: Mapping[str, Any] = {
        d.kind: d.fit(labelled(real, fakes), fake="fake") for d in detectors
    }
    return Panel.trained(known, fresh, CopiedReviews(), train)
