"""From a bundle folder to an engine that knows what the store knows."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from hardrank.serve.engine import Engine
from hardrank.serve.fallback import Popular, popular_of
from hardrank.serve.records import ItemState
from hardrank.serve.settings import Settings
from hardrank.serve.store import Store

__all__ = ["load_engine", "load_popular"]

_ALL: Sequence[ItemState] = ("live", "quarantined", "rejected", "deleted")
_TOGETHER = 5_000


def load_engine(folder: Path, store: Store, settings: Settings) -> Engine:
    """The bundle's model over the store's catalogue. An item of the bundle that the store
    holds back (deleted, rejected, waiting without an older text) is not listed; an erased
    user's log is not used. Raises `BundleError`, `StoreError`."""
    engine = Engine.load(folder, provider=settings.provider, exact=settings.exact)
    engine.overlay(store.items(_ALL))
    users = iter(engine.bundle.histories)
    while some := list(islice(users, _TOGETHER)):
        for user_id in store.erased(u for u in some if 0 < len(u) <= 256):
            engine.forget_user(user_id)
    return engine


def load_popular(folder: Path, store: Store, settings: Settings) -> Popular:
    """What popularity answers with; needs no model. Raises `StoreError`."""
    popular = popular_of(folder, store.events_per_item(), settings.provider)
    for item in store.items(_ALL):
        if item.state == "live":
            popular.put_item(item.item_id, item.fields)
        else:
            popular.remove_item(item.item_id)
    return popular
