"""Business numbers that a configuration has to keep, on validation users."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from hardrank.audits.catalogue import tiles
from hardrank.audits.measure import measure
from hardrank.context import derive
from hardrank.data import Holdout, Slate
from hardrank.errors import DataError
from hardrank.experiment.arms import Trained
from hardrank.experiment.tune_front import Limit
from hardrank.experiment.tune_spec import Floor
from hardrank.recommender import Recommender, best

__all__ = ["coverage", "floor_limit", "latency", "revenue"]

Users = Sequence[tuple[Trained, Holdout]]
"""The model of each seed with the validation users it is measured on."""


def floor_limit(floor: Floor, samples: pl.DataFrame, users: Users) -> Limit:
    """The floor with what the models came to. samples: of clean quality, among others.

    Raises `DataError` where revenue has no column of prices."""
    name = floor.metric + ("" if floor.group == "all" else f", {floor.group}")
    value = _value(floor, samples, users)
    return Limit(name=name, value=value, least=floor.least, most=floor.most)


def _value(floor: Floor, samples: pl.DataFrame, users: Users) -> float | None:
    first, valid = users[0]
    if floor.metric == "coverage@10":
        return float(np.mean([coverage(s.model, h) for s, h in users]))
    if floor.metric == "latency":
        return latency(first.model, valid)
    if floor.metric == "revenue@10":
        prices = _prices(first.model.items, floor.column)
        return float(np.mean([revenue(_ranks(samples, s), prices[h.targets]) for s, h in users]))
    found = measure(
        samples, subject=first.subject, audit="utility", metric=floor.metric, group=floor.group
    )
    return found.value


def revenue(ranks: Any, prices: Any, k: int = 10) -> float:
    """Mean price over users of the held-out item, 0 where it is not in the top k. Both (Q,)."""
    return float(np.mean(np.where(ranks <= k, prices, 0.0)))


def _ranks(samples: pl.DataFrame, subject: Trained) -> Any:
    """(Q,) in the order of the validation users, which samples of clean quality keep."""
    mine = (pl.col("subject") == subject.subject) & (pl.col("audit") == "utility")
    seed = pl.col("seed") == derive(subject.seed, "tuning")
    return samples.filter(mine & seed)["rank"].to_numpy()


def coverage(model: Recommender, users: Holdout, k: int = 10) -> float:
    """Share of the catalogue that is in somebody's top k."""
    shown: set[int] = set()
    for _, _, scores in tiles(model, users.queries):
        shown |= set(best(scores, k).ravel().tolist())
    return len(shown) / max(1, model.items.height)


def latency(model: Recommender, users: Holdout, queries: int = 64) -> float:
    """Median milliseconds to score the whole catalogue for one user."""
    slate, spent = Slate(items=np.arange(model.items.height, dtype=np.int64)), []
    for row in range(min(queries, len(users))):
        one = users.queries.take(np.array([row]))
        begun = time.perf_counter()
        model.score(one, slate)
        spent.append(1000 * (time.perf_counter() - begun))
    return float(np.median(spent))


def _prices(items: pl.DataFrame, column: str) -> Any:
    if column not in items.columns or not items.schema[column].is_numeric():
        raise DataError(
            f"no column '{column}' with numbers among the items", field="tune.floors.column",
            remedy="name a column with prices, or leave the floor on revenue@10 out",
        )  # fmt: skip
    return items[column].fill_null(0).to_numpy()
