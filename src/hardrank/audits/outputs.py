"""Gate 4, on what a model says: raw scores, the same ones twice, and no learning in between."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from hardrank.audits.catalogue import tiles, whole
from hardrank.audits.checks import Check
from hardrank.data import Queries
from hardrank.recommender import Recommender
from hardrank.types import Scores

__all__ = ["output_checks"]

Make = Callable[[str, bool | None, str, float | None], Check]

_CLAIMS = ("promotion", "worst-case", "degrade", "curve")
_MARGIN = 16.0
"""Lead of the first item over the second from which a softmax in single precision is 1 for the
one and flat for all others: exp(-16) is its relative precision."""
_FEW = 0.1
"""Largest share of queries that may be so sure."""


def output_checks(
    recommender: Recommender,
    queries: Queries,
    *,
    subject: str,
    seed: int | None = None,
    most: int = 64,
) -> list[Check]:
    """Three checks on the first `most` queries.

    `scores_not_saturated`: the best unseen item leads the second by less than 16 for nine
    queries of ten, and rows are no probabilities (all within [0, 1] with sum 1); either way a
    loss made of them has no gradient though the ranking can be moved. `scores_deterministic`:
    five calls agree to 1e-4 of the spread (Croce and Hein's AutoAttack flags the same).
    `learns_nothing_while_serving`: scoring asks for no gradients.
    """
    queries = queries.take(np.arange(min(most, len(queries))))

    def make(name: str, passed: bool | None, reason: str, statistic: float | None) -> Check:
        return Check(
            gate="sanity", name=name, subject=subject, seed=seed, passed=passed, reason=reason,
            statistic=statistic, concerns={"audit": _CLAIMS},
        )  # fmt: skip

    return [
        _saturated(make, recommender, queries),
        _deterministic(make, recommender, queries),
        _learns(make, recommender, queries),
    ]


def _saturated(make: Make, recommender: Recommender, queries: Queries) -> Check:
    name = "scores_not_saturated"
    if not len(queries):
        return make(name, None, "no queries", None)
    raw = recommender.score(queries, whole(recommender))
    if all(_is_simplex(row) for row in raw):
        return make(name, False, "scores are probabilities: they sum to 1", 1.0)
    sure = [_lead(row) >= _MARGIN for _, _, part in tiles(recommender, queries) for row in part]
    share = float(np.mean(sure))
    reason = f"the first item leads the second by {_MARGIN:g} or more for {share:.0%} of queries"
    return make(name, share <= _FEW, reason, share)


def _deterministic(make: Make, recommender: Recommender, queries: Queries) -> Check:
    first, *others = (_plain(recommender.score(queries, whole(recommender))) for _ in range(5))
    spread = max(float(np.std(first)) if first.size else 0.0, 1e-12)
    gap = max(float(np.abs(first - other).max(initial=0.0)) for other in others) / spread
    reason = f"five equal calls differ by {gap:.2g} standard deviations of the scores"
    if gap >= 1e-4:
        reason += ": a random defence has to be attacked in expectation over its randomness"
    return make("scores_deterministic", gap < 1e-4, reason, gap)


def _learns(make: Make, recommender: Recommender, queries: Queries) -> Check:
    with _gradients_counted() as count:
        recommender.score(queries, whole(recommender))
    reason = f"scoring took gradients {len(count)} times"
    return make("learns_nothing_while_serving", not count, reason, float(len(count)))


@contextmanager
def _gradients_counted() -> Iterator[list[str]]:
    """Every call of `torch.autograd.grad` and `backward` inside, by name."""
    count: list[str] = []
    plain = {name: getattr(torch.autograd, name) for name in ("grad", "backward")}

    def spied(name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            count.append(name)
            return plain[name](*args, **more)

        return call

    try:
        for name in plain:
            setattr(torch.autograd, name, spied(name))
        yield count
    finally:
        for name, function in plain.items():
            setattr(torch.autograd, name, function)


def _lead(row: Scores) -> float:
    """Of the first unseen item over the second; 0 where either is no finite number."""
    known = row[~np.isneginf(row)].astype(np.float64)
    if len(known) < 2:
        return 0.0
    second, first = np.partition(known, len(known) - 2)[-2:]
    return float(first - second) if np.isfinite(first) and np.isfinite(second) else 0.0


def _is_simplex(row: Scores) -> bool:
    inside = bool((row >= 0).all() and (row <= 1).all())
    return inside and len(row) > 1 and abs(float(row.sum(dtype=np.float64)) - 1) < 1e-3


def _plain(scores: Scores) -> Scores:
    return np.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0)
