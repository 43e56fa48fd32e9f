"""What rewritten queries do to the item they were rewritten for."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from hardrank.audits.history import verdict
from hardrank.audits.samples import gather, samples
from hardrank.data import Dataset, Queries, RewriteQuery, Slate
from hardrank.recommender import Recommender, mask_seen
from hardrank.threats import Match
from hardrank.threats.history import watched_ranks
from hardrank.threats.query_text import QueryPlan
from hardrank.types import Ints

__all__ = ["query_audit"]


def query_audit(
    recommender: Recommender,
    world: Dataset,
    matches: Sequence[Match],
    plans: Mapping[str, QueryPlan],
    *,
    subject: str,
    seed: int,
    k: int = 10,
    note: str = "",
) -> pl.DataFrame:
    """One sample a match, `sample` its query and item: the item's rank in the query's list
    before and after. `success`: a promoted item is in the top K, a demoted one out; null
    where it was so before, or where the attack could not be mounted."""
    if not matches:
        return gather([])
    chosen = [plans[m.target] for m in matches]
    old = [p.text for p in chosen]
    new = [_rewritten(m, p) for m, p in zip(matches, chosen, strict=True)]
    before = _ranks(recommender, world, chosen, old)
    after = _ranks(recommender, world, chosen, new)
    verdicts = [
        verdict(m, int(a <= k), int(b <= k)) for m, a, b in zip(matches, before, after, strict=True)
    ]
    ran = [m.error is None for m in matches]
    return samples(
        {
            "subject": subject,
            "seed": seed,
            "audit": "query",
            "trial": [m.attack + note for m in matches],
            "sample": [m.target for m in matches],
            "goal": [m.threat.goal.kind for m in matches],
            "knowledge": [m.threat.knowledge for m in matches],
            "k": k,
            "eligible": 1,
            "hits_before": (before <= k).astype(np.int64),
            "hits_after": (after <= k).astype(np.int64),
            "rank_before": before.astype(np.float64),
            "rank_after": after.astype(np.float64),
            "success": [
                won if there and not barred else None
                for (won, barred), there in zip(verdicts, ran, strict=True)
            ],
            "excluded": [barred for _, barred in verdicts],
            "words": [m.words for m in matches],
            "word_share": [m.word_share for m in matches],
            "chars": [m.characters for m in matches],
            "similarity": [m.similarity for m in matches],
            "queries": [m.queries for m in matches],
            "seconds": [m.seconds for m in matches],
            "text_before": old,
            "text_after": new,
            "error": [m.error for m in matches],
        }
    )


def _rewritten(match: Match, plan: QueryPlan) -> str:
    last = [e.text for e in match.patch.edits if isinstance(e, RewriteQuery)]
    return last[-1] if last else plan.text


def _ranks(
    recommender: Recommender, world: Dataset, plans: Sequence[QueryPlan], texts: Sequence[str]
) -> Ints:
    """(M,) rank of each plan's item, ties against it."""
    queries = Queries.of(
        [p.query.history(0).tolist() for p in plans],
        [int(p.query.users[0]) for p in plans],
        texts,
    )
    everything = Slate(items=np.arange(world.n_items, dtype=np.int64))
    scores = np.array(recommender.score(queries, everything), dtype=np.float32)
    scores[np.isnan(scores)] = -np.inf
    mask_seen(scores, queries)
    rows = [world.item_rows[p.item] for p in plans]
    ranks: Ints = np.array(
        [watched_ranks(scores[n : n + 1], np.array([row]))[0, 0] for n, row in enumerate(rows)]
    )
    return ranks
