"""What BPR learns from: a user, an item of theirs, and one that is not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardrank.data import Dataset
from hardrank.types import Ints

__all__ = ["BprBatch", "Candidates", "PairScores", "Triples", "hardest"]

_TRIES = 20
"""Blind draws of the other item before the user's own list of others is made."""

PairScores = Callable[[Tensor, Tensor], Tensor]
"""(B,) user rows, (B, M) item rows -> (B, M) scores of the model as it stands, no gradient."""


class Candidates(Protocol):
    """Where the other items come from."""

    def __call__(self, users: Ints, rng: np.random.Generator) -> Ints:
        """(N,) user rows -> (N, M) item rows, M >= 1, none of them the user's own."""
        ...


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

    def batches(
        self,
        size: int,
        rng: np.random.Generator,
        *,
        candidates: Candidates | None = None,
        scores: PairScores | None = None,
    ) -> Iterator[BprBatch]:
        """One epoch in random order, each event once against another item.

        candidates: whence the other items, by default one uniform item for each event; all
        are drawn when the epoch begins. Of several the one counts that `scores` puts highest
        when its batch is made.
        """
        order = rng.permutation(len(self))
        users, liked = (part[order] for part in self.events)
        drawn = self.others(users, rng)[:, None] if candidates is None else candidates(users, rng)
        for start in range(0, len(order), size):
            cut = slice(start, start + size)
            batch = [torch.from_numpy(part[cut]) for part in (users, liked, drawn)]
            yield BprBatch(batch[0], batch[1], hardest(batch[0], batch[2], scores))

    def others(
        self, users: Ints, rng: np.random.Generator, odds: NDArray[np.float64] | None = None
    ) -> Ints:
        """(N,) for each user an item uniform among those that are not the user's.

        odds: (I,) >= 0, to draw by these instead; where all that a user lacks have odds 0,
        uniform among them.
        """
        items = self.data.n_items
        draw = _by(odds, rng) if odds is not None else _alike(items, rng)
        other = draw(len(users))
        wrong = np.flatnonzero(self.has(users, other))
        for _ in range(_TRIES):
            if not len(wrong):
                return other
            other[wrong] = draw(len(wrong))
            wrong = wrong[self.has(users[wrong], other[wrong])]
        for user in np.unique(users[wrong]):
            rows = wrong[users[wrong] == user]
            left = np.flatnonzero(~self.has(user, np.arange(items)))
            share = odds[left] if odds is not None and odds[left].any() else None
            p = share / share.sum() if share is not None else None
            other[rows] = rng.choice(left, size=len(rows), p=p)
        return other

    def has(self, users: Ints | int, items: Ints) -> NDArray[np.bool_]:
        """(N,) True where the item is one of the user's."""
        keys = users * self.data.n_items + items
        at = np.minimum(np.searchsorted(self.taken, keys), len(self.taken) - 1)
        return np.asarray(self.taken[at] == keys)


def hardest(users: Tensor, drawn: Tensor, scores: PairScores | None) -> Tensor:
    """(B,) of each row of `drawn`, (B, M), the item that scores highest; ties to the first."""
    if drawn.shape[1] == 1:
        return drawn[:, 0]
    assert scores is not None, "several candidates and nothing to choose by"
    return drawn.gather(1, scores(users, drawn).argmax(1, keepdim=True))[:, 0]


def _alike(items: int, rng: np.random.Generator) -> Callable[[int], Ints]:
    def draw(count: int) -> Ints:
        found: Ints = rng.integers(items, size=count)
        return found

    return draw


def _by(odds: NDArray[np.float64], rng: np.random.Generator) -> Callable[[int], Ints]:
    sums, last = np.cumsum(odds), int(np.flatnonzero(odds)[-1])

    def draw(count: int) -> Ints:
        found = np.searchsorted(sums, rng.random(count) * sums[-1], side="right")
        return np.asarray(np.minimum(found, last), dtype=np.int64)

    return draw
