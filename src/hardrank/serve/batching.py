"""Many requests, one pass of the model: what waits while the model works goes next, together.

Nothing waits for company by the clock: a pass begins as soon as a turn of the event loop brings
no further request, so those that arrive together are answered together and one that comes alone
starts at once. All passes run on one thread, so the event loop is never blocked and the model
needs no second copy.
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
        self._patient: deque[tuple[float, asyncio.Future[R]]] = deque()
        """Until when each asker waits, in the order in which they came."""
        self._alarm: asyncio.TimerHandle | None = None

    async def ask(self, question: T) -> R:
        """Raises what `work` said of it, `TimeoutError`, or `Overloaded`."""
        if len(self._queue) >= self._limit:
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._queue.append((question, future))
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._drain())
        self._patient.append((loop.time() + self._patience, future))
        if self._alarm is None:  # one for all: an alarm for each costs more than the queue
            self._alarm = loop.call_later(self._patience, self._too_late)
        return await future

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            await self._gather()
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
            while self._patient and self._patient[0][1].done():
                self._patient.popleft()

    async def _gather(self) -> None:
        """Turn after turn of the event loop, while each brings more. A small pass costs
        several times as much an answer as a large one."""
        before = 0
        while before < len(self._queue) < self._most:
            before = len(self._queue)
            await asyncio.sleep(0)

    def _too_late(self) -> None:
        """Whoever waited for so long is told; the alarm goes off next for who came after."""
        loop = asyncio.get_running_loop()
        self._alarm = None
        while self._patient:
            until, future = self._patient[0]
            if not future.done() and until > loop.time():
                self._alarm = loop.call_at(until, self._too_late)
                return
            self._patient.popleft()
            if not future.done():
                future.set_exception(TimeoutError())


def _settle(future: "asyncio.Future[R]", answer: R | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
