"""The thread that writes items: a model that hangs must not close the door for good.

Whoever writes an item waits for the engine's lock, and a model that hangs keeps it. The thread
that waits is left behind then: what it was asked, and what waits behind it, is answered with
503, and another thread goes on. What the one that was left behind may still do when its call
returns is kept from the store by `fence`, and mended in the model by `heal`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from hardrank.serve.answers import Refused
from hardrank.serve.logs import tell
from hardrank.serve.worker import Worker

__all__ = ["Writer"]


class Writer:
    """For the event loop, but for `fence`, which the calls themselves ask."""

    def __init__(
        self, generation: Callable[[], int], heal: Callable[[], Callable[[], None]], seconds: float
    ) -> None:
        """generation: of the engine that is live. heal: brings the model to what the store
        holds as soon as it can, and gives what does so again for all since now. seconds: that
        a call may take."""
        self.worker = Worker("items")
        self._generation, self._heal, self._seconds = generation, heal, seconds
        self._hangs: int | None = None
        """The generation in which a call hangs."""

    def fence(self) -> None:
        """Raises `LeftBehind` for a call whose asker was told that it failed."""
        self.worker.fence()

    def enter(self) -> None:
        """Raises `Refused` while a call hangs in the live engine: the next would hang, too."""
        if self._hangs is not None and self._hangs == self._generation():
            raise _hangs()
        if not self.worker.alive:
            tell("writer-thread-died", level=logging.ERROR)
            self.worker.renew()

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._seconds / 4))
            if self.worker.busy > self._seconds:
                self._leave(self._generation())

    def swapped(self, patience: float) -> None:
        """Another engine is live: a call of more than `patience` seconds is in the old one."""
        if self.worker.busy > patience:
            self._leave(None)

    def _leave(self, generation: int | None) -> None:
        tell("writer-hangs", level=logging.ERROR)
        loop, again = asyncio.get_running_loop(), self._heal()
        self._hangs = generation

        def free() -> None:
            if self._hangs == generation:
                self._hangs = None
            again()

        def ended() -> None:
            with contextlib.suppress(RuntimeError):  # the service and its loop may be gone
                loop.call_soon_threadsafe(free)

        self.worker.renew(_hangs, ended)


def _hangs() -> Refused:
    return Refused(503, "the model does not answer; try again", Retry_After="5")
