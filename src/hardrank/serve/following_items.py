"""Items that other processes write: what is new in the store goes into the model here.

The store numbers every change of an item, in the order of commits. A look reads what is above
the last number seen and brings popularity and the engine to it. It is done on the thread that
writes items, so that what was read is never older than what this process wrote itself.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from hardrank.serve.answers import Refused
from hardrank.serve.errors import StoreError
from hardrank.serve.logs import LOGGER, tell

if TYPE_CHECKING:
    from hardrank.serve.service import Service

__all__ = ["FollowingItems"]

_PAGE = 100
"""Items brought in by one call, between which this process's own writers get their turn."""


class FollowingItems:
    """Looks every `follow_seconds`. An item that stands as the store has it is left alone."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._mark: int | None = None
        """The last change seen; None before the first load."""
        self._again: deque[int] = deque()
        self._tasks = set[asyncio.Task[None]]()

    async def begin(self) -> None:
        """What is in the store now is about to be loaded. Raises `StoreError`."""
        self._mark = await self._service.on_store(self._service.store.last_change)

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = self._service.settings.follow_seconds
        while pause:
            await asyncio.sleep(pause)
            await self._try()

    async def look(self) -> int:
        """How many items read otherwise now. Raises `StoreError`, and `Refused` while the
        writer hangs."""
        changed = 0
        while True:
            some, last = await self._service.on_writer(self._page)
            changed += some
            if last:
                return changed

    def heal(self) -> Callable[[], None]:
        """Look at once; what it gives looks again at all that is new since now."""
        mark = self._mark

        def again() -> None:
            if mark is not None:
                self._again.append(mark)
            self._soon()

        self._soon()
        return again

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _soon(self) -> None:
        task = asyncio.create_task(self._try())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self) -> None:
        try:
            if changed := await self.look():
                tell("items-followed", items=changed)
        except (StoreError, Refused) as error:
            tell("items-not-followed", level=logging.WARNING, kind=type(error).__name__)
        except Exception:
            LOGGER.exception("items-not-followed")

    def _page(self) -> tuple[int, bool]:
        """Items that read otherwise now, and whether there are no more. On the writer."""
        while self._again:
            self._mark = min(self._mark or 0, self._again.popleft())
        if self._mark is None:
            return 0, True
        service, changed = self._service, 0
        rows = service.store.items_since(self._mark, _PAGE)
        for row in rows:
            service.fence()
            changed += service.live.follow(row)
        service.fence()
        self._mark = rows[-1].change if rows else self._mark
        return changed, len(rows) < _PAGE
