"""Promotion: what rewritten item texts do to the targets' exposure, for all real users.

The attack saw a panel of users; here every query counts. Only the target's own text changes,
all other items keep their scores, so the catalogue is scored once for all matches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.audits.exposures import observe
from hardrank.audits.samples import gather, only, samples
from hardrank.audits.stealth import Stealth
from hardrank.data import Queries, Slate
from hardrank.recommender import Recommender
from hardrank.threats.match import Match
from hardrank.types import Scores

__all__ = ["Judge", "promotion"]

Judge = Callable[[Sequence[str], Sequence[str]], NDArray[Any]]
"""(N,) similarity of each pair of texts; never the victim's own encoder."""

_QUERIES = 8192
"""Scored at a time against the rewritten items alone: few columns, so many rows."""


def promotion(
    recommender: Recommender,
    matches: Sequence[Match],
    queries: Queries,
    *,
    subject: str,
    seed: int,
    k: int = 10,
    success_exposure: float = 0.01,
    judge: Judge | None = None,
    stealth: Stealth | None = None,
    groups: Sequence[str] = (),
    note: str = "",
) -> pl.DataFrame:
    """One sample a match; `trial` is the attack's label and `note` (` (transfer)`).

    recommender: over the clean catalogue. queries: one for each real user. Eligible are the
    queries that have not seen the target; `hits_*` and `rank_*` are theirs, over unseen
    items, ties against the target; `value` is the prediction shift (mean score after -
    before). `success`: ER@k after >= `success_exposure` (demote: below it); null for a
    target where that was so before (`excluded`) and for a match that has an `error`.
    groups: (I,) label of each item. Without a judge `similarity` is what the referee's said;
    with `stealth` it is its own, beside `cosine` and `perplexity`.
    Raises `KeyError` on a target that is not in the catalogue.
    """
    if not matches:
        return gather([])
    listings = [_Listing.of(match, recommender.items) for match in matches]
    rows = np.array([listing.row for listing in listings])
    changed = np.array([listing.before != listing.after for listing in listings])
    rewritten = _rewritten_scores(recommender, listings, queries)
    seen = observe(recommender, queries, rows, rewritten, changed=changed, k=k)
    ran = np.array([match.error is None for match in matches])
    demote = np.array([match.threat.goal.kind == "demote" for match in matches])
    excluded = (seen.er_before >= success_exposure) != demote
    success = (seen.er_after >= success_exposure) != demote
    known = ran & ~excluded & (seen.eligible > 0)
    old = [listing.before for listing in listings]
    new = [listing.after for listing in listings]
    return samples(
        {
            "subject": subject,
            "seed": seed,
            "audit": "promotion",
            "trial": [match.attack + note for match in matches],
            "sample": [match.target for match in matches],
            "group": [groups[listing.row] for listing in listings] if len(groups) else None,
            "goal": [match.threat.goal.kind for match in matches],
            "site": [match.threat.surface for match in matches],
            "knowledge": [match.threat.knowledge for match in matches],
            "k": k,
            "eligible": seen.eligible,
            "hits_before": seen.hits_before,
            "hits_after": only(ran, seen.hits_after),
            "rank_before": seen.rank_before,
            "rank_after": only(ran, seen.rank_after),
            "success": only(known, success),
            "excluded": excluded,
            "words": only(ran, [match.words for match in matches]),
            "word_share": only(ran, [match.word_share for match in matches]),
            "chars": only(ran, [match.characters for match in matches]),
            "similarity": only(
                ran, judge(old, new) if judge else [match.similarity for match in matches]
            ),
            **{
                name: only(ran, values)
                for name, values in (stealth.columns(old, new) if stealth else {}).items()
            },
            "queries": [match.queries for match in matches],
            "seconds": [match.seconds for match in matches],
            "text_before": old,
            "text_after": only(ran, new),
            "error": [match.error for match in matches],
            "value": only(ran, seen.shift),
        }
    )


@dataclass(frozen=True)
class _Listing:
    """A match's target as row, and its text before and after."""

    row: int
    field: str
    before: str
    after: str

    @classmethod
    def of(cls, match: Match, items: pl.DataFrame) -> "_Listing":
        found = np.flatnonzero((items["item_id"] == match.target).to_numpy())
        if not len(found):
            raise KeyError(f"target '{match.target}' is not in the catalogue")
        row, rewrite = int(found[0]), match.patch.rewrites().get(match.target)
        field = rewrite.field if rewrite else match.threat.field
        before = str(items[field][row] or "")
        return cls(row, field, before, rewrite.text if rewrite else before)


def _rewritten_scores(
    recommender: Recommender, listings: Sequence[_Listing], queries: Queries
) -> Scores:
    """(Q, M) what each query gives to each target as rewritten."""
    out = np.full((len(queries), len(listings)), np.nan, dtype=np.float32)
    fields = dict.fromkeys(li.field for li in listings if li.before != li.after)
    for field in fields:
        columns = [
            n for n, li in enumerate(listings) if li.field == field and li.before != li.after
        ]
        slate = Slate(
            items=np.array([listings[n].row for n in columns], dtype=np.int64),
            texts=tuple(listings[n].after for n in columns),
            field=field,
        )
        for start in range(0, len(queries), _QUERIES):
            chunk = np.arange(start, min(start + _QUERIES, len(queries)))
            out[start : start + len(chunk), columns] = recommender.score(queries.take(chunk), slate)
    return out
