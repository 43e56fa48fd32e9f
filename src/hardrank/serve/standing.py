"""What stands in a bundle already: texts that its guards would hold wait for a person, too."""

import logging
import time
from dataclasses import dataclass

from hardrank.errors import DataError
from hardrank.guards.authentic import looked
from hardrank.guards.base import Guard, Listing, Verdict
from hardrank.guards.pipeline import Pipeline
from hardrank.serve.engine import Engine
from hardrank.serve.logs import tell
from hardrank.serve.records import ItemState
from hardrank.serve.store import Store

__all__ = ["Standing", "hold_standing"]

_ALL: tuple[ItemState, ...] = ("live", "quarantined", "rejected", "deleted")
_TOGETHER = 1_000
_STRANGE = 0.1
"""Share of the texts beyond which it is the guards that do not know this catalogue."""
_CASES = 1_000
"""Cases of one load; a person has to look at each."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the look at a bundle's texts came to."""

    looked: int
    held: tuple[str, ...]
    """Items that are not listed until somebody admits them."""
    left: int
    """Items that nobody looked at in the time, or that were doubtful and stay listed: too many
    for a person, or so many that the guards must be those of another catalogue."""


def hold_standing(
    engine: Engine, store: Store, guard: Guard | Pipeline, least: float, *, seconds: float = 30.0
) -> Standing:
    """Items of the bundle that the store does not know yet, and whose text the guard would hold
    with an authenticity below `least`, become quarantine cases and are not listed. Rarest
    first. What a person decided once is known to the store and stays. Raises `StoreError`."""
    listings, doubtful, n = _unknown(engine, store), list[tuple[float, Listing, Verdict]](), 0
    shop, end = engine.shop(), time.monotonic() + seconds
    while n < len(listings) and time.monotonic() < end:
        some = listings[n : n + _TOGETHER]
        for one, (share, verdict) in zip(some, looked(guard, some, shop), strict=True):
            if verdict.action == "quarantine" and share < least:
                doubtful.append((share, one, verdict))
        n += len(some)
    strange = len(doubtful) > _STRANGE * n
    doubtful.sort(key=lambda case: case[0])
    cases = [] if strange else doubtful[:_CASES]
    held = tuple(one.item_id for _, one, verdict in cases if _held(store, engine, one, verdict))
    left = len(listings) - n + len(doubtful) - len(held)
    level = logging.WARNING if left else logging.INFO
    tell("standing", level=level, looked=n, held=len(held), left=left)
    return Standing(n, held, left)


def _unknown(engine: Engine, store: Store) -> list[Listing]:
    """Texts of the bundle alone, those of the rarest items first: fakes have few events."""
    known = {item.item_id for item in store.items(_ALL)}
    catalogue, counts = engine.catalogue, engine.shop().counts
    rows = [row for name, row in catalogue.rows.items() if name not in known]
    rows.sort(key=lambda row: int(counts[row]))
    return [
        Listing(catalogue.ids[row], catalogue.fields(row), events=int(counts[row])) for row in rows
    ]


def _held(store: Store, engine: Engine, one: Listing, verdict: Verdict) -> bool:
    """Whether the item waits now: not where it was written meanwhile, nor where the store
    cannot keep its id."""
    try:
        state = store.put_item(one.item_id, one.fields, verdict)
    except DataError:
        return False
    return state == "quarantined" and engine.remove_item(one.item_id)
