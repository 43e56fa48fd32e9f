"""What events slipped into users' histories do to what those users are shown.

The audit looks at the whole catalogue, the attack saw only what its view granted. One sample
a match; quality loss of the held-out items needs the holdout's targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from hardrank.audits.samples import gather, samples
from hardrank.data import Dataset, Queries, Slate
from hardrank.recommender import Recommender, best, mask_seen
from hardrank.threats import Match
from hardrank.threats.history import Plan, replay, watched_ranks
from hardrank.types import Ints, Scores

__all__ = ["history_audit", "verdict"]

_ROWS = 256
"""Histories scored together against the whole catalogue."""


@dataclass(frozen=True, eq=False)
class _Lists:
    """What every attacked user is shown."""

    ranks: list[Ints]
    """(W,) of each plan's watched items."""
    top: Ints
    """(M, K)"""
    held: Ints
    """(M,) rank of the held-out item; 0 where there is none."""


def history_audit(
    recommender: Recommender,
    world: Dataset,
    matches: Sequence[Match],
    plans: Mapping[str, Plan],
    *,
    subject: str,
    seed: int,
    k: int = 10,
    held_out: Mapping[str, str] | None = None,
    note: str = "",
) -> pl.DataFrame:
    """One sample a match, `sample` its user (and item).

    `rank_before`, `rank_after`: mean rank of the watched items; `hits_*`: how many of them
    the list of K shows, of `eligible`. `success`: a promoted item is in, a demoted one out,
    a degraded list lost at least half of its items; null where that was so before, or where
    the attack could not be mounted. `value`: Jaccard similarity of both lists of K.
    `rank`: of the item of `held_out` (user -> item) after the attack. `events`: how many were
    changed.
    """
    if not matches:
        return gather([])
    chosen = [plans[m.target] for m in matches]
    old = [p.query.history(0).tolist() for p in chosen]
    new = [replay(m.patch, p.user, h, world) for m, p, h in zip(matches, chosen, old, strict=True)]
    before = _look(recommender, world, chosen, old, k, held_out)
    after = _look(recommender, world, chosen, new, k, held_out)
    was = np.array([int((r <= k).sum()) for r in before.ranks])
    now = np.array([int((r <= k).sum()) for r in after.ranks])
    ran = np.array([m.error is None for m in matches])
    verdicts = [verdict(m, int(a), int(b)) for m, a, b in zip(matches, was, now, strict=True)]
    known = ran & ~np.array([v[1] for v in verdicts])
    return samples(
        {
            "subject": subject,
            "seed": seed,
            "audit": "history",
            "trial": [m.attack + note for m in matches],
            "sample": [m.target for m in matches],
            "goal": [m.threat.goal.kind for m in matches],
            "knowledge": [m.threat.knowledge for m in matches],
            "k": k,
            "rank": [int(r) or None for r in after.held],
            "eligible": [len(p.watched) for p in chosen],
            "hits_before": was,
            "hits_after": now,
            "rank_before": [float(r.mean()) if len(r) else None for r in before.ranks],
            "rank_after": [float(r.mean()) if len(r) else None for r in after.ranks],
            "success": [v[0] if ok else None for v, ok in zip(verdicts, known, strict=True)],
            "excluded": [v[1] for v in verdicts],
            "events": [m.events if ok else None for m, ok in zip(matches, ran, strict=True)],
            "queries": [m.queries for m in matches],
            "seconds": [m.seconds for m in matches],
            "error": [m.error for m in matches],
            "value": [_jaccard(a, b) for a, b in zip(before.top, after.top, strict=True)],
        }
    )


def _look(
    recommender: Recommender,
    world: Dataset,
    plans: Sequence[Plan],
    histories: Sequence[Sequence[int]],
    k: int,
    held_out: Mapping[str, str] | None,
) -> _Lists:
    ranks: list[Ints] = []
    tops: list[Ints] = []
    held = np.zeros(len(plans), dtype=np.int64)
    users = [int(p.query.users[0]) for p in plans]
    for start in range(0, len(plans), _ROWS):
        rows = range(start, min(start + _ROWS, len(plans)))
        scores = _scores(recommender, world, [histories[r] for r in rows], [users[r] for r in rows])
        tops.append(best(scores, k))
        for at, row in enumerate(rows):
            ranks.append(watched_ranks(scores[at : at + 1], plans[row].watched)[0])
            wanted = (held_out or {}).get(plans[row].user)
            if wanted is not None:
                target = np.array([world.item_rows[wanted]])
                held[row] = watched_ranks(scores[at : at + 1], target)[0, 0]
    return _Lists(ranks, np.concatenate(tops), held)


def _scores(
    recommender: Recommender, world: Dataset, histories: Sequence[Sequence[int]], users: list[int]
) -> Scores:
    queries = Queries.of(histories, users)
    everything = Slate(items=np.arange(world.n_items, dtype=np.int64))
    scores = np.array(recommender.score(queries, everything), dtype=np.float32)
    scores[np.isnan(scores)] = -np.inf
    return mask_seen(scores, queries)


def verdict(match: Match, before: int, after: int) -> tuple[bool, bool]:
    """(success, excluded because it was so before)."""
    if match.threat.goal.kind == "promote":
        return after > 0, before > 0
    if match.threat.goal.kind == "demote":
        return after == 0, before == 0
    return after <= before / 2, before == 0


def _jaccard(one: Any, other: Any) -> float:
    a, b = set(one.tolist()), set(other.tolist())
    return len(a & b) / max(len(a | b), 1)
