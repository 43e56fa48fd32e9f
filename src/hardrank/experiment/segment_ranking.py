"""A user's segment as a feature for ranking: what the segment likes, blended with a model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.audits.catalogue import full_ranks
from hardrank.context import RunContext, derive
from hardrank.data import Queries, Slate
from hardrank.data.splits import Split
from hardrank.generators.pattern_facts import segment_log_odds
from hardrank.generators.patterns import SegmentModel
from hardrank.metrics.intervals import bootstrap_difference
from hardrank.metrics.ranking import ndcg
from hardrank.models import Model
from hardrank.models.blend import Blended
from hardrank.models.common import holdout_ndcg, same_items, top_of
from hardrank.recommender import Recommender
from hardrank.types import Ranks, Scores

__all__ = ["RankingGain", "SegmentPopularity", "ranking_gains"]

_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Tried on validation NDCG@10; 0 is the model alone."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SegmentPopularity:
    """score(q, i) = log P(i | segment of q's history); without a history log P(i).

    plain: leaves segments out, so that all queries get log P(i): the control.
    """

    items: pl.DataFrame
    model: SegmentModel
    odds: NDArray[np.float64]
    """(K + 1, I) of `segment_log_odds`."""
    plain: bool = False

    def score(self, queries: Queries, slate: Slate) -> Scores:
        found = np.full(len(queries), -1) if self.plain else self.model.assign(queries)
        return np.asarray(self.odds[found][:, slate.items], dtype=np.float32)

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, items=same_items(self.items, items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self.model.arrays() | {"odds": self.odds}


@dataclass(frozen=True, kw_only=True)
class RankingGain:
    """One model, alone and blended, on the same test users."""

    model: str
    alone: float
    """NDCG@10, as the two below it."""
    with_popularity: float
    """Blended with log P(item): what popularity does without segments."""
    with_segments: float
    weights: tuple[float, float]
    """Of either blend, chosen on validation users; 0: better left alone."""
    over_alone: tuple[float, float, float]
    """With segments less alone: value and 95 % interval, paired by user."""
    over_popularity: tuple[float, float, float]
    """With segments less with popularity."""
    users: int

    @property
    def gain(self) -> bool:
        return self.over_alone[1] > 0 and self.over_popularity[1] > 0

    def line(self) -> str:
        value, low, high = self.over_alone
        said = "gain" if self.gain else "no gain"
        return (
            f"{self.model}: {said} (NDCG@10 {self.alone:.4f} alone, {self.with_segments:.4f} with "
            f"segments, {value:+.4f} [{low:+.4f}, {high:+.4f}]; with popularity "
            f"{self.with_popularity:.4f}; weights {self.weights[1]:g} and {self.weights[0]:g})"
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"gain": self.gain}


def ranking_gains(
    models: Sequence[Model], segments: SegmentModel, split: Split, run: RunContext
) -> list[RankingGain]:
    """Train each model on the training part, choose both blends' weights on validation users,
    measure on test users. The segments must have been learned from the training part alone."""
    odds = segment_log_odds(segments, split.train.histories())
    mine = SegmentPopularity(items=split.train.items, model=segments, odds=odds)
    out = []
    for spec in models:
        base: Recommender = spec.fit(split.train, run, valid=split.valid)
        blends = [_blended(base, other, split) for other in (replace(mine, plain=True), mine)]
        out.append(_gain(spec.kind, base, blends[0], blends[1], split, run.seed))
    return out


def _blended(base: Recommender, other: SegmentPopularity, split: Split) -> Blended:
    tried = [Blended(base, other, weight) for weight in _WEIGHTS]
    return max(tried, key=lambda blend: holdout_ndcg(blend, split.valid))


def _gain(
    name: str, base: Recommender, popular: Blended, segmented: Blended, split: Split, seed: int
) -> RankingGain:
    alone, other, mine = (
        ndcg(full_ranks(model, split.test), 10) for model in (base, popular, segmented)
    )

    def over(what: NDArray[np.float64]) -> tuple[float, float, float]:
        found = bootstrap_difference(mine, what, np.random.default_rng(derive(seed, "gain", name)))
        return found.value, found.low, found.high

    return RankingGain(
        model=name, alone=float(alone.mean()), with_popularity=float(other.mean()),
        with_segments=float(mine.mean()), weights=(popular.weight, segmented.weight),
        over_alone=over(alone), over_popularity=over(other), users=len(mine),
    )  # fmt: skip
