"""The threads of a service, and the lines in which requests wait for them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar

from hardrank.serve.away import Away
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.worker import Worker
from hardrank.serve.writer import Writer

__all__ = ["Threads"]

_STORE_THREADS = 8

T = TypeVar("T")


class Threads:
    """One answers from the model, one writes items (guards, store and model see them in one
    order), one keeps events, one loads bundles, some talk to the store."""

    def __init__(self, writer: Writer) -> None:
        self._writer, self._model = writer, Worker("model")
        self._events = ThreadPoolExecutor(1, "events")
        self._stores = ThreadPoolExecutor(_STORE_THREADS, "store")
        self._loading = ThreadPoolExecutor(1, "loading")
        self._away, self._waiting = Away(), Counter[Executor]()

    async def on_store(self, call: Callable[..., T], *arguments: Any) -> T:
        """On a thread of the store's. Raises as the call does."""
        return await self._in_line(self._stores, 2 * _STORE_THREADS, call, *arguments)

    async def glance(self, call: Callable[..., T], *arguments: Any) -> T:
        """As `on_store`, for who can do without: while the store is away, refused at once."""
        self._away.look()
        return await self.on_store(call, *arguments)

    async def on_writer(self, call: Callable[..., T], *arguments: Any) -> T:
        """On the one thread that writes items and reviews. Raises `Refused` (503) where that
        hangs in the model."""
        self._writer.enter()
        return await self._in_line(self._writer.worker, 2, call, *arguments)

    async def on_events(self, call: Callable[..., T], *arguments: Any) -> T:
        """On the one thread that judges and keeps events."""
        return await self._in_line(self._events, 2, call, *arguments)

    async def _in_line(
        self, executor: Executor, most: int, call: Callable[..., T], *arguments: Any
    ) -> T:
        """most: how many may wait for a store that is away. Raises as the call does."""
        self._away.stand(self._waiting[executor], most)
        self._waiting[executor] += 1
        try:
            found = await asyncio.get_running_loop().run_in_executor(executor, call, *arguments)
        except StoreUnavailable:
            self._away.went()
            raise
        finally:
            self._waiting[executor] -= 1
        self._away.came()
        return found
