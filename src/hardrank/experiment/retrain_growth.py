"""A cap on what new accounts may teach a challenger about one item, whoever they look like."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.data import Dataset
from hardrank.data.growth import allowed, growth_capped
from hardrank.errors import DataError
from hardrank.experiment.retrain_log import Merged
from hardrank.experiment.retrain_spec import Growth
from hardrank.experiment.retrain_split import Cut
from hardrank.files import write_table

__all__ = ["Grown", "forget", "grown"]

Mask = NDArray[np.bool_]
_ITEMS, _EVENTS = "growth.parquet", "growth-events.parquet"
_MOST = 10
"""Items that the bundle and its page list."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Grown:
    """What training may read, and what it may not."""

    parts: Cut
    items: pl.DataFrame
    """Items that lost events: `item_id`, `fresh` (the champion had no such item), `earlier`
    (events of everybody else), `given` (by new accounts, now), `allowed`, `cut`, `cut_before` (by
    earlier retrainings, and still out); most lost first."""
    events: pl.DataFrame
    """Each event that is out: `user_id`, `item_id`, `time`, `sequence`, `cut_before`."""
    facts: dict[str, Any]
    """Counts, and the first items: no user is named."""

    def save(self, folder: Path) -> None:
        write_table(folder / _ITEMS, self.items)
        write_table(folder / _EVENTS, self.events)

    def said(self) -> list[str]:
        """For people, a sentence a line."""
        cut, again = self.facts["cut"], self.facts["cut_before"]
        first = [f"'{i['item_id']}' {i['cut']} of {i['given']}" for i in self.facts["most"]
                 if i["cut"]]  # fmt: skip
        most = f": {', '.join(first[:3])}{', ...' if len(first) > 3 else ''}" if first else ""
        out = [f"{cut} of {self.facts['given']} events of new accounts are beyond the cap{most}"]
        if again:
            out.append(f"{again} events that earlier retrainings cut stay out")
        if exempt := self.facts["exempt"]:
            out.append(f"{exempt} events of new accounts are on exempt items, which have no cap")
        return out


def grown(growth: Growth, log: Merged, parts: Cut, had: pl.Series, seed: int) -> Grown:
    """Take from what is trained on the events of new accounts beyond the cap of each item.

    had: ids of the champion's items. Only events that no champion learned from are ever cut,
    be it of an account that was warmed up: those of others, and older ones, set the cap. What
    an earlier retraining cut stays out and is not counted again. Raises `DataError` for an
    exempt item that the log does not have.
    """
    data, learned = log.data, parts.learned
    fresh = ~data.items["item_id"].is_in(had.implode()).to_numpy()
    free = _exempt(growth, data, fresh)[data.event_items]
    again = learned & log.left & ~free
    given = learned & log.doubtful & ~free & ~again
    view = _view(log, learned & ~again & ~(free & log.doubtful), given)
    new = np.arange(view.n_users) >= data.n_users
    rng = np.random.default_rng(derive(seed, "growth"))
    record = growth_capped(view, new, rng, slack=growth.slack).record
    gone = given & _named(log, record)
    counts = {n: _counts(data, part) for n, part in (("given", given), ("cut", gone),
                                                     ("cut_before", again))}  # fmt: skip
    items = pl.DataFrame(
        {
            "item_id": data.items["item_id"], "fresh": fresh,
            "earlier": view.counts - counts["given"], "given": counts["given"],
            "allowed": allowed(view, new, growth.slack).astype(np.int64),
            "cut": counts["cut"], "cut_before": counts["cut_before"],
        }
    )  # fmt: skip
    lost = pl.col("cut") + pl.col("cut_before")
    items = items.filter(lost > 0).sort(lost, descending=True, maintain_order=True)
    facts = {
        "given": int(given.sum()), "cut": int(gone.sum()), "cut_before": int(again.sum()),
        "exempt": int((learned & log.doubtful & free).sum()), "items": items.height,
        "slack": growth.slack, "most": items.head(_MOST).to_dicts(),
    }  # fmt: skip
    kept = learned & ~gone & ~again
    return Grown(
        parts=replace(parts, train=data.where(pl.Series(kept)), learned=kept), items=items,
        events=_listed(log, gone | again, again), facts=facts,
    )  # fmt: skip


def forget(folder: Path) -> None:
    """No table of a run that was killed stands beside a bundle without a cap."""
    for name in (_ITEMS, _EVENTS):
        (folder / name).unlink(missing_ok=True)


def _exempt(growth: Growth, data: Dataset, fresh: Mask) -> Mask:
    """(I,) items without a cap."""
    if unknown := [item for item in growth.except_items if item not in data.item_rows]:
        raise DataError(
            f"growth.except_items: there is no item '{unknown[0]}'",
            remedy="use ids of items that are live, or take it out",
            field="growth.except_items",
        )
    named = data.items["item_id"].is_in(list(growth.except_items)).to_numpy()
    exempt: Mask = named | fresh if growth.except_new_items else named
    return exempt


def _view(log: Merged, seen: Mask, given: Mask) -> Dataset:
    """What the cap is shown: 2U users, the second half for what new accounts gave, so that the
    older events of one that was warmed up stand with everybody's."""
    data, size = log.data, log.data.n_users
    owners = pl.Series("user", log.owners + size * given, dtype=pl.Int32())
    events = data.events.with_columns(owners).filter(pl.Series(seen))
    users = pl.DataFrame({"user_id": [str(n) for n in range(2 * size)]})
    return replace(data, users=users, events=events.sort("user", maintain_order=True))


def _named(log: Merged, record: pl.DataFrame) -> Mask:
    """(E,) events of the log that a record on its view drops. Each user has each item once."""
    data = log.data
    users = record["user_id"].cast(pl.Int64()).to_numpy() - data.n_users
    rows = np.asarray([data.item_rows[item] for item in record["item_id"]], dtype=np.int64)
    named: Mask = np.isin(log.owners * data.n_items + data.event_items,
                          users * data.n_items + rows)  # fmt: skip
    return named


def _counts(data: Dataset, part: Mask) -> NDArray[np.int64]:
    return np.bincount(data.event_items[part], minlength=data.n_items).astype(np.int64)


def _listed(log: Merged, out: Mask, again: Mask) -> pl.DataFrame:
    data, events = log.data, log.data.events.filter(pl.Series(out))
    return pl.DataFrame(
        {
            "user_id": data.users["user_id"].gather(events["user"]),
            "item_id": data.items["item_id"].gather(events["item"]),
            "time": events["time"], "sequence": log.sequence[out], "cut_before": again[out],
        }
    ).sort("sequence")  # fmt: skip
