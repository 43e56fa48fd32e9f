"""Many requests, one pass of the model: what waits while the model works goes next, together.

Nothing waits for company: a request that finds the model idle starts it alone. All passes run
on one thread, so the event loop is never blocked and the model needs no second copy.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

__all__ = ["Batcher", "Overloaded"]

T = TypeVar("T")
R = TypeVar("R")


class Overloaded(Exception):
    """So many wait already that another one would wait in vain."""


class Batcher(Generic[T, R]):
    """`work` gets up to `most` questions and gives as many answers; an answer that is an
    exception is raised to whoever asked."""

    def __init__(
        self, work: Callable[[Sequence[T]], Sequence[R | Exception]], executor: Executor,
        *, most: int, patience: float, waiting: int = 1_000,
        seen: Callable[[int], None] = lambda size: None,
    ) -> None:  # fmt: skip
        """patience: seconds until an asker gets `TimeoutError`. waiting: askers in the queue.
        seen: told the size of every batch."""
        self._work, self._executor, self._most = work, executor, most
        self._patience, self._limit, self._seen = patience, waiting, seen
        self._queue: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def ask(self, question: T) -> R:
        """Raises what `work` said of it, `TimeoutError`, or `Overloaded`."""
        if len(self._queue) >= self._limit:
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._queue.append((question, future))
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._drain())
        late = loop.call_later(self._patience, _too_late, future)
        try:
            return await future
        finally:
            late.cancel()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
            batch = [(q, f) for q, f in batch if not f.done()]  # some gave up waiting
            if not batch:
                continue
            self._seen(len(batch))
            try:
                answers = await loop.run_in_executor(
                    self._executor, self._work, [q for q, _ in batch]
                )
            except Exception as error:  # the whole batch failed: everybody is told
                answers = [error] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                _settle(future, answer)


def _settle(future: "asyncio.Future[R]", answer: R | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _too_late(future: "asyncio.Future[R]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())
