"""A store that is away: who waits for it, and who goes on at once."""

import time
from collections.abc import Callable

from hardrank.serve.errors import StoreUnavailable

__all__ = ["Away"]


class Away:
    """What calls of the store told last. For the event loop alone.

    Every call of a store that is away takes its whole patience; if all requests waited so,
    a line would form that no recovery clears. So those that can do without an answer are told
    no for a moment after each that failed, and those that cannot stand in a short line.
    """

    def __init__(self, pause: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """pause: seconds between two who look whether it is back."""
        self._pause, self._clock = pause, clock
        self._away, self._until = False, 0.0

    def look(self) -> None:
        """For who can do without. Raises `StoreUnavailable` a moment after a failure."""
        if not self._away:
            return
        now = self._clock()
        if now < self._until:
            raise StoreUnavailable("the store was away a moment ago")
        self._until = now + self._pause  # this one looks, the others go on

    def stand(self, waiting: int, most: int) -> None:
        """For who cannot. Raises `StoreUnavailable` where it is away and `most` wait already."""
        if self._away and waiting >= most:
            raise StoreUnavailable("the store is away, and others wait for it already")

    def went(self) -> None:
        self._away, self._until = True, self._clock() + self._pause

    def came(self) -> None:
        self._away = False
