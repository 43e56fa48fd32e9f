"""The worst cases: which rewrite of which item won most exposure."""

from dataclasses import dataclass

import polars as pl

from hardrank.reports.diffs import Piece, diff_words, folded
from hardrank.reports.evidence import Evidence

__all__ = ["Case", "worst_cases"]

_NEEDED = ("text_before", "text_after", "hits_before", "hits_after", "eligible")
_OPTIONAL = ("seed", "queries", "words", "similarity", "rank_before", "rank_after", "knowledge")


@dataclass(frozen=True, kw_only=True)
class Case:
    trial: str
    item: str
    pieces: tuple[Piece, ...]
    before: float
    """Exposure, as a share of eligible users."""
    after: float
    seed: int | None = None
    queries: int | None = None
    words: int | None = None
    similarity: float | None = None
    rank_before: float | None = None
    rank_after: float | None = None
    knowledge: str | None = None


def worst_cases(evidence: Evidence, arm: str, each: int = 2) -> tuple[Case, ...]:
    """For each attack the `each` items with the largest gain on that arm, one seed an item."""
    rows = evidence.rows("promotion")
    if not {"subject", "trial", "sample", *_NEEDED} <= set(rows.columns):
        return ()
    gain = (pl.col("hits_after") - pl.col("hits_before")) / pl.col("eligible")
    known = pl.all_horizontal(pl.col(c).is_not_null() for c in _NEEDED)
    ranked = (
        rows.filter((pl.col("subject") == evidence.subject(arm)) & known & (pl.col("eligible") > 0))
        .with_columns(gain=gain)
        .filter(pl.col("gain") > 0)
        .sort("gain", "sample", descending=[True, False], maintain_order=True)
        .unique(["trial", "sample"], keep="first", maintain_order=True)
        .group_by("trial", maintain_order=True)
        .head(each)
        .sort("gain", descending=True, maintain_order=True)
    )
    return tuple(_case(row) for row in ranked.iter_rows(named=True))


def _case(row: dict[str, object]) -> Case:
    eligible = float(str(row["eligible"]))
    extra = {name: row.get(name) for name in _OPTIONAL}
    return Case(
        trial=str(row["trial"]),
        item=str(row["sample"]),
        pieces=folded(diff_words(str(row["text_before"]), str(row["text_after"]))),
        before=float(str(row["hits_before"])) / eligible,
        after=float(str(row["hits_after"])) / eligible,
        **extra,  # type: ignore[arg-type]
    )
