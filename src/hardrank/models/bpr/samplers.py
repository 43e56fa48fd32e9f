"""How the other item of a comparison is drawn; each a `Candidates`."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hardrank.generators.augment import Proposer
from hardrank.models.bpr.triples import Candidates, Triples
from hardrank.types import Ints, Share

__all__ = ["Mixed", "Popular", "Proposals", "Uniform"]

_CHUNK = 512
"""Users whose proposals are held at a time, before they are cut."""


@dataclass(frozen=True, eq=False)
class Uniform:
    triples: Triples
    many: int = 1
    """Candidates of each comparison; they may repeat."""

    def __call__(self, users: Ints, rng: np.random.Generator) -> Ints:
        return self.triples.others(np.repeat(users, self.many), rng).reshape(-1, self.many)


@dataclass(frozen=True, eq=False)
class Popular:
    triples: Triples
    odds: NDArray[np.float64]
    """(I,) >= 0, not all 0."""

    def __call__(self, users: Ints, rng: np.random.Generator) -> Ints:
        return self.triples.others(users, rng, self.odds)[:, None]


@dataclass(frozen=True, eq=False)
class Mixed:
    """A share of comparisons, drawn by lot, from `special`; the others uniform."""

    triples: Triples
    special: Candidates
    share: Share

    def __call__(self, users: Ints, rng: np.random.Generator) -> Ints:
        drawn = self.triples.others(users, rng)[:, None]
        chosen = rng.random(len(users)) < self.share
        drawn[chosen] = self.special(users[chosen], rng)
        return drawn


@dataclass(frozen=True, eq=False, kw_only=True)
class Proposals:
    """Some items for each user; those of user u are `items[offsets[u]:offsets[u + 1]]`."""

    triples: Triples
    offsets: Ints
    """(U + 1,)"""
    items: Ints
    """None of the user's own, best first."""
    temperature: float

    @classmethod
    def of(
        cls,
        triples: Triples,
        proposer: Proposer,
        rng: np.random.Generator,
        *,
        most: int,
        temperature: float = 1.0,
    ) -> Self:
        """At most `most` for each user who has a training event and lacks an item."""
        users = np.unique(triples.events[0])
        histories = triples.data.histories()
        found: list[Ints] = [np.zeros(0, dtype=np.int64)] * triples.data.n_users
        by_length = users[np.argsort(histories.lengths[users], kind="stable")]
        for start in range(0, len(users), _CHUNK):
            part = by_length[start : start + _CHUNK]
            conditions = histories.take(part)
            wanted = min(most + int(conditions.lengths.max()), triples.data.n_items)
            made = proposer.sample(conditions, rng, length=wanted)
            for user, items in zip(part.tolist(), made, strict=True):
                found[user] = items[~triples.has(user, items)][:most]
        ends = np.cumsum([len(items) for items in found])
        offsets = np.concatenate([[0], ends]).astype(np.int64)
        flat = np.concatenate(found).astype(np.int64)
        return cls(triples=triples, offsets=offsets, items=flat, temperature=temperature)

    def __call__(self, users: Ints, rng: np.random.Generator) -> Ints:
        """A user without proposals gets a uniform item."""
        sizes = self.offsets[users + 1] - self.offsets[users]
        at = np.floor(sizes * _place(rng.random(len(users)), self.temperature)).astype(np.int64)
        drawn = np.empty(len(users), dtype=np.int64)
        some = sizes > 0
        rows = self.offsets[users] + np.minimum(at, sizes - 1)
        drawn[some] = self.items[rows[some]]
        drawn[~some] = self.triples.others(users[~some], rng)
        return drawn[:, None]


def _place(uniform: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """In [0, 1) with density ~ exp(-x / temperature): the inverse of its distribution."""
    whole = np.expm1(-1.0 / temperature)
    return np.asarray(-temperature * np.log1p(uniform * whole))
