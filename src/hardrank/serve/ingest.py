"""What comes in: a listing passes the guards, is kept, and goes live where it may."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hardrank.errors import DataError
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.serve.engine import Engine
from hardrank.serve.errors import CatalogueFull, NotFound
from hardrank.serve.records import Decision, ItemRow, ItemState
from hardrank.serve.store import Store
from hardrank.serve.swap import Live

__all__ = ["Ingest", "Inspector", "Put"]


_COLUMNS = 100
"""Columns of items, beyond which no new ones are made: each costs a place for every item."""

_RECOUNT = 600.0
"""Seconds after which items are counted anew: other processes add some."""


class Inspector(Protocol):
    """One guard, or a pipeline of several."""

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        """One verdict for each listing, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a listing."""

    item_id: str
    state: ItemState
    """Of this text: `live` or `quarantined`."""
    verdict: Verdict
    recommendable: bool


class Ingest:
    """All methods block; called from one thread, so that the guards, the store and the model
    see the listings in one order."""

    def __init__(
        self,
        store: Store,
        live: Live,
        guard: Inspector | None,
        *,
        max_items: int = 2_000_000,
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        """guard: what listings pass; None: the guards of the bundle that is live, where it has
        some, and they change with it. fence: raises in a call whose asker was told that it
        failed: it writes nothing any more."""
        self._store, self._live, self._guard = store, live, guard
        self._most, self._fence = max_items, fence
        self._stored, self._counted = 0, -_RECOUNT
        """Items in the store, at least, and when they were counted."""
        self._shop: tuple[tuple[int, int], Shop] | None = None

    def put(self, wanted: Sequence[tuple[str, Mapping[str, str]]]) -> list[Put]:
        """Fields that are not named stay as they stand. One text of an item a call. Raises
        `StoreError`, `DataError` (too many columns), `CatalogueFull`; then nothing was kept."""
        self._bounded(wanted)
        listings, unknown = list[Listing](), list[Listing]()
        for item_id, fields in wanted:
            kept = self._store.item(item_id)
            listings.append(self._listing(item_id, fields, kept))
            unknown += [listings[-1]] if kept is None else []
        self._room(unknown)
        verdicts = self._judge(listings)
        self._fence()  # guards may have waited for a model that hung
        self._keep_standing(unknown)
        states = self._store.put_items(
            [(x.item_id, x.fields, v) for x, v in zip(listings, verdicts, strict=True)]
        )
        return [self._shown(*case) for case in zip(listings, verdicts, states, strict=True)]

    def delete(self, item_id: str, who: str) -> bool:
        """Whether it stood or waited. Raises `StoreError`."""
        standing = self._live.fields(item_id)
        if standing is not None and self._store.item(item_id) is None:
            self._store.put_item(item_id, standing, admit("bundle"))
        self._fence()
        there = self._store.delete_item(item_id, who=who)
        self._fence()
        self._live.remove_item(item_id)
        return there

    def decide(self, case: int, action: Decision, who: str) -> ItemState:
        """Raises `NotFound`, `Conflict`, `StoreError`."""
        item_id = self._store.case(case).item_id
        state = self._store.decide(case, action, who)
        item = self._store.item(item_id)
        if item is None:
            raise NotFound(f"there is no item of quarantine case {case}")
        if action == "admit" and item.state == "live":
            self._live.put_item(item_id, item.fields)
        return state

    @property
    def guarded(self) -> bool:
        """Whether anything stands at the door."""
        return self._guards(self._live.engine) is not None

    def judge(self, item_id: str, fields: Mapping[str, str]) -> Verdict | None:
        """What the guards would say of this text now; nothing is kept. None: there are none.
        Raises `StoreError`."""
        if self._guards(self._live.engine) is None:
            return None
        return self._judge([self._listing(item_id, fields, self._store.item(item_id))])[0]

    def _listing(self, item_id: str, fields: Mapping[str, str], kept: ItemRow | None) -> Listing:
        # What the store holds comes first: another process may have written it. Whoever deletes
        # an item and creates it anew is asked to what people trusted before.
        if kept is None:
            stands = before = self._live.fields(item_id)
        else:
            stands = dict(kept.fields) if kept.state == "live" else None
            before = self._store.last_live(item_id) if stands is None else stands
        return Listing(
            item_id=item_id,
            fields={**(stands or {}), **fields},
            before=before,
            events=self._earned(item_id),
            created=None if kept is None else kept.created,
        )

    def _earned(self, item_id: str) -> int:
        """Events of the item, at least: of the bundle and the store at the start, or of the store
        by now."""
        return max(self._live.popular.count(item_id), self._store.events_of(item_id))

    def _room(self, unknown: Sequence[Listing]) -> None:
        """Raises `CatalogueFull` where some of the items are new and there are too many."""
        new = sum(not self._live.popular.knows(one.item_id) for one in unknown)
        if not new:
            return
        if time.monotonic() - self._counted > _RECOUNT:
            self._stored, self._counted = self._store.number_of_items(), time.monotonic()
        if max(self._stored, self._live.popular.size) + new > self._most:
            raise CatalogueFull("the catalogue is full: no new items")
        self._stored += new

    def _bounded(self, wanted: Sequence[tuple[str, Mapping[str, str]]]) -> None:
        """Raises `DataError` for names of columns that would be too many."""
        stand = set(self._live.popular.columns)
        new = {name for _, fields in wanted for name in fields} - stand
        if new and len(stand) + len(new) > _COLUMNS:
            raise DataError("new columns, and the items have too many already", field="fields")

    def _judge(self, listings: Sequence[Listing]) -> list[Verdict]:
        generation, engine = self._live.generation, self._live.engine
        guard = self._guards(engine)
        if guard is None:
            return [admit("none") for _ in listings]
        return guard.inspect(listings, self._asked(engine, generation))

    def _guards(self, engine: Engine | None) -> Inspector | None:
        bundled = None if engine is None else engine.guard
        return self._guard or bundled

    def _asked(self, engine: Engine | None, generation: int) -> Shop:
        """generation: read before the engine, so that a swap between makes it anew."""
        if engine is None:
            return Shop(items=self._live.popular.frame())
        key = (generation, engine.version)
        if self._shop is None or self._shop[0] != key:
            self._shop = (key, engine.shop())
        return self._shop[1]

    def _keep_standing(self, listings: Sequence[Listing]) -> None:
        """An item that only the bundle knew gets its first version from there, so that a
        rewrite has a text to be compared with and to go back to."""
        first = [(x.item_id, x.before, admit("bundle")) for x in listings if x.before is not None]
        if first:
            self._store.put_items(first)

    def _shown(self, listing: Listing, verdict: Verdict, state: ItemState) -> Put:
        listed = False
        if state == "live":
            mended = verdict.fields if verdict.action == "mend" else None
            fields = listing.fields if mended is None else mended
            self._fence()
            listed = self._live.put_item(listing.item_id, fields)
        return Put(listing.item_id, state, verdict, listed)
