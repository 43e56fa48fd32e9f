"""One thread that works through what it is given, and can be replaced when it is stuck or dead.

`ThreadPoolExecutor(1)` waits at the end of the process for a call that never returns, and a
thread of it that was killed is never replaced.
"""

import contextlib
import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from typing import Any, ParamSpec, TypeVar

__all__ = ["LeftBehind", "Worker", "WorkerDied"]

P = ParamSpec("P")
T = TypeVar("T")
_Task = tuple[Future[Any], Callable[[], Any]]


class WorkerDied(RuntimeError):
    """The call tried to end the thread (`SystemExit` and the like)."""


class LeftBehind(RuntimeError):
    """The call took too long: who asked was told so, and another thread took over."""


class Worker(Executor):
    """Calls run one after another, on a daemon thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._since: float | None = None
        self._closed, self._gate, self._turn = False, threading.Lock(), 0
        self._present: Future[Any] | None = None
        self._left = weakref.WeakSet[threading.Thread]()
        self._ended: dict[int, Callable[[], None]] = {}
        self._thread = self._begin()

    @property
    def busy(self) -> float:
        """Seconds that the present call has taken; 0 where there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Raises `RuntimeError` after `shutdown`."""
        if self._closed:
            raise RuntimeError("this worker was shut down")
        future: Future[T] = Future()
        self._tasks.put((future, lambda: fn(*args, **kwargs)))
        return future

    def renew(
        self,
        error: Callable[[], Exception] | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        """Another thread takes over; the stuck one ends when its call returns, if ever. error:
        what the present call and those that wait raise; None: they go on. ended: called by the
        stuck thread at its end."""
        with self._gate:
            if self._closed:
                return
            failed = [] if error is None else self._drop()
            self._left.add(self._thread)
            if ended is not None:
                self._ended[self._turn] = ended
            self._present = self._since = None
            self._thread = self._begin()
        for future in failed:
            with contextlib.suppress(InvalidStateError):  # it ended in this moment
                future.set_exception(error() if error else LeftBehind())

    def fence(self) -> None:
        """Raises `LeftBehind` in a call that another thread was put in the place of."""
        if threading.current_thread() in self._left:
            raise LeftBehind("another thread took over")

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False, timeout: float | None = None
    ) -> None:
        """timeout: seconds to wait for what was begun; None waits for ever."""
        with self._gate:
            self._closed = True
        if cancel_futures:
            with contextlib.suppress(queue.Empty):
                while task := self._tasks.get_nowait():
                    task[0].cancel()
        self._tasks.put(None)
        if wait:
            self._thread.join(timeout)

    def _drop(self) -> list[Future[Any]]:
        """The present call, and those that wait: they will not be made."""
        dropped = [] if self._present is None else [self._present]
        with contextlib.suppress(queue.Empty):
            while task := self._tasks.get_nowait():
                dropped.append(task[0])
        return dropped

    def _begin(self) -> threading.Thread:
        self._turn += 1
        thread = threading.Thread(
            target=self._work, args=(self._turn,), name=self._name, daemon=True
        )
        thread.start()
        return thread

    def _work(self, turn: int) -> None:
        while True:
            task = self._tasks.get()
            if turn != self._turn:  # another thread took over while this one had nothing to do
                self._tasks.put(task)
                break
            if task is None:
                return
            future, call = task
            if not future.set_running_or_notify_cancel():
                continue
            self._present, self._since = future, time.monotonic()
            with contextlib.suppress(InvalidStateError):  # who asked was told that it failed
                _make(future, call)
            if turn != self._turn:
                break
            self._present = self._since = None
        self._ended.pop(turn, lambda: None)()


def _make(future: Future[Any], call: Callable[[], Any]) -> None:
    try:
        result = call()
    except Exception as error:
        future.set_exception(error)
    except BaseException as error:  # must reach neither the event loop nor this thread
        future.set_exception(WorkerDied(type(error).__name__))
    else:
        future.set_result(result)
