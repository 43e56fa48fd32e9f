"""Gate 1: a model that ranks badly, or ranks for nobody in particular, is not robust.

Burying rare items stops promotion too, and a constant cannot be attacked at all.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from hardrank.audits.catalogue import tiles
from hardrank.audits.checks import Check
from hardrank.audits.measure import measure
from hardrank.audits.significance import noninferiority
from hardrank.data import Queries
from hardrank.metrics.stability import jaccard
from hardrank.recommender import Recommender, best
from hardrank.types import Scores

__all__ = ["quality_floor", "ranks_for_somebody"]

_CLAIMS = ("promotion", "worst-case", "degrade", "curve")


def quality_floor(
    table: pl.DataFrame,
    *,
    hardened: str,
    control: str,
    price: float = 0.03,
    metric: str = "ndcg@10",
    groups: Sequence[str] = ("all", "tail", "cold"),
) -> list[Check]:
    """Clean quality of the hardened subject stays within `price` of the control, for each
    group: the whole 95 % interval of the relative loss lies below it. Where the loss itself
    does but its interval does not, the samples cannot tell, and the check is not passed
    either: its answer is None. The reason states margin and p, that of a paired test that the
    loss is `price` or more (non-inferiority).

    table: samples with `utility` rows of both subjects.
    """
    return [_floor(table, hardened, control, price, metric, group) for group in groups]


def _floor(
    table: pl.DataFrame, hardened: str, control: str, price: float, metric: str, group: str
) -> Check:
    plain = measure(table, subject=control, audit="utility", metric=metric, group=group)
    lost = measure(
        table, subject=hardened, audit="utility", metric=f"price({metric})", group=group,
        versus={"subject": control},
    )  # fmt: skip
    passed: bool | None = None
    if plain.value == 0:
        passed, reason = True, f"the control's {metric} is 0: nothing to lose"
    elif lost.value is None or plain.value is None:
        reason = lost.reason or plain.reason
    else:
        high = np.inf if lost.high is None else lost.high
        passed = True if high <= price else None if lost.value <= price else False
        way = "falls" if lost.value >= 0 else "rises"
        shown = f"{metric} {way} by {_percent(abs(lost.value))}"
        tested = noninferiority(
            table, subject=hardened, control=control, margin=price, metric=metric, group=group
        ) if 0 < price < 1 else None  # fmt: skip
        chance = f", p = {tested.value:.2g}" if tested and tested.value is not None else ""
        bound = f"loss at most {_percent(high)}" if high < np.inf else "no upper bound of the loss"
        reason = f"{shown}; {bound} (95 %{chance}); allowed {_percent(price)}"
        if lost.value <= price < high:
            reason += f"; {lost.n} samples are too few to say that it holds"
    return Check(
        gate="quality", name="quality_floor", subject=hardened, passed=passed, reason=reason,
        statistic=lost.value, group=group, concerns={"audit": _CLAIMS},
    )  # fmt: skip


def ranks_for_somebody(
    recommender: Recommender,
    queries: Queries,
    *,
    subject: str,
    seed: int | None = None,
    k: int = 10,
    most: int = 256,
) -> list[Check]:
    """Two checks on the first `most` queries. `tells_items_apart`: for at most 1 % of them
    all items score alike or some score is not a number. `tells_queries_apart`: the top-k
    lists of two queries share, on average, less than 90 % of their items (Jaccard); a
    model that ignores the query shows everyone nearly the same, but for what they saw.
    """
    queries = queries.take(np.arange(min(most, len(queries))))
    flat = 0
    tops: list[list[int]] = []
    for _, _, scores in tiles(recommender, queries):
        flat += sum(_is_flat(row) for row in scores)
        tops += best(np.nan_to_num(scores, nan=-np.inf, posinf=np.inf, neginf=-np.inf), k).tolist()
    share = flat / max(len(queries), 1)
    alike = _likeness(tops)
    return [
        Check(
            gate="quality", name="tells_items_apart", seed=seed, subject=subject,
            passed=share <= 0.01 if len(queries) else None, statistic=share,
            reason=f"all items score alike for {_percent(share)} of queries",
            concerns={"audit": _CLAIMS},
        ),
        Check(
            gate="quality", name="tells_queries_apart", seed=seed, subject=subject,
            passed=None if alike is None else alike < 0.9, statistic=alike,
            reason="fewer than two queries" if alike is None
            else f"the top {k} of two queries share {_percent(alike)} of their items",
            concerns={"audit": _CLAIMS},
        ),
    ]  # fmt: skip


def _is_flat(row: Scores) -> bool:
    unseen = row[~np.isneginf(row)]
    if not np.isfinite(unseen).all():
        return True
    if len(unseen) < 2:
        return False
    spread = unseen.max() - unseen.min()
    return bool(spread <= 1e-6 * max(np.abs(unseen).max(), 1e-30))


def _likeness(tops: list[list[int]]) -> float | None:
    """Mean Jaccard of neighbouring lists in the order of queries; None for fewer than two."""
    if len(tops) < 2:
        return None
    return float(np.mean([jaccard(a, b) for a, b in pairwise(tops)]))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
