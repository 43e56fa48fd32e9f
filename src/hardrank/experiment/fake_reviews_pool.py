"""What fake reviews gain, over seeds and targets, with intervals and a row for each seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.experiment.fake_reviews_effect import CONTROL, Shown
from hardrank.metrics.intervals import Interval, bootstrap_difference, bootstrap_mean

__all__ = ["ReviewEffect", "SeedEffect", "pooled_effects"]

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SeedEffect:
    """Means over one seed's targets."""

    seed: int
    er_before: float
    er_after: float
    gain: float
    over_control: float
    gains: Mapping[str, float | None]
    """By target; None where no user is eligible."""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, kw_only=True)
class ReviewEffect:
    """One generator against one model: what it costs and what it gains. Means over all pairs
    of a seed and a target; intervals draw seeds and targets."""

    model: str
    reads: bool
    """Whether the model reads reviews; one that does not must not move."""
    ndcg: float
    """NDCG@10 of the model on held-out events before any attack."""
    attack: str
    targets: int
    """Pairs of a seed and a target."""
    reviews: float
    """Fake reviews a target."""
    words: float
    """Words of them."""
    seconds: float
    """To write them."""
    er_before: float
    """Share of eligible users with the target in their top k."""
    er_after: float
    gain: Interval
    """er_after - er_before; below 0 where the target is shown to fewer."""
    over_control: Interval
    """Gain less that of `MovedReviews` on the same targets."""
    rank_before: float
    """Mean rank of the target for eligible users: what moves where no top list is reached."""
    rank_after: float
    shift: float
    """Mean change of the target's score."""
    largest_gain: float
    """Of any pair, either way."""
    largest_shift: float
    """Of any pair, either way."""
    by_seed: tuple[SeedEffect, ...]

    def to_json(self) -> dict[str, Any]:
        out = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("gain", "over_control"):
            value: Interval = out[name]
            out[name] = [value.value, value.low, value.high]
        return out | {"by_seed": [s.to_json() for s in self.by_seed]}


def pooled_effects(
    shown: Mapping[int, Sequence[Shown]], *, model: str, reads: bool, ndcg: float
) -> list[ReviewEffect]:
    """One model's row for each writing. shown: by seed, the control first, in the same order."""
    controls = [rows[0] for rows in shown.values()]
    assert all(c.writing.attack == CONTROL for c in controls)
    return [
        _pooled(tuple(shown), rows, controls, model=model, reads=reads, ndcg=ndcg)
        for rows in zip(*shown.values(), strict=True)
    ]


def _pooled(
    seeds: Sequence[int], rows: Sequence[Shown], controls: Sequence[Shown], *, model: str,
    reads: bool, ndcg: float,
) -> ReviewEffect:  # fmt: skip
    attack = rows[0].writing.attack
    rng = np.random.default_rng(derive(0, "fake-reviews", model, attack))
    gains, others = _matrix(rows), _matrix(controls)
    return ReviewEffect(
        model=model, reads=reads, ndcg=ndcg, attack=attack,
        targets=sum(len(r.writing.targets) for r in rows),
        reviews=_mean([r.writing.reviews for r in rows]),
        words=_mean([r.writing.words for r in rows]),
        seconds=_mean([r.writing.seconds for r in rows]),
        er_before=_mean([r.er_before for r in rows]),
        er_after=_mean([r.er_after for r in rows]),
        rank_before=_mean([r.rank_before for r in rows]),
        rank_after=_mean([r.rank_after for r in rows]),
        gain=bootstrap_mean(gains, rng), over_control=bootstrap_difference(gains, others, rng),
        shift=_mean([r.shift for r in rows]),
        largest_gain=_largest([r.gain for r in rows]),
        largest_shift=_largest([r.shift for r in rows]),
        by_seed=tuple(
            _of_seed(*three) for three in zip(seeds, rows, controls, strict=True)
        ),
    )  # fmt: skip


def _of_seed(seed: int, row: Shown, control: Shown) -> SeedEffect:
    return SeedEffect(
        seed=seed, er_before=_mean([row.er_before]), er_after=_mean([row.er_after]),
        gain=_mean([row.gain]), over_control=_mean([row.gain - control.gain]),
        gains={
            target: None if np.isnan(value) else value
            for target, value in zip(row.writing.targets, row.gain.tolist(), strict=True)
        },
    )  # fmt: skip


def _matrix(rows: Sequence[Shown]) -> Doubles:
    """(S, N) gains: a row for each seed, a column for each target that any seed has; NaN where
    this one has not. One target of two seeds is one sample."""
    names = sorted({t for r in rows for t in r.writing.targets})
    place = {t: n for n, t in enumerate(names)}
    out = np.full((len(rows), len(names)), np.nan)
    for n, row in enumerate(rows):
        out[n, [place[t] for t in row.writing.targets]] = row.gain
    return out


def _mean(parts: Sequence[Doubles]) -> float:
    return float(np.nanmean(np.concatenate(parts)))


def _largest(parts: Sequence[Doubles]) -> float:
    return float(np.nanmax(np.abs(np.concatenate(parts))))
