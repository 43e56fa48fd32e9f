"""What counts as liking: from ratings and kinds of events to positive, weighted events."""

from dataclasses import replace
from typing import Literal

import polars as pl
from pydantic import Field

from hardrank.data.dataset import Dataset
from hardrank.errors import DataError
from hardrank.types import Share, spec

__all__ = ["GRADES", "LabelPolicy", "apply"]

GRADES: dict[str, float] = {
    "view": 0.1,
    "click": 0.2,
    "comment": 0.4,
    "share": 0.5,
    "cart": 0.6,
    "buy": 1.0,
}
"""Evidence that a user likes an item, by kind of event, weakest first."""

_ROW = "__row"


@spec
class LabelPolicy:
    """How events become labels. A pair of user and item that carries several kinds of events
    is kept once, with the strongest; of contradicting ratings the latest holds."""

    kind: Literal["labels"] = "labels"
    positive: float | None = None
    """Ratings from here on are positive, lower ones are removed (explicit feedback). Without
    it every rated event is positive. Unrated events are not touched."""
    evidence: Literal["graded", "literal", "all"] = "graded"
    """What the kind of an event (column `event`) says. `graded`: its weight is that of
    `grades`. `literal`: a purchase is 1 and everything else 0, hence removed. `all`: every
    kind weighs 1."""
    grades: dict[str, Share] = Field(default_factory=lambda: dict(GRADES))
    """Kind of event -> weight in [0, 1]; events of weight 0 are removed."""


def apply(policy: LabelPolicy, dataset: Dataset) -> Dataset:
    """The positive events, with their weights; each rule leaves a note for the data card.

    Raises `DataError` when an event is of a kind that the policy does not know.
    """
    out = _rated(policy, dataset)
    return _graded(policy, out) if "event" in dataset.events.columns else out


def _rated(policy: LabelPolicy, data: Dataset) -> Dataset:
    # events are sorted by time within a user, so a pair's last rated row is the latest
    rated = pl.col("rating").is_not_null()
    out = data.where(~rated | pl.struct("user", "item", rated).is_last_distinct())
    if gone := data.n_events - out.n_events:
        out = out.noted(f"{gone} ratings removed because the user rated the item again later.")
    if policy.positive is None:
        return out
    liked = out.where((pl.col("rating") >= policy.positive).fill_null(True))
    gone = out.n_events - liked.n_events
    return liked.noted(f"A rating of {policy.positive:g} or more is positive; {gone} removed.")


def _graded(policy: LabelPolicy, data: Dataset) -> Dataset:
    weights = _weights(policy)
    unknown = set(data.events["event"].drop_nulls().unique()) - set(weights)
    if unknown:
        raise DataError(
            f"{data.name}: unknown kind of event '{min(unknown)}'",
            field="event",
            remedy=f"known: {', '.join(weights)}; add it to grades",
        )
    weight = pl.col("event").replace_strict(weights, default=None, return_dtype=pl.Float32)
    events = data.events.with_columns(weight=pl.coalesce(weight, pl.col("weight")))
    strong = events.filter(pl.col("weight") > 0)
    weak = events.height - strong.height
    ranked = strong.with_row_index(_ROW).sort("weight", _ROW, descending=[True, False])
    once = ranked.unique(["user", "item"], keep="first", maintain_order=True).sort(_ROW).drop(_ROW)
    return replace(data, events=once).noted(
        f"Evidence by kind of event ({policy.evidence}): "
        + ", ".join(f"{kind} {value:g}" for kind, value in weights.items())
        + f"; {weak} events of weight 0 removed.",
        f"One event for each user and item, the strongest, then the earliest: "
        f"{strong.height - once.height} removed.",
    )


def _weights(policy: LabelPolicy) -> dict[str, float]:
    if policy.evidence == "graded":
        return dict(policy.grades)
    if policy.evidence == "all":
        return dict.fromkeys(policy.grades, 1.0)
    return {**dict.fromkeys(policy.grades, 0.0), "buy": 1.0}
