"""From a bundle folder to an engine that knows what the store knows."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from hardrank.bundle import load_guards
from hardrank.guards.pipeline import load_pipeline
from hardrank.serve.engine import Engine
from hardrank.serve.fallback import Popular, popular_of
from hardrank.serve.records import ItemState
from hardrank.serve.settings import Settings
from hardrank.serve.standing import hold_standing
from hardrank.serve.store import Store

__all__ = ["forget_erased", "load_engine", "load_popular"]

_ALL: Sequence[ItemState] = ("live", "quarantined", "rejected", "deleted")
_TOGETHER = 5_000


def load_engine(folder: Path, store: Store, settings: Settings) -> Engine:
    """The bundle's model and guards over the store's catalogue. An item of the bundle that the
    store holds back (deleted, rejected, waiting without an older text) is not listed; an erased
    user's log is not used. With `authentic`, texts that stand in it pass the guards, too. Raises
    `BundleError`, `StoreError`."""
    engine = Engine.load(folder, provider=settings.provider, exact=settings.exact)
    engine.guard = load_guards(folder)
    engine.overlay(store.items(_ALL))
    forget_erased(engine, store)
    if settings.authentic > 0:
        guard = load_pipeline(Path(settings.guard)) if settings.guard else engine.guard
        if guard is not None:
            found = hold_standing(engine, store, guard, settings.authentic)
            engine.looked, engine.left, engine.held = found.looked, found.left, found.held
    return engine


def forget_erased(engine: Engine, store: Store) -> int:
    """The bundle's log of users whom the store erased is not used any more; how many events
    that were. Raises `StoreError`."""
    users, gone = iter(engine.bundle.histories), 0
    while some := list(islice(users, _TOGETHER)):
        for user_id in store.erased(u for u in some if 0 < len(u) <= 256):
            gone += engine.forget_user(user_id)
    return gone


def load_popular(folder: Path, store: Store, settings: Settings) -> Popular:
    """What popularity answers with; needs no model. Raises `StoreError`."""
    popular = popular_of(folder, store.events_per_item(), settings.provider)
    for item in store.items(_ALL):
        if item.state == "live":
            popular.put_item(item.item_id, item.fields)
        else:
            popular.remove_item(item.item_id)
    return popular
