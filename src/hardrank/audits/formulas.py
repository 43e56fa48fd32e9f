"""Formulas: from sample rows to one number with its interval, by name.

A plain formula is a value per row, then the mean over seeds and samples:

    hr@K recall@K ndcg@K mrr           from `rank`
    er_before er_after er_gain er_loss exposure of a target, from hits and `eligible`
    rank_before rank_after rank_gain   mean rank of a target; the gain is before - after
    asr                                share of targets (not excluded, no error) with `success`
    passed                             share of checks (gates) with `success`
    excluded failed                    share of rows that are so
    words word_share chars similarity cosine perplexity events queries seconds value radius
                                       the column itself
    accuracy@T                         `value` >= T agrees with `label` (0 or 1)
    precision@T recall@T               of class 1, T a threshold below 1: the share of class 1
                                       among rows with `value` >= T, and the other way round

`worst(f)` takes the largest of a sample's rows (all attacks on one target) where `f` takes
their mean, `least(f)` the smallest (what the strongest demotion leaves); `area(f)` the area
under the curve over `radius`, by its width: a mean height.
Comparisons read two sets of rows, paired by seed and sample:

    difference(f)       where - versus
    drop(f)             1 - where / versus      attacked versus clean
    price(f)            1 - where / versus      hardened versus control
    defence_effect(f)   1 - where / versus      of a gain, hardened versus control

    p_value(f)          two-sided p of a paired sign-flip test of where - versus
    p_noninferior@M(f)  one-sided p that where keeps more than (1 - M) of versus, M in (0, 1)

Without brackets `drop` and `price` are of ndcg@10 and `defence_effect` is of er_gain.

Of `value` and `label`, not a mean of rows but one number over the samples of all seeds; as
comparisons only `difference`, `drop` and `price` of them with the same labels:

    auc                 area under the ROC curve
    ece                 expected calibration error of the predicted class, 15 bins
    f1@T                harmonic mean of precision@T and recall@T
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.metrics.calibration import expected_calibration_error
from hardrank.metrics.classification import roc_auc
from hardrank.metrics.intervals import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_reduction,
    pooled,
    reduction,
    wilson,
)
from hardrank.metrics.significance import sign_flip

__all__ = ["COMPARISONS", "Cells", "Formula", "cells", "parse"]

Doubles = NDArray[np.float64]
Fold = Callable[[pl.Expr], pl.Expr]
Whole = Callable[[NDArray[np.bool_], Doubles], float]
"""(labels, values) -> one number."""

_COLUMNS = (
    "words", "word_share", "chars", "similarity", "cosine", "perplexity", "events", "queries",
    "seconds", "value", "radius", "rank_before", "rank_after",
)  # fmt: skip
_NAMED: dict[str, pl.Expr] = {
    "mrr": 1.0 / pl.col("rank"),
    "er_before": pl.col("hits_before") / pl.col("eligible"),
    "er_after": pl.col("hits_after") / pl.col("eligible"),
    "er_gain": (pl.col("hits_after") - pl.col("hits_before")) / pl.col("eligible"),
    "er_loss": (pl.col("hits_before") - pl.col("hits_after")) / pl.col("eligible"),
    "rank_gain": pl.col("rank_before") - pl.col("rank_after"),
    "asr": pl.col("success").cast(pl.Float64),
    "excluded": pl.col("excluded").cast(pl.Float64),
    "passed": pl.col("success").cast(pl.Float64),
    "failed": pl.col("error").is_not_null().cast(pl.Float64),
    **{name: pl.col(name).cast(pl.Float64) for name in _COLUMNS},
}
_SHARES = frozenset({"asr", "excluded", "failed"})
COMPARISONS = {
    "difference": "", "drop": "ndcg@10", "price": "ndcg@10", "defence_effect": "er_gain",
    "p_value": "er_gain", "p_noninferior": "ndcg@10",
}  # fmt: skip
"""Name -> the formula it compares when none is given."""
_TESTS = ("p_value", "p_noninferior")
"""Comparisons whose number is a probability, without an interval."""


@dataclass(frozen=True, eq=False)
class Cells:
    """A number for each seed and sample, NaN where missing."""

    seeds: list[int | None]
    """S seeds, sorted."""
    sides: tuple[Doubles, ...]
    """(S, N): the rows; for a comparison then its `versus`; for `auc` and its like then the
    labels."""


@dataclass(frozen=True)
class Formula:
    """A parsed formula: a value per row, how a sample's rows fold into one, what to compare."""

    name: str
    row: pl.Expr
    fold: str = "mean"
    """`mean`, `worst`, `least`, `area` or `whole`."""
    compare: str = ""
    """A key of `COMPARISONS`, or empty."""
    whole: Whole | None = None
    """Where `fold` is `whole`: the number of all samples together."""
    margin: float = 0.0
    """Of `p_noninferior`: the share of `versus` that may be lost."""

    @property
    def share(self) -> bool:
        """Whether a row is a plain yes or no of the attack, so that Wilson's interval fits."""
        return self.name in _SHARES and not self.compare

    def interval(self, cells: "Cells", rng: np.random.Generator, draws: int) -> Interval:
        """The number and its 95 % interval."""
        if self.fold == "whole":
            return _resampled(self._of_all, cells.sides, rng, min(draws, 500))
        first, second = cells.sides[0], cells.sides[-1]
        if self.compare in _TESTS:
            return Interval(self._tested(first, second, rng), float("nan"), float("nan"))
        if not self.compare:
            return self._plain(first, rng, draws)
        if self.compare == "difference":
            return bootstrap_difference(first, second, rng, draws)
        return bootstrap_reduction(first, second, rng, draws)

    def per_seed(self, cells: "Cells") -> tuple[float, ...]:
        """The number of each seed alone; empty where one of them is not defined. A test is
        made once, over all seeds."""
        if self.compare in _TESTS:
            return ()
        if self.fold == "whole":
            numbers = np.array([self._of_all(rows) for rows in zip(*cells.sides, strict=True)])
        else:
            means = [np.array([pooled(row) for row in side]) for side in cells.sides]
            numbers = self._compared(means) if self.compare else means[0]
        return tuple(numbers.tolist()) if np.isfinite(numbers).all() else ()

    def _tested(self, first: Doubles, second: Doubles, rng: np.random.Generator) -> float:
        """A sample's seeds count as one difference, their mean: they are not independent."""
        differences = first - (1 - self.margin) * second
        known = ~np.isnan(differences)
        sums, counts = np.where(known, differences, 0.0).sum(axis=0), known.sum(axis=0)
        each = sums[counts > 0] / counts[counts > 0]
        return sign_flip(each, rng, side="two-sided" if self.compare == "p_value" else "greater")

    def _of_all(self, sides: Sequence[Doubles]) -> float:
        """Sides, the last of which is the labels, to the number or the comparison of two."""
        assert self.whole is not None
        *values, labels = sides
        numbers = [np.array([self.whole(*_known(side, labels))]) for side in values]
        return float((self._compared(numbers) if self.compare else numbers[0])[0])

    def _compared(self, numbers: Sequence[Doubles]) -> Doubles:
        return numbers[0] - numbers[1] if self.compare == "difference" else reduction(numbers)

    def _plain(self, values: Doubles, rng: np.random.Generator, draws: int) -> Interval:
        found = bootstrap_mean(values, rng, draws)
        n = int((~np.isnan(values)).any(axis=0).sum())
        if self.share and (len(values) == 1 or found.low == found.high):
            # Resampling 20 failures gives 20 failures; Wilson still says how many could hide.
            return replace(wilson(found.value * n, n), value=found.value)
        return found


def parse(text: str) -> Formula:
    """Raises `ValueError` naming what is allowed."""
    if (whole := _whole(text)) is not None:
        return Formula(text, pl.col("value"), fold="whole", whole=whole)
    if test := re.fullmatch(r"p_noninferior@(0?\.\d+)(?:\((.+)\))?", text):
        inner = test[2] or COMPARISONS["p_noninferior"]
        return replace(parse(inner), compare="p_noninferior", margin=float(test[1]))
    call = re.fullmatch(r"(\w+)(?:\((.+)\))?", text)
    name, inner = call.groups() if call else (text, None)
    if name in COMPARISONS and name != "p_noninferior" and (inner or COMPARISONS[name]):
        return replace(parse(inner or COMPARISONS[name]), compare=name)
    if name in ("worst", "least", "area") and inner:
        return replace(parse(inner), fold=name)
    return Formula(text, _row(text))


def _whole(name: str) -> Whole | None:
    if at := re.fullmatch(r"f1@(0?\.\d+)", name):
        return partial(_f1, float(at[1]))
    return {"auc": roc_auc, "ece": _ece}.get(name)


def _ece(labels: NDArray[np.bool_], values: Doubles) -> float:
    if not len(values):
        return float("nan")
    return expected_calibration_error(values, labels.astype(np.int64))


def _f1(cut: float, labels: NDArray[np.bool_], values: Doubles) -> float:
    said = values >= cut
    found = int(said.sum() + labels.sum())
    return float(2 * (said & labels).sum() / found) if found else float("nan")


def _row(name: str) -> pl.Expr:
    at = re.fullmatch(r"(hr|recall|ndcg)@(\d+)", name)
    if at:
        rank, k = pl.col("rank"), int(at[2])
        inside = rank <= k
        if at[1] == "ndcg":
            gain = 1.0 / (rank + 1.0).log(2.0)
            return pl.when(inside).then(gain).when(rank.is_not_null()).then(0.0)
        return inside.cast(pl.Float64)
    if cut := re.fullmatch(r"accuracy@(0?\.\d+)", name):
        return ((pl.col("value") >= float(cut[1])) == (pl.col("label") == 1)).cast(pl.Float64)
    if cut := re.fullmatch(r"(precision|recall)@(0?\.\d+)", name):
        said, true = pl.col("value") >= float(cut[2]), pl.col("label") == 1
        given, asked = (said, true) if cut[1] == "precision" else (true, said)
        return pl.when(given).then(asked.cast(pl.Float64))
    if name not in _NAMED:
        known = ["hr@K", "recall@K", "ndcg@K", "accuracy@T", "precision@T", "recall@T", "f1@T"]
        known += ["auc", "ece", *_NAMED]
        wrapped = [f"{c}(...)" for c in ("worst", "least", "area", *COMPARISONS)]
        raise ValueError(f"unknown formula '{name}'; known: {', '.join(known + wrapped)}")
    return _NAMED[name]


def cells(rows: pl.DataFrame, formula: Formula, versus: pl.DataFrame | None = None) -> Cells:
    """The table of `rows`, and of `versus` over the same seeds and samples.

    Seeds and samples are sorted, so the order of rows does not matter. A side with one seed
    (a model without randomness) stands beside every seed of the other. Raises `ValueError`
    when a comparison has no `versus` or the sides no seed in common.
    """
    if bool(formula.compare) != (versus is not None):
        raise ValueError(f"'{formula.compare or formula.name}': `versus` is for comparisons alone")
    folded = [_folded(side, formula) for side in (rows, versus) if side is not None]
    seeds = _common([side["seed"].unique().sort().to_list() for side in folded])
    names = pl.concat([side["sample"] for side in folded]).unique().sort()
    columns = pl.DataFrame({"sample": names, "column": range(len(names))})
    placed = [side.join(columns, on="sample", how="left") for side in folded]
    sides = [_filled(*pair, len(names), "number") for pair in zip(placed, seeds, strict=True)]
    if formula.fold == "whole":
        sides.append(_filled(placed[0], seeds[0], len(names), "label"))
    return Cells(max(seeds, key=lambda s: len(set(s))), tuple(sides))


def _filled(placed: pl.DataFrame, seeds: list[int | None], width: int, what: str) -> Doubles:
    table = np.full((len(seeds), width), np.nan)
    for row, seed in enumerate(seeds):
        mine = placed.filter(pl.col("seed").eq_missing(pl.lit(seed, dtype=pl.Int64)))
        table[row, mine["column"].to_numpy()] = mine[what].to_numpy()
    return table


def _folded(rows: pl.DataFrame, formula: Formula) -> pl.DataFrame:
    """One `number` for each seed and sample; rows whose number is null fall out."""
    number = formula.row.cast(pl.Float64).alias("number")
    known = rows.select("seed", "sample", "radius", "label", number)
    known = known.filter(pl.col("number").is_not_null())
    if formula.fold == "whole":
        return known.filter(pl.col("label").is_not_null())
    if formula.fold == "area":
        return _areas(known)
    number = pl.col("number")
    folds = {"worst": number.max(), "least": number.min()}
    return known.group_by("seed", "sample").agg(folds.get(formula.fold, number.mean()))


def _areas(known: pl.DataFrame) -> pl.DataFrame:
    """Trapezoids over the radii, by their width. A sample that lacks a radius has no area;
    the area of mean heights is the mean of these, so it can be resampled like any mean."""
    radii = known["radius"].drop_nulls().n_unique()
    x, y = pl.col("radius"), pl.col("number")
    area = ((x.diff() * (y + y.shift(1)) / 2).sum() / (x.max() - x.min())).alias("number")
    return (
        known.sort("seed", "sample", "radius")
        .group_by("seed", "sample", maintain_order=True)
        .agg(area, pl.len().alias("points"))
        .filter(pl.col("points") == radii)
        .select("seed", "sample", "number")
    )


def _common(seeds: list[list[int | None]]) -> list[list[int | None]]:
    if len(seeds) == 1:
        return seeds
    left, right = seeds
    if len(left) == 1 or len(right) == 1:
        width = max(len(left), len(right))
        return [s * width if len(s) == 1 else s for s in seeds]
    both = [s for s in left if s in set(right)]
    if not both and left and right:
        raise ValueError(f"no seed in common: {left} and {right}")
    return [both, both]


def _resampled(
    number: Callable[[Sequence[Doubles]], float],
    sides: Sequence[Doubles],
    rng: np.random.Generator,
    draws: int,
) -> Interval:
    """A number of all seeds' samples; draws take samples, each with all its seeds."""
    value = number(sides)
    if np.isnan(value):
        return Interval(value, value, value)
    drawn, width = np.empty(draws), sides[0].shape[1]
    for d in range(draws):
        chosen = rng.integers(0, width, width)
        drawn[d] = number([side[:, chosen] for side in sides])
    drawn.sort()  # NaN (a draw without one of the classes) sorts last
    cut = int(0.025 * draws)
    return Interval(value, float(drawn[cut]), float(drawn[draws - 1 - cut]))


def _known(values: Doubles, labels: Doubles) -> tuple[NDArray[np.bool_], Doubles]:
    there = ~np.isnan(values) & ~np.isnan(labels)
    return labels[there] == 1, values[there]
