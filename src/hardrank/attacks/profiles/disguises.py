"""Fake users who are changed until they look otherwise, and how they fare behind a defence."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.profiles.parts import extremes, rated, step, timed
from hardrank.attacks.profiles.selection import Jury
from hardrank.data import AddProfile, Patch
from hardrank.threats import Demote, Promote
from hardrank.threats.log import LogView

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Fakes", "Scene", "Try", "fakes_of", "stars_of"]

Doubles = NDArray[np.float64]
Fakes = tuple[AddProfile, ...]
_LEAST = 0.3
"""Share of a profile's fillers that stay when it is shortened."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Try:
    """Fake users, and how they fare once the defence has been played through."""

    fakes: Fakes
    passed: NDArray[np.bool_]
    """(P,) who is not flagged."""
    worth: tuple[float, int]
    """Exposure on the surrogates trained with those alone, times one plus the weighted mean
    of how far above the middle they rate the target; where that is equal, how many they are."""

    @property
    def unseen(self) -> Fakes:
        return tuple(
            f for f, passed in zip(self.fakes, self.passed.tolist(), strict=True) if passed
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """The log, the defence and the attacker's surrogates."""

    view: LogView
    border: float
    stars: tuple[float, ...]
    """Ratings of the target, the best first; none where the log has no ratings."""
    weight: float
    jury: Jury

    def tried(self, fakes: Fakes) -> Try:
        assert self.view.detector is not None
        if not fakes:
            return Try(fakes=(), passed=np.zeros(0, dtype=np.bool_), worth=(0.0, 0))
        named = Patch(tuple(replace(f, user_id=f"new-{n}") for n, f in enumerate(fakes)))
        scores = np.asarray(self.view.detector(self.view.train.apply(named)), dtype=np.float64)
        passed = ~(np.nan_to_num(scores[-len(fakes) :], nan=-np.inf) > self.border)
        unseen = tuple(f for f, kept in zip(fakes, passed.tolist(), strict=True) if kept)
        exposure = self.jury.exposure(self.selection(unseen)) if unseen else 0.0
        worth = exposure * (1 + self.weight * self._lift(unseen))
        return Try(fakes=fakes, passed=passed, worth=(worth, len(unseen)))

    def _lift(self, fakes: Fakes) -> float:
        """1 where all rate the target best, 0 where they rate it no better than the middle."""
        if len(self.stars) < 2 or not fakes:
            return 0.0
        given = [f.ratings[self.place(f)] for f in fakes if f.ratings]
        best, middle = self.stars[0], self.stars[-1]
        return max(0.0, (float(np.mean(given)) - middle) / (best - middle))

    def selection(self, fakes: Fakes) -> "Tensor":
        """(P, I) of 0 and 1."""
        import torch

        out = torch.zeros((len(fakes), self.view.items.height))
        for p, fake in enumerate(fakes):
            out[p, [self.view.train.item_rows[i] for i in fake.item_ids]] = 1.0
        return out

    def slope(self, fakes: Fakes) -> Doubles:
        """(P, I) how much the surrogates' loss grows with each event."""
        return np.asarray(self.jury.slope(self.selection(fakes))[1].numpy(), dtype=np.float64)

    def place(self, fake: AddProfile) -> int:
        """Where the target stands."""
        target: str = self.view.items["item_id"][int(self.view.targets[0])]
        return fake.item_ids.index(target)

    def praised(self, fakes: Fakes, steps: float) -> Fakes:
        """The target rated so many steps below the best rating, on average."""
        if not self.stars:
            return fakes
        below = np.diff(np.floor(np.arange(len(fakes) + 1) * steps + 1e-9)).astype(np.int64)
        stars = [self.stars[min(n, len(self.stars) - 1)] for n in below.tolist()]
        return tuple(self._starred(f, star) for f, star in zip(fakes, stars, strict=True))

    def disguised(self, fake: AddProfile, donors: Fakes, rng: np.random.Generator) -> AddProfile:
        """One of the ways to look otherwise, drawn at random."""
        way = rng.integers(4)
        if way == 0 and self.stars:
            return self._starred(fake, float(rng.choice(self.stars)))
        if way == 1 and self.view.window is not None:
            times = timed(self.view, len(fake.item_ids), rng)
            return replace(fake, times=None if times is None else tuple(times.tolist()))
        if way == 2 and donors:
            return self._crossed(fake, donors[int(rng.integers(len(donors)))], rng)
        fillers = np.delete(np.arange(len(fake.item_ids)), self.place(fake))
        size = round(float(rng.uniform(_LEAST, 1)) * fillers.size)
        return _cut(fake, np.append(rng.permutation(fillers)[:size], self.place(fake)))

    def exchanged(
        self, fake: AddProfile, slope: Doubles, share: float, rng: np.random.Generator
    ) -> AddProfile:
        """The fillers that serve least for those that would serve best, with some chance in
        it, so that what fails once is not tried again; each in its predecessor's place."""
        rows = np.asarray([self.view.train.item_rows[i] for i in fake.item_ids], dtype=np.int64)
        noisy = slope + slope.std() * 0.25 * rng.standard_normal(slope.size)
        own = np.delete(np.arange(rows.size), self.place(fake))
        many = max(1, round(share * own.size))
        out = own[np.argsort(-noisy[rows[own]], kind="stable")][:many]
        noisy[rows] = np.inf
        better = np.argsort(noisy, kind="stable")[: min(out.size, slope.size - rows.size)]
        return self._placed(fake, out[: better.size], better, rng)

    def _crossed(self, fake: AddProfile, donor: AddProfile, rng: np.random.Generator) -> AddProfile:
        """Half of the fillers for some of another's."""
        fresh = [i for i in donor.item_ids if i not in set(fake.item_ids)]
        own = np.delete(np.arange(len(fake.item_ids)), self.place(fake))
        out = rng.permutation(own)[: min(own.size // 2, len(fresh))]
        chosen = rng.permutation(len(fresh))[: out.size]
        rows = [self.view.train.item_rows[fresh[n]] for n in chosen.tolist()]
        return self._placed(fake, out, np.asarray(rows, dtype=np.int64), rng)

    def _placed(
        self, fake: AddProfile, at: NDArray[np.int64], rows: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> AddProfile:  # fmt: skip
        """Those items in those places, rated as each item is."""
        items, ratings = list(fake.item_ids), list(fake.ratings or ())
        names, given = self.view.items["item_id"], rated(self.view, rows, rng, by_item=True)
        for place, row, rating in zip(at.tolist(), rows.tolist(), given.tolist(), strict=True):
            items[place] = names[row]
            if ratings:
                ratings[place] = round(rating, 4)
        return replace(fake, item_ids=tuple(items), ratings=tuple(ratings) or None)

    def _starred(self, fake: AddProfile, star: float) -> AddProfile:
        ratings = list(fake.ratings or ())
        ratings[self.place(fake)] = star
        return replace(fake, ratings=tuple(ratings))


def stars_of(view: LogView, goal: Promote | Demote) -> tuple[float, ...]:
    """From the best rating down to the middle of the scale."""
    if view.scale is None:
        return ()
    best, worst = extremes(view, goal)
    apart = step(view) or abs(best - worst) / 10
    many = int(abs(best - worst) / 2 / apart + 1e-9) + 1 if best != worst else 1
    return tuple(round(best + n * apart * float(np.sign(worst - best)), 4) for n in range(many))


def fakes_of(patch: Patch) -> Fakes:
    return tuple(edit for edit in patch.edits if isinstance(edit, AddProfile))


def _cut(fake: AddProfile, kept: NDArray[np.int64]) -> AddProfile:
    """Those events alone, in their order."""
    at = np.sort(kept).tolist()
    return replace(
        fake,
        item_ids=tuple(fake.item_ids[n] for n in at),
        ratings=None if fake.ratings is None else tuple(fake.ratings[n] for n in at),
        times=None if fake.times is None else tuple(fake.times[n] for n in at),
    )
