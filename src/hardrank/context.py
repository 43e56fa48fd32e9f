"""Circumstance: where a run writes, from which seed, on what device, and what it shows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from hardrank.files import digest_bytes

__all__ = ["RunContext", "derive"]

T = TypeVar("T")


def derive(seed: int, *names: str | int) -> int:
    """A seed of its own for each named part of a run, in [0, 2**63).

    Independent of order and of how much randomness other parts drew, so that adding a
    part changes no other part's numbers, and a resumed step draws what it drew before.
    """
    text = "\x1f".join(str(n) for n in (seed, *names))
    return int(digest_bytes(text.encode())[:16], 16) >> 1


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Never part of a spec: two runs that differ only here should give the same model."""

    seed: int = 0
    folder: Path | None = None
    """Where checkpoints and logs go; None keeps nothing."""
    device: str = "cpu"
    cache: Path | None = None
    """Folder of encoded texts; None for the user's cache folder (`HARDRANK_CACHE`)."""
    progress: bool = False
    """Show progress bars."""

    def at(self, *names: str) -> "RunContext":
        """The same circumstance one folder further down."""
        return self if self.folder is None else replace(self, folder=self.folder.joinpath(*names))

    def seeded(self, seed: int) -> "RunContext":
        return replace(self, seed=seed)

    def track(self, items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
        """Iterate with a progress bar that shows rate and time left (if `progress`)."""
        if not self.progress:
            yield from items
            return
        from hardrank.progress import bar

        yield from bar(items, what, total)
