"""Poisoned logs: what fake users do to a target's exposure, to quality, and how they look.

The victim is trained again on the poisoned log; whoever is asked afterwards is real. Eligible
for a target are real users who never touched it, in training, validation or test. Fake users
count nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.audits.catalogue import query_names, tiles
from hardrank.audits.samples import gather, samples
from hardrank.data import Dataset, Holdout
from hardrank.metrics.distributions import jensen_shannon, kolmogorov_smirnov, total_variation
from hardrank.metrics.exposure import ratio
from hardrank.metrics.ranking import ndcg, ranks_of_scores, ranks_of_targets
from hardrank.recommender import Recommender
from hardrank.types import Floats, Ints

__all__ = ["Seen", "disguise", "exposed", "look", "quality_under_attack", "strangers"]

Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Seen:
    """What one trained victim shows the real users."""

    ranks: Ints
    """(Q, T) rank of each target among the items that the query has not seen; ties against
    it. Means nothing where the query has seen it."""
    scores: Floats
    """(Q, T)"""
    spread: float
    """Standard deviation of the scores of unseen items, mean over the queries."""
    held_out: Ints
    """(Q,) rank of the held-out item."""


def look(recommender: Recommender, holdout: Holdout, targets: Ints) -> Seen:
    """Score the whole catalogue for every query, once. targets: (T,) item rows."""
    ranks = np.empty((len(holdout), len(targets)), dtype=np.int64)
    scores = np.empty((len(holdout), len(targets)), dtype=np.float32)
    held_out = np.empty(len(holdout), dtype=np.int64)
    spreads = []
    for part, _, given in tiles(recommender, holdout.queries):
        held_out[part] = ranks_of_targets(given, holdout.targets[part])
        for column, target in enumerate(targets):
            scores[part, column] = given[:, target]
            ranks[part, column] = ranks_of_scores(given, given[:, target])
        spreads += [float(np.std(row[~np.isneginf(row)])) for row in given]
    spread = float(np.mean(spreads)) if spreads else float("nan")
    return Seen(ranks=ranks, scores=scores, spread=spread, held_out=held_out)


def strangers(holdout: Holdout, source: Dataset, targets: Ints) -> Mask:
    """(Q, T) True where the query's user has no event with the target, held-out ones counted.

    source: the log before it was split.
    """
    touched = np.zeros((source.n_users, len(targets)), dtype=np.bool_)
    users = source.events["user"].to_numpy()
    for column, target in enumerate(targets):
        touched[users[source.event_items == target], column] = True
    return np.asarray(~touched[holdout.queries.users])


def exposed(
    before: Seen,
    after: Seen,
    eligible: Mask,
    *,
    subject: str,
    seed: int,
    trial: str,
    targets: Sequence[str],
    goal: str = "promote",
    ks: Sequence[int] = (5, 10, 20, 50),
    success_exposure: float = 0.01,
    groups: Sequence[str] = (),
    cost: tuple[int, float] = (0, 0.0),
) -> pl.DataFrame:
    """One sample for each target and k (audit `promotion`), and one with T-NDCG@k (audit
    `target-ndcg`, in `value`).

    `value` of `promotion` is the prediction shift: mean score after - before of eligible
    users; of audit `relative-shift` the same over the standard deviation of the clean
    victim's scores, since implicit scores have no unit. cost: (events, seconds) of the patch.
    """
    rows = []
    n = eligible.sum(axis=0)
    moved = np.zeros(eligible.shape)  # who has seen it scores -inf before and after
    np.subtract(after.scores, before.scores, out=moved, where=eligible, dtype=np.float64)
    shift = _mean(moved, eligible)
    same = {"subject": subject, "seed": seed, "trial": trial, "sample": list(targets),
            "group": list(groups) if len(groups) else None, "goal": goal, "site": "profiles",
            "knowledge": None}  # fmt: skip
    for k in ks:
        hits = [(eligible & (seen.ranks <= k)).sum(axis=0) for seen in (before, after)]
        demote = goal == "demote"
        met = [(ratio(h, n) >= success_exposure) != demote for h in hits]
        rows.append(samples({
            **same, "audit": "promotion", "k": k, "eligible": n, "hits_before": hits[0],
            "hits_after": hits[1], "rank_before": _mean(before.ranks, eligible),
            "rank_after": _mean(after.ranks, eligible), "excluded": met[0],
            "success": [None if m else bool(s) for m, s in zip(*met, strict=True)],
            "events": cost[0], "seconds": cost[1], "value": shift,
        }))  # fmt: skip
        gained = _mean(ndcg(after.ranks, k), eligible)
        rows.append(samples({**same, "audit": "target-ndcg", "k": k, "value": gained}))
    relative = shift / before.spread if before.spread > 0 else np.full(len(n), np.nan)
    rows.append(samples({**same, "audit": "relative-shift", "value": relative}))
    return gather(rows)


def quality_under_attack(
    seen: Sequence[Seen],
    holdout: Holdout,
    *,
    subject: str,
    seed: int,
    trial: str,
    names: Sequence[str] = (),
    k: int = 10,
) -> pl.DataFrame:
    """One sample a real user (audit `poisoned`): `value` is NDCG@k of the held-out item, mean
    over the logs (one for each target) that the victim was trained on."""
    value = np.mean([ndcg(one.held_out, k) for one in seen], axis=0)
    return samples(
        {
            "subject": subject, "seed": seed, "audit": "poisoned", "trial": trial, "k": k,
            "sample": query_names(holdout, names), "value": value,
        }
    )  # fmt: skip


def disguise(
    poisoned: Dataset, real: int, *, seed: int, trial: str, target: str, subject: str = "profiles"
) -> pl.DataFrame:
    """How unlike real profiles the fake ones are, a sample each of five audits, in `value`.

    poisoned: the log with its fake users in the rows from `real` on. `disguise-ratings` and
    `disguise-popularity`: total variation of the histograms of ratings and of the popularity
    deciles of events; `disguise-js`: Jensen-Shannon divergence of the latter in bits;
    `disguise-length`: Kolmogorov-Smirnov distance of profile lengths; `disguise-overlap`:
    mean over fake users of the greatest share of their items that one real user has, above
    what real users reach among themselves. 0 is a perfect disguise.
    """
    values = _distances(poisoned, real)
    same = {"subject": subject, "seed": seed, "trial": trial, "sample": [target]}
    made = [samples({**same, "audit": f"disguise-{n}", "value": [v]}) for n, v in values.items()]
    return gather(made)


def _distances(log: Dataset, real: int) -> dict[str, float]:
    users = log.events["user"].to_numpy()
    fake = users >= real
    counts = np.bincount(log.event_items[~fake], minlength=log.n_items)
    place = np.argsort(np.argsort(counts, kind="stable"), kind="stable")
    decile = (place * 10 // log.n_items)[log.event_items]
    popularity = [np.bincount(decile[part], minlength=10) for part in (~fake, fake)]
    lengths = np.diff(log.offsets)
    own, forged = lengths[:real], lengths[real:]
    found = {
        "popularity": total_variation(*popularity),
        "js": jensen_shannon(*popularity),
        "length": kolmogorov_smirnov(own[own > 0], forged),
        "overlap": _overlap(log, real),
    }
    ratings = log.events["rating"]
    if not ratings.null_count():
        values = ratings.to_numpy()
        bins = np.unique(values)
        sides = [np.bincount(np.searchsorted(bins, values[part]), minlength=len(bins))
                 for part in (~fake, fake)]  # fmt: skip
        found["ratings"] = total_variation(*sides)
    return found


def _overlap(log: Dataset, real: int, most: int = 512) -> float:
    """Against all real users; the yardstick is a sample of at most `most` real users."""
    from scipy import sparse

    users = log.events["user"].to_numpy()
    matrix = sparse.csr_matrix(
        (np.ones(log.n_events, dtype=np.float32), (users, log.event_items)),
        shape=(log.n_users, log.n_items),
    )  # fmt: skip
    sizes = np.diff(log.offsets)
    chosen = np.flatnonzero(sizes[:real] > 0)
    sampled = chosen[:: max(1, -(-len(chosen) // most))]

    def greatest(rows: Ints, *, own: bool) -> Doubles:
        shared = np.asarray((matrix[rows] @ matrix[:real].T).todense(), dtype=np.float64)
        if own:
            shared[np.arange(len(rows)), rows] = 0
        return np.asarray(shared.max(axis=1) / np.maximum(sizes[rows], 1), dtype=np.float64)

    forged = np.arange(real, log.n_users)
    if not len(forged) or not len(sampled):
        return float("nan")
    return float(greatest(forged, own=False).mean() - greatest(sampled, own=True).mean())


def _mean(values: NDArray[np.floating] | Ints, eligible: Mask) -> Doubles:
    """(T,) over the eligible queries."""
    total = np.where(eligible, values, 0).sum(axis=0, dtype=np.float64)
    return ratio(total, eligible.sum(axis=0))
