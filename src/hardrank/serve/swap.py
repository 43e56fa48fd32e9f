"""The engine that answers now, and how another one takes its place without a lost request."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hardrank.serve.catalogue import ItemSource, reads
from hardrank.serve.engine import Engine
from hardrank.serve.fallback import Popular
from hardrank.serve.loading import forget_erased
from hardrank.serve.store import Store

__all__ = ["Live"]

Load = Callable[[Path], Engine]
"""Loads a bundle, brings it to the store's catalogue, and forgets erased users. Raises
`BundleError`, and then nothing has changed."""


class Live:
    """Safe for threads. Readers borrow the engine; writers go through `put_item`,
    `remove_item` and `forget_user`, so that an engine that is being built misses nothing."""

    def __init__(self, load: Load, popular: Popular) -> None:
        self._load, self.popular = load, popular
        self._engine: Engine | None = None
        self._gate, self._swapping = threading.RLock(), threading.Lock()
        self._missed: list[Callable[[Engine], int]] | None = None
        self._borrowed: dict[int, int] = {}
        self._returned = threading.Condition()
        self.generation = 0
        """Grows with every swap."""

    @property
    def engine(self) -> Engine | None:
        return self._engine

    @property
    def digest(self) -> str:
        return "" if self._engine is None else self._engine.digest

    @contextmanager
    def borrow(self) -> Iterator[Engine | None]:
        """The engine to answer with; a swap waits for it to come back before it ends."""
        with self._returned:
            engine = self._engine
            self._borrowed[id(engine)] = self._borrowed.get(id(engine), 0) + 1
        try:
            yield engine
        finally:
            with self._returned:
                self._borrowed[id(engine)] -= 1
                if not self._borrowed[id(engine)]:
                    del self._borrowed[id(engine)]
                    self._returned.notify_all()

    def swap(self, folder: Path, drain: float = 10.0) -> float:
        """Seconds it took. The new engine is built beside the old one, which answers until
        the reference moves; at the end nobody uses the old one any more (or `drain` seconds
        passed). Raises `BundleError` and whatever loading raises; then the old one stays."""
        began = time.monotonic()
        with self._swapping:
            with self._gate:
                self._missed = []
            try:
                new = self._load(folder)
                for item_id, fields in new.beyond(self.popular.knows):
                    self.popular.put_item(item_id, fields)
                old = self._take_over(new)
            finally:
                with self._gate:
                    self._missed = None
            if old is not None:
                self._drain(old, drain)
        return time.monotonic() - began

    def put_item(self, item_id: str, fields: Mapping[str, str]) -> bool:
        """Whether the model can list it from now on."""
        self.popular.put_item(item_id, fields)
        return bool(self._tell(lambda engine: engine.put_item(item_id, fields)))

    def remove_item(self, item_id: str) -> None:
        self.popular.remove_item(item_id)
        self._tell(lambda engine: engine.remove_item(item_id))

    def follow(self, item: ItemSource) -> bool:
        """Bring an item to what the store holds of it; whether it read otherwise. What stands
        so already costs nothing."""
        stands, live = self.popular.fields(item.item_id), item.state == "live"
        same = stands is None if not live else stands is not None and reads(stands, item.fields)
        if not same and live:
            self.popular.put_item(item.item_id, item.fields)
        elif not same:
            self.popular.remove_item(item.item_id)
        return bool(self._tell(lambda engine: engine.overlay([item]))) or not same

    def forget_user(self, user_id: str) -> int:
        """Events of the bundle's log that are not used any more."""
        return self._tell(lambda engine: engine.forget_user(user_id))

    def forget_erased(self, store: Store) -> int:
        """The same for everybody whom the store erased. Raises `StoreError`."""
        return self._tell(lambda engine: forget_erased(engine, store))

    def fields(self, item_id: str) -> dict[str, str] | None:
        """What a live item says."""
        return self.popular.fields(item_id)

    def _tell(self, change: Callable[[Engine], int]) -> int:
        with self._gate:
            if self._missed is not None:
                self._missed.append(change)
            engine = self._engine
        return 0 if engine is None else change(engine)

    def _take_over(self, new: Engine) -> Engine | None:
        """Catch up outside the gate as far as possible, the last few changes inside it."""
        done = 0
        while True:
            with self._gate:
                missed = list(self._missed or ())[done:]
                if len(missed) <= 4:
                    for change in missed:
                        change(new)
                    with self._returned:
                        old, self._engine = self._engine, new
                        self.generation += 1
                    for item_id in new.held:  # unless somebody has admitted it meanwhile
                        if new.catalogue.row(item_id) is None:
                            self.popular.remove_item(item_id)
                    return old
            for change in missed:
                change(new)
            done += len(missed)

    def _drain(self, old: Engine, seconds: float) -> None:
        with self._returned:
            self._returned.wait_for(lambda: id(old) not in self._borrowed, timeout=seconds)
