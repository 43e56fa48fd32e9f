"""What BPR learns from: a user, an item of theirs, and one that is not."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardrank.data import Dataset
from hardrank.types import Ints

__all__ = ["BprBatch", "Triples"]

_TRIES = 20
"""Blind draws of the other item before the user's own list of others is made."""


@dataclass(frozen=True, eq=False)
class BprBatch:
    """B comparisons."""

    users: Tensor
    """(B,) user rows."""
    liked: Tensor
    """(B,) item rows, items of the user."""
    other: Tensor
    """(B,) item rows, none of the user's."""


@dataclass(frozen=True, eq=False)
class Triples:
    """The events of a training set. A user who has the whole catalogue teaches nothing: those
    events are left out."""

    data: Dataset

    @cached_property
    def taken(self) -> Ints:
        """Sorted keys user * I + item of all pairs that are events."""
        users = self.data.events["user"].to_numpy().astype(np.int64)
        return np.unique(users * self.data.n_items + self.data.event_items)

    @cached_property
    def events(self) -> tuple[Ints, Ints]:
        """(user rows, item rows), one each an event that can be compared with something."""
        users = self.data.events["user"].to_numpy().astype(np.int64)
        have = np.bincount(self.taken // self.data.n_items, minlength=self.data.n_users)
        lacks = (have < self.data.n_items)[users]
        return users[lacks], self.data.event_items[lacks]

    def __len__(self) -> int:
        return len(self.events[0])

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[BprBatch]:
        """One epoch in random order, each event once against a uniform other item."""
        order = rng.permutation(len(self))
        users, liked = (part[order] for part in self.events)
        other = self.others(users, rng)
        for start in range(0, len(order), size):
            cut = slice(start, start + size)
            yield BprBatch(*(torch.from_numpy(part[cut]) for part in (users, liked, other)))

    def others(self, users: Ints, rng: np.random.Generator) -> Ints:
        """(N,) for each user an item uniform among those that are not the user's."""
        items = self.data.n_items
        other = rng.integers(items, size=len(users))
        wrong = np.flatnonzero(self._has(users * items + other))
        for _ in range(_TRIES):
            if not len(wrong):
                return other
            other[wrong] = rng.integers(items, size=len(wrong))
            wrong = wrong[self._has(users[wrong] * items + other[wrong])]
        for user in np.unique(users[wrong]):
            rows = wrong[users[wrong] == user]
            everything = np.arange(user * items, (user + 1) * items)
            left = everything[~self._has(everything)] - user * items
            other[rows] = rng.choice(left, size=len(rows))
        return other

    def _has(self, keys: Ints) -> NDArray[np.bool_]:
        at = np.minimum(np.searchsorted(self.taken, keys), len(self.taken) - 1)
        return np.asarray(self.taken[at] == keys)
