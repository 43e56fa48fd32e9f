"""What comes in: a listing passes the guards, is kept, and goes live where it may."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.serve.errors import NotFound
from hardrank.serve.records import Decision, ItemState
from hardrank.serve.store import Store
from hardrank.serve.swap import Live

__all__ = ["Ingest", "Inspector", "Put"]


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

    def __init__(self, store: Store, live: Live, guard: Inspector | None) -> None:
        """guard: None admits everything."""
        self._store, self._live, self._guard = store, live, guard
        self._shop: tuple[int, Shop] | None = None

    def put(self, wanted: Sequence[tuple[str, Mapping[str, str]]]) -> list[Put]:
        """Fields that are not named stay as they stand. One text of an item a call. Raises
        `StoreError`; then nothing was kept."""
        listings, unknown = list[Listing](), list[Listing]()
        for item_id, fields in wanted:
            stands, kept = self._live.fields(item_id), self._store.item(item_id)
            listings.append(
                Listing(
                    item_id=item_id,
                    fields={**(stands or {}), **fields},
                    before=stands,
                    events=self._live.popular.count(item_id),
                    created=None if kept is None else kept.created,
                )
            )
            unknown += [listings[-1]] if kept is None else []
        verdicts = self._judge(listings)
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
        there = self._store.delete_item(item_id, who=who)
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

    def _judge(self, listings: Sequence[Listing]) -> list[Verdict]:
        if self._guard is None:
            return [admit("none") for _ in listings]
        return self._guard.inspect(listings, self._asked())

    def _asked(self) -> Shop:
        engine = self._live.engine
        if engine is None:
            return Shop(items=self._live.popular.frame())
        key = id(engine) ^ engine.version
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
            listed = self._live.put_item(listing.item_id, fields)
        return Put(listing.item_id, state, verdict, listed)
