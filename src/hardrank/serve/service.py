"""All parts of one running service, and what its routes ask of them.

The event loop only parses and sends; what takes time is done on `Threads`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.requests import Request

from hardrank.errors import BundleError, HardrankError, Unsupported
from hardrank.guards.events import EventGuard
from hardrank.serve.asks import Ask, Found
from hardrank.serve.auth import Door
from hardrank.serve.batching import Batcher, Overloaded
from hardrank.serve.engine import Engine
from hardrank.serve.errors import StoreError, StoreUnavailable
from hardrank.serve.event_door import EventDoor
from hardrank.serve.fallback import popular_of
from hardrank.serve.following import Following
from hardrank.serve.following_items import FollowingItems
from hardrank.serve.histories import Histories, Known
from hardrank.serve.ingest import Ingest, Inspector
from hardrank.serve.limits import Quotas
from hardrank.serve.loading import load_engine, load_popular
from hardrank.serve.logs import LOGGER, tell
from hardrank.serve.metrics import Metrics
from hardrank.serve.overview import Tally
from hardrank.serve.playground import Playground
from hardrank.serve.priors import Priors
from hardrank.serve.probing import ProbeWatch
from hardrank.serve.records import EventRow
from hardrank.serve.remembered import Remembered
from hardrank.serve.review_door import ReviewDoor
from hardrank.serve.settings import Settings
from hardrank.serve.store import Store
from hardrank.serve.swap import Live
from hardrank.serve.threads import Threads
from hardrank.serve.watching import Watching
from hardrank.serve.writer import Writer

__all__ = ["RECOMMEND", "Service"]

RECOMMEND = "/v1/recommend"
_PRIOR_EVERY = 10.0
"""Seconds from one reckoning of what is popular now to the next."""
_HISTORY = 500
"""Newest events of a user that are read."""

Loader = Callable[[Path, Store, Settings], Engine]


class Service(Threads):
    """Made by `create_app`; `start` and `stop` belong to the application's lifespan."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        guard: Inspector | None,
        loader: Loader = load_engine,
    ) -> None:
        self.settings, self.store, self.metrics = settings, store, Metrics()
        self.live = Live(lambda folder: loader(folder, store, settings), popular_of(None, {}))
        self.probes = ProbeWatch(settings.probes, settings.probe_seconds)
        self.items = FollowingItems(self)
        super().__init__(
            Writer(lambda: self.live.generation, self.items.heal, settings.write_seconds)
        )
        self.fence = self._writer.fence
        """Of calls on the writer: raises in one that was left behind."""
        self.ingest = Ingest(
            store, self.live, guard, max_items=settings.max_items, fence=self.fence
        )
        self.reviews = ReviewDoor(store, self.live, guard)
        self.events = EventDoor(store, self.live, EventGuard() if settings.event_guard else None)
        self.histories = Histories(settings.history_seconds)
        self._remembered = Remembered(settings.remembered)
        self.door = Door(
            settings,
            lambda secret: self.glance(store.key_of, secret),
            Quotas(lambda key_id, units: self.glance(store.spend, key_id, units)),
            self.probes,
        )
        self._batches = self._batcher()
        self._tasks = list[asyncio.Task[None]]()
        self.watching = Watching(settings, store, self.metrics, took=self._took)
        self.priors = Priors(
            self._in_bundle, self.watching.surging, half_life=60 * settings.prior_minutes
        )
        self.following = Following(self)
        self.swapping = asyncio.Lock()
        """Held from a look at what is promoted to the end of the swap."""
        self._lifted, self._lifts = -_PRIOR_EVERY, 0
        self._erasures: int | None = None
        self.begun = time.monotonic()
        self.tally = Tally(lambda: self.on_store(store.counts))
        self.playground = Playground(settings.control)

    # Life

    async def start(self) -> None:
        """Popularity at once, the model as soon as it is loaded."""
        self._events.submit(self.events.start)
        self._tasks += [asyncio.create_task(w) for w in (self._load(), self._writer.watch())]
        self.watching.start()

    async def stop(self) -> None:
        """What was begun ends first; then threads and connections go."""
        self.items.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(self._events.shutdown, wait=True)
        for worker in (self._writer.worker, self._model):  # a write waits for a model that hangs
            await asyncio.to_thread(worker.shutdown, timeout=self.settings.drain)
        await asyncio.to_thread(self.watching.stop)
        await asyncio.to_thread(self._stores.shutdown, wait=True)
        self._loading.shutdown(wait=False, cancel_futures=True)
        self.playground.close()
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
        if self._model.busy > self.settings.patience:  # in a call of the model that is gone
            self._renew()
        self._writer.swapped(self.settings.patience)
        await asyncio.to_thread(self.watching.swapped, self.live.popular.words)
        await asyncio.to_thread(self._lift, self.watching.clock())
        return float(took)

    async def go_over(self, folder: Path, who: str) -> float:
        """Swap, and keep it in the store that this bundle is live, so that the other services
        follow and a restart begins with it. Raises as `swap` does, `StoreError` before it, and
        `Untold` where the store could not be told after it: the new bundle serves."""
        async with self.swapping:
            promotion = await self.following.promotion(who)
            took = await self.swap(folder)
            await self.following.promote(promotion)
            return took

    async def _load(self) -> None:
        """A store that is away is waited for; a bundle that is refused is not tried again."""
        pause = 0.5
        while True:
            try:
                await self._load_once()
                break
            except StoreError as error:
                tell("not-loaded", level=logging.ERROR, kind=type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(30.0, 2 * pause)
            except HardrankError as error:
                tell("not-loaded", level=logging.ERROR, kind=type(error).__name__, why=str(error))
                break
            except Exception:
                LOGGER.exception("not-loaded")
                break
        self.watching.counts_events = True
        self._tasks.append(asyncio.create_task(self.following.run()))
        self._tasks.append(asyncio.create_task(self.items.run()))

    async def _load_once(self) -> None:
        """The promoted bundle where it is at hand, else that of the settings."""
        loop, told = asyncio.get_running_loop(), Path(self.settings.bundle)
        await self.items.begin()
        promoted = await self.following.first()
        folder = promoted or told
        tell("load", promoted=promoted is not None)
        self.live.popular = await loop.run_in_executor(
            self._loading, load_popular, folder, self.store, self.settings
        )
        try:
            await self.swap(folder)
        except (BundleError, OSError):
            if promoted is None:
                raise
            await self.following.refused()
            await self.swap(told)

    # Answers

    async def recommend(self, ask: Ask) -> Found:
        """From the model, or from popularity while that is not ready, late, swamped or
        failing. Raises `Unsupported` for a text that the model cannot read."""
        if self._able():
            try:
                return self._counted(await self._batches.ask(ask))
            except Unsupported:
                raise
            except (TimeoutError, Overloaded) as error:
                tell("model-late", level=logging.WARNING, kind=type(error).__name__)
            except Exception:
                LOGGER.exception("model-failed")
        # It may sort the catalogue anew, which is not for the event loop.
        return self._counted(await asyncio.to_thread(self.live.popular.recommend, ask))

    async def score(self, ask: Ask, items: Sequence[str]) -> tuple[list[float | None], str]:
        """Scores and who gave them, as `recommend`."""
        if self._able():
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
            events, erased = await self.glance(self._stored, user_id)
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
            self.watching.again(found)
            self.probes.looked(request.scope["hardrank.key"].name)
        return found

    def remember(
        self, body: bytes, user_id: str | None, stamp: tuple[object, ...] | None, answer: bytes
    ) -> None:
        """stamp: as it was before the answer was made."""
        if stamp is not None:
            self._remembered.put(body, user_id, stamp, answer)

    def stamp(self, user_id: str | None, turn: int | None = None) -> tuple[object, ...] | None:
        """All that an answer depends on beside the request; None while that is not known, or
        where it changed since the user's `turn` that is given."""
        engine = self.live.engine
        if engine is None:
            return None
        if user_id is None:
            return (self.live.generation, engine.version, self._lifts)
        known = self.histories.get(user_id)
        if known is None or turn not in (None, known.turn):
            return None
        return (self.live.generation, engine.version, self._lifts, known.since, known.turn)

    def learned_of(self, user_ids: set[str]) -> None:
        """Events came in: the next answer for these users counts them."""
        for user_id in user_ids:
            self.histories.forget(user_id)

    async def erased(self, user_id: str) -> int:
        """Nothing of the user is used any more; events of the bundle's log that go."""
        self._events.submit(self.events.forget, user_id)
        self.histories.forget(user_id)
        self.priors.erase_user(user_id)
        self._remembered.clear()
        # Forgetting waits for the model, which may hang: never on the event loop.
        gone = await self.on_writer(self.live.forget_user, user_id)
        self._remembered.clear()  # of answers that were under way
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
        self.watching.shown(found)
        return found

    # What is popular now

    def _in_bundle(self, user_id: str) -> bool:
        return bool(self._bundled(user_id))

    def _took(self, events: Sequence[EventRow], now: float, fresh: bool) -> None:
        """On the thread of the monitors, every second, with or without events."""
        for user_id in {event.user_id for event in events}:
            self.histories.forget(user_id)
        if fresh:
            self._follow_erasures()
            self.histories.heard()
        self.priors.took(events, now, fresh=fresh)
        if now - self._lifted >= _PRIOR_EVERY:
            self._lift(now)

    def _follow_erasures(self) -> None:
        """Users whom another process erased are forgotten here, too. Raises `StoreError`."""
        count = self.store.erasures()
        if self._erasures is not None and count != self._erasures:
            self.live.forget_erased(self.store)
            self.histories.clear()
            self._remembered.clear()
        self._erasures = count

    def _lift(self, now: float) -> None:
        self._lifted, values = now, self.priors.values(now)
        self.live.popular.set_now(values)
        engine, weight = self.live.engine, self.settings.prior
        if engine is not None and weight:
            gains = {item: weight * value for item, value in values.items()}
            self._lifts += engine.set_prior(gains)

    # A model that hangs or dies

    def _batcher(self) -> "Batcher[Ask, Found]":
        return Batcher(
            self._answer, self._model, most=self.settings.batch, patience=self.settings.patience,
            seen=self.metrics.batches.observe,
        )  # fmt: skip

    def _able(self) -> bool:
        """Whether to ask the model: it is there, and not lost in a call."""
        if not self._model.alive:
            tell("model-thread-died", level=logging.ERROR)
            self._renew()
        return self.ready and self._model.busy <= self.settings.patience

    def _renew(self) -> None:
        self._model.renew()
        self._batches = self._batcher()
