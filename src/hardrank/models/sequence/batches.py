"""Training windows and batches of about equal work."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hardrank.data import Queries
from hardrank.types import Ints

__all__ = ["SequenceBatch", "Windows"]


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """B windows padded on the right to the longest."""

    inputs: Tensor
    """(B, L) item rows; padding holds row 0 and is not `real`."""
    targets: Tensor
    """(N,) the next item at each real position, N = real.sum()."""
    real: Tensor
    """(B, L) True where an item stands."""
    users: Tensor | None = None
    """(N,) row of the user whose history each target is in."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Every event of every history that has a predecessor, as a target exactly once.

    A history longer than `length` + 1 becomes several windows that share one item. A prefix
    is not a row of its own: one pass of a window trains all its positions.
    """

    queries: Queries
    length: int

    def __post_init__(self) -> None:
        starts, ends, users = [], [], []
        bounds = (self.queries.users, self.queries.offsets[:-1], self.queries.offsets[1:])
        for user, start, end in zip(*bounds, strict=True):
            # Cut from the newest end, so that the newest window is full.
            while end - start >= 2:
                first = max(start, end - self.length - 1)
                starts.append(first)
                ends.append(end)
                users.append(user)
                end = first + 1
        object.__setattr__(self, "starts", np.asarray(starts, dtype=np.int64))
        object.__setattr__(self, "ends", np.asarray(ends, dtype=np.int64))
        object.__setattr__(self, "users", np.asarray(users, dtype=np.int64))

    starts: Ints = None  # type: ignore[assignment]
    ends: Ints = None  # type: ignore[assignment]
    users: Ints = None  # type: ignore[assignment]

    @property
    def positions(self) -> int:
        """Next-item predictions in one epoch."""
        return int((self.ends - self.starts - 1).sum())

    def batches(self, positions: int, rng: np.random.Generator) -> Iterator[SequenceBatch]:
        """One epoch in random order; each batch has at most about `positions` targets.

        Windows of like length go together (within a random pool of 64 batches), so little is
        spent on padding, and batches come in random order, so lengths do not come sorted.
        """
        lengths = self.ends - self.starts - 1
        order = rng.permutation(len(lengths))
        pool = max(1, 64 * positions // max(int(lengths.mean()), 1)) if len(lengths) else 1
        groups: list[Ints] = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            part = part[np.argsort(lengths[part], kind="stable")]
            cuts = np.cumsum(lengths[part]) // positions
            groups += np.split(part, np.flatnonzero(np.diff(cuts)) + 1)
        for group in rng.permutation(len(groups)):
            yield self._batch(groups[group])

    def _batch(self, rows: Ints) -> SequenceBatch:
        lengths = self.ends[rows] - self.starts[rows] - 1
        columns = np.arange(int(lengths.max()))
        real = columns < lengths[:, None]
        source = np.where(real, self.starts[rows, None] + columns, 0)
        inputs = np.where(real, self.queries.items[source], 0)
        targets = self.queries.items[source[real] + 1]
        users = np.repeat(self.users[rows], lengths)
        return SequenceBatch(*(torch.from_numpy(a) for a in (inputs, targets, real, users)))
