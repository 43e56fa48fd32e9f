"""All parts of one running service, and what its routes ask of them.

Three kinds of threads: one answers from the model, one writes items (guards, store and model
see them in one order), some talk to the store. The event loop itself only parses and sends.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from starlette.requests import Request

from hardrank.errors import HardrankError, Unsupported
from hardrank.serve.asks import Ask, Found
from hardrank.serve.auth import Door
from hardrank.serve.batching import Batcher, Overloaded
from hardrank.serve.engine import Engine
from hardrank.serve.errors import StoreError, StoreUnavailable
from hardrank.serve.fallback import Popular
from hardrank.serve.histories import Histories, Known
from hardrank.serve.ingest import Ingest, Inspector
from hardrank.serve.limits import Quotas
from hardrank.serve.loading import load_engine, load_popular
from hardrank.serve.logs import LOGGER, tell
from hardrank.serve.metrics import Metrics
from hardrank.serve.probing import ProbeWatch
from hardrank.serve.remembered import Remembered
from hardrank.serve.settings import Settings
from hardrank.serve.store import Store
from hardrank.serve.swap import Live

__all__ = ["RECOMMEND", "Service"]

RECOMMEND = "/v1/recommend"
_STORE_THREADS = 8
_HISTORY = 500
"""Newest events of a user that are read."""

T = TypeVar("T")
Loader = Callable[[Path, Store, Settings], Engine]


class Service:
    """Made by `create_app`; `start` and `stop` belong to the application's lifespan."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        guard: Inspector | None,
        loader: Loader = load_engine,
    ) -> None:
        self.settings, self.store, self.metrics = settings, store, Metrics()
        self.live = Live(lambda folder: loader(folder, store, settings), Popular(_none(), {}))
        self.probes = ProbeWatch(settings.probes, settings.probe_seconds)
        self.ingest = Ingest(store, self.live, guard)
        self.histories = Histories(settings.history_seconds)
        self._remembered = Remembered(settings.remembered)
        self._model = ThreadPoolExecutor(1, "model")
        self._writer = ThreadPoolExecutor(1, "items")
        self._stores = ThreadPoolExecutor(_STORE_THREADS, "store")
        self._loading = ThreadPoolExecutor(1, "loading")
        self.door = Door(
            settings,
            lambda secret: self.on_store(store.key_of, secret),
            Quotas(lambda key_id, units: self.on_store(store.spend, key_id, units)),
            self.probes,
        )
        self._batches: Batcher[Ask, Found] = Batcher(
            self._answer, self._model, most=settings.batch, patience=settings.patience,
            seen=self.metrics.batches.observe,
        )  # fmt: skip
        self._start: asyncio.Task[None] | None = None

    # Life

    async def start(self) -> None:
        """Popularity at once, the model as soon as it is loaded."""
        self._start = asyncio.create_task(self._load())

    async def stop(self) -> None:
        """What was begun ends first; then threads and connections go."""
        if self._start is not None:
            self._start.cancel()
        for executor in (self._writer, self._model, self._stores):
            await asyncio.to_thread(executor.shutdown, wait=True)
        self._loading.shutdown(wait=False, cancel_futures=True)
        self.store.close()

    @property
    def ready(self) -> bool:
        return self.live.engine is not None

    async def swap(self, folder: Path) -> float:
        """Seconds. Raises `BundleError`, `StoreError`; then the old bundle serves on."""
        loop, outcome = asyncio.get_running_loop(), "refused"
        try:
            took = await loop.run_in_executor(
                self._loading, self.live.swap, folder, self.settings.drain
            )
            outcome = "done"
        finally:
            self.metrics.swaps.labels(outcome).inc()
            tell("swap", outcome=outcome, bundle=self.live.digest[:12])
        self.histories.clear()
        self._remembered.clear()
        return float(took)

    async def _load(self) -> None:
        """A store that is away is waited for; a bundle that is refused is not tried again."""
        pause = 0.5
        while True:
            try:
                await self._load_once()
                return
            except StoreError as error:
                tell("not-loaded", level=logging.ERROR, kind=type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(30.0, 2 * pause)
            except HardrankError as error:
                tell("not-loaded", level=logging.ERROR, kind=type(error).__name__)
                return
            except Exception:
                LOGGER.exception("not-loaded")
                return

    async def _load_once(self) -> None:
        loop, folder = asyncio.get_running_loop(), Path(self.settings.bundle)
        self.live.popular = await loop.run_in_executor(
            self._loading, load_popular, folder, self.store, self.settings
        )
        await self.swap(folder)

    # Threads

    async def on_store(self, call: Callable[..., T], *arguments: Any) -> T:
        """On a thread of the store's. Raises as the call does."""
        return await asyncio.get_running_loop().run_in_executor(self._stores, call, *arguments)

    async def on_writer(self, call: Callable[..., T], *arguments: Any) -> T:
        """On the one thread that writes items."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, call, *arguments)

    # Answers

    async def recommend(self, ask: Ask) -> Found:
        """From the model, or from popularity while that is not ready, late, swamped or
        failing. Raises `Unsupported` for a text that the model cannot read."""
        if self.ready:
            try:
                return self._counted(await self._batches.ask(ask))
            except Unsupported:
                raise
            except (TimeoutError, Overloaded) as error:
                tell("model-late", level=logging.WARNING, kind=type(error).__name__)
            except Exception:
                LOGGER.exception("model-failed")
        return self._counted(self.live.popular.recommend(ask))

    async def score(self, ask: Ask, items: Sequence[str]) -> tuple[list[float | None], str]:
        """Scores and who gave them, as `recommend`."""
        if self.ready:
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(self.settings.patience):
                    found = await loop.run_in_executor(self._model, self._score, ask, items)
                return found, "model"
            except Unsupported:
                raise
            except TimeoutError:
                tell("model-late", level=logging.WARNING, kind="TimeoutError")
            except Exception:
                LOGGER.exception("model-failed")
        return self.live.popular.score(items), "popularity"

    async def past(self, user_id: str) -> Known:
        """What is known of the user; while the store is away, what was known last."""
        known = self.histories.get(user_id)
        if known is not None:
            return known
        turn = self.histories.turn(user_id)
        try:
            events, erased = await self.on_store(self._stored, user_id)
        except StoreUnavailable:
            stale = self.histories.stale(user_id)
            tell("store-away", level=logging.WARNING)
            return stale or Known(tuple(self._bundled(user_id)), False, 0.0, turn)
        bundled = [] if erased else self._bundled(user_id)
        items = (*bundled, *events)[-_HISTORY:]
        return self.histories.keep(user_id, items, fresh=bool(events), turn=turn)

    def remembered(self, path: str, body: bytes, request: Request) -> bytes | None:
        """The same answer again, where nothing that it depends on has changed."""
        if path != RECOMMEND:
            return None
        there, user_id = self._remembered.user_of(body)
        if not there:
            return None
        stamp = self.stamp(user_id)
        found = None if stamp is None else self._remembered.get(body, stamp)
        if found is not None:
            self.metrics.answers.labels("remembered").inc()
            self.probes.looked(request.scope["hardrank.key"].id)
        return found

    def remember(
        self, body: bytes, user_id: str | None, stamp: tuple[object, ...] | None, answer: bytes
    ) -> None:
        """stamp: as it was before the answer was made."""
        if stamp is not None:
            self._remembered.put(body, user_id, stamp, answer)

    def stamp(self, user_id: str | None) -> tuple[object, ...] | None:
        """All that an answer depends on beside the request; None while that is not known."""
        engine = self.live.engine
        if engine is None:
            return None
        if user_id is None:
            return (self.live.generation, engine.version)
        known = self.histories.get(user_id)
        if known is None:
            return None
        return (self.live.generation, engine.version, known.since, known.turn)

    def learned_of(self, user_ids: set[str]) -> None:
        """Events came in: the next answer for these users counts them."""
        for user_id in user_ids:
            self.histories.forget(user_id)

    def erased(self, user_id: str) -> int:
        """Nothing of the user is used any more; events of the bundle's log that go."""
        gone = self.live.forget_user(user_id)
        self.histories.forget(user_id)
        self._remembered.clear()
        return gone

    # On the threads

    def _answer(self, asks: Sequence[Ask]) -> Sequence[Found | Exception]:
        with self.live.borrow() as engine:
            if engine is None:
                return [TimeoutError()] * len(asks)
            return engine.recommend(asks)

    def _score(self, ask: Ask, items: Sequence[str]) -> list[float | None]:
        with self.live.borrow() as engine:
            return self.live.popular.score(items) if engine is None else engine.score(ask, items)

    def _stored(self, user_id: str) -> tuple[list[str], bool]:
        """Item ids of the user's events, and whether the bundle's log of them must not be
        used."""
        events = [item for item, _ in self.store.history(user_id, _HISTORY)]
        return events, bool(self._bundled(user_id)) and bool(self.store.erased([user_id]))

    def _bundled(self, user_id: str) -> list[str]:
        engine = self.live.engine
        return [] if engine is None else engine.bundled_history(user_id)

    def _counted(self, found: Found) -> Found:
        self.metrics.answers.labels(found.source).inc()
        return found


def _none() -> pl.DataFrame:
    return pl.DataFrame({"item_id": pl.Series([], dtype=pl.Utf8)})
