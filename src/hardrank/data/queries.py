"""Histories in CSR form, and held-out events to be ranked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hardrank.files import digest_bytes
from hardrank.types import Ints

__all__ = ["Holdout", "Queries", "Slate"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Queries:
    """Q requests for a ranking. Query q has the history `items[offsets[q]:offsets[q+1]]`, and
    may say in words what is wanted.

    Histories are oldest first and whole; a model cuts them to the length it reads. The
    items of a query's own history are its *seen* items: `top` never returns them.
    """

    offsets: Ints
    """(Q + 1,), starts at 0, never falls."""
    items: Ints
    """(sum of lengths,), item rows."""
    users: Ints
    """(Q,), user rows; -1 where the query is nobody's in the dataset."""
    texts: tuple[str, ...] | None = None
    """(Q,) what each asks for in words; None where nobody asked anything."""

    @classmethod
    def of(
        cls,
        histories: Sequence[Sequence[int]],
        users: Sequence[int] | None = None,
        texts: Sequence[str] | None = None,
    ) -> "Queries":
        lengths = [len(h) for h in histories]
        return cls(
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            items=np.asarray([i for h in histories for i in h], dtype=np.int64),
            users=np.full(len(histories), -1) if users is None else np.asarray(users, np.int64),
            texts=None if texts is None else tuple(texts),
        )

    def __len__(self) -> int:
        return len(self.users)

    def history(self, q: int) -> Ints:
        return self.items[self.offsets[q] : self.offsets[q + 1]]

    @cached_property
    def lengths(self) -> Ints:
        return np.diff(self.offsets)

    @cached_property
    def owners(self) -> Ints:
        """(sum of lengths,): which query each entry of `items` belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: Ints) -> "Queries":
        """The queries at `rows`, in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        flat = np.repeat(self.offsets[rows], lengths) + within
        texts = None if self.texts is None else tuple(self.texts[r] for r in rows.tolist())
        return Queries(offsets=offsets, items=self.items[flat], users=self.users[rows], texts=texts)

    def padded(self, length: int, pad: int) -> Ints:
        """(Q, length): the last `length` items of each history, oldest first, padded right."""
        kept = np.minimum(self.lengths, length)
        columns = np.arange(length)
        inside = columns < kept[:, None]
        source = (self.offsets[1:] - kept)[:, None] + columns
        out = np.full((len(self), length), pad, dtype=np.int64)
        out[inside] = self.items[source[inside]]
        return out

    @cached_property
    def fingerprint(self) -> str:
        asked = () if self.texts is None else ("\x1f".join(self.texts).encode(),)
        return digest_bytes(
            self.offsets.tobytes(), self.items.tobytes(), self.users.tobytes(), *asked
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Slate:
    """I candidates scored together. With `texts`, candidate i is item `items[i]` as it would
    be if its `field` read `texts[i]`; the same item may stand there many times."""

    items: Ints
    texts: tuple[str, ...] | None = None
    field: str = "title"

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, eq=False, kw_only=True)
class Holdout:
    """Held-out next events: query q should rank item `targets[q]` high."""

    queries: Queries
    targets: Ints
    """(Q,), item rows."""

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def fingerprint(self) -> str:
        return digest_bytes(self.queries.fingerprint.encode(), self.targets.tobytes())

    def take(self, rows: Ints) -> "Holdout":
        return Holdout(queries=self.queries.take(rows), targets=self.targets[rows])
