"""Time that goes on evenly while a process runs, whatever is done to the machine's clock."""

import time
from collections.abc import Callable

__all__ = ["SteadyClock"]


class SteadyClock:
    """Unix seconds of the start plus the seconds since: a wall clock that jumps back an hour or
    ahead a year changes nothing until the next start."""

    def __init__(
        self, wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._monotonic, self._begun = monotonic, monotonic()
        self._wall = wall()

    def __call__(self) -> float:
        """Unix seconds."""
        return self._wall + self.elapsed()

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._monotonic() - self._begun
