"""Progress bars with rate and time left; plain lines when the output is no terminal."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

__all__ = ["bar"]

T = TypeVar("T")
_EVERY = 15.0
"""Seconds between two plain lines."""


def bar(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Iterate over `items`, showing how far, how fast and how much longer, on stderr."""
    total = total if total is not None or not isinstance(items, Sized) else len(items)
    if sys.stderr.isatty():
        yield from _rich(items, what, total)
    else:
        yield from _plain(items, what, total)


def _rich(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, rate="")
        for done, item in enumerate(items, 1):
            yield item
            rate = done / max(time.monotonic() - start, 1e-9)
            progress.update(task, advance=1, rate=f"{rate:.1f}/s")


def _plain(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= _EVERY:
            last = now
            rate = done / (now - start)
            left = f", {(total - done) / rate:.0f} s left" if total else ""
            print(f"{what}: {done}/{total or '?'}, {rate:.1f}/s{left}", file=sys.stderr, flush=True)
