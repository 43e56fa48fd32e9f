"""Fake users who are changed until they look otherwise, and how they fare behind a defence."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.profiles.caps import KnownCap, cut
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
    """Exposure on the surrogates trained with what a known cap leaves of those, times one plus
    the weighted mean of how far above the middle they rate the target; where that is equal,
    how many of them name it."""

    @property
    def unseen(self) -> Fakes:
        return tuple(
            f for f, passed in zip(self.fakes, self.passed.tolist(), strict=True) if passed
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """The log, the defence and the attacker's surrogates.

    A fake user without the target is a helper, and stays one whatever is changed about him.
    """

    view: LogView
    border: float
    stars: tuple[float, ...]
    """Ratings of the target, the best first; none where the log has no ratings."""
    weight: float
    jury: Jury
    cap: KnownCap | None = None
    """What a second defence does to those who pass the first."""
    seed: int = 0
    """Of the cap's lot, one for all that is tried."""

    def tried(self, fakes: Fakes) -> Try:
        assert self.view.detector is not None
        if not fakes:
            return Try(fakes=(), passed=np.zeros(0, dtype=np.bool_), worth=(0.0, 0))
        named = Patch(tuple(replace(f, user_id=f"new-{n}") for n, f in enumerate(fakes)))
        scores = np.asarray(self.view.detector(self.view.train.apply(named)), dtype=np.float64)
        passed = ~(np.nan_to_num(scores[-len(fakes) :], nan=-np.inf) > self.border)
        unseen = tuple(f for f, kept in zip(fakes, passed.tolist(), strict=True) if kept)
        left = self.cap.left(self.view, unseen, self.seed) if self.cap else unseen
        exposure = self.jury.exposure(self.selection(left)) if left else 0.0
        worth = exposure * (1 + self.weight * self._lift(left))
        names = sum(self.target in fake.item_ids for fake in left)
        return Try(fakes=fakes, passed=passed, worth=(worth, names))

    def _lift(self, fakes: Fakes) -> float:
        """1 where all rate the target best, 0 where they rate it no better than the middle."""
        given = [star for f in fakes if (star := self.given(f)) is not None]
        if len(self.stars) < 2 or not given:
            return 0.0
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

    @property
    def target(self) -> str:
        named: str = self.view.items["item_id"][int(self.view.targets[0])]
        return named

    def fillers(self, fake: AddProfile) -> NDArray[np.int64]:
        """Where all else than the target stands."""
        return np.flatnonzero([item != self.target for item in fake.item_ids])

    def given(self, fake: AddProfile) -> float | None:
        """The target's rating; None for a helper, and where nobody rates."""
        if fake.ratings is None or self.target not in fake.item_ids:
            return None
        return fake.ratings[fake.item_ids.index(self.target)]

    def praised(self, fakes: Fakes, steps: float) -> Fakes:
        """The target rated so many steps lower, on average, but no lower than the middle."""
        if not self.stars:
            return fakes
        apart = self.stars[0] - self.stars[min(1, len(self.stars) - 1)]
        out, named = [], 0
        for fake in fakes:
            if (given := self.given(fake)) is not None:
                below = int((named + 1) * steps + 1e-9) - int(named * steps + 1e-9)
                lower = max(round(given - below * apart, 4), self.stars[-1])
                fake, named = self._starred(fake, min(given, lower)), named + 1
            out.append(fake)
        return tuple(out)

    def disguised(
        self, fake: AddProfile, donors: Fakes, slope: Doubles, rng: np.random.Generator
    ) -> AddProfile:
        """One of the ways to look otherwise, drawn at random."""
        way = rng.integers(4)
        if way == 0 and self.given(fake) is not None:
            return self._starred(fake, float(rng.choice(self.stars)))
        if way == 1 and self.view.window is not None:
            times = timed(self.view, len(fake.item_ids), rng)
            return replace(fake, times=None if times is None else tuple(times.tolist()))
        if way == 2 and donors:
            return self._crossed(fake, donors[int(rng.integers(len(donors)))], rng)
        return self._shortened(fake, slope, rng)

    def _shortened(self, fake: AddProfile, slope: Doubles, rng: np.random.Generator) -> AddProfile:
        """Without some fillers, any of them; a helper keeps those that serve best, with some
        chance in it, as they are all that he is for."""
        own = self.fillers(fake)
        size = round(float(rng.uniform(_LEAST, 1)) * own.size)
        if own.size < len(fake.item_ids):
            there = fake.item_ids.index(self.target)
            return cut(fake, np.append(rng.permutation(own)[:size], there))
        serves = _noisy(slope, rng)[self._rows(fake)]
        return cut(fake, np.argsort(serves, kind="stable")[: max(size, 1)])

    def exchanged(
        self, fake: AddProfile, slope: Doubles, share: float, rng: np.random.Generator
    ) -> AddProfile:
        """The fillers that serve least for those that would serve best, with some chance in
        it, so that what fails once is not tried again; each in its predecessor's place."""
        rows, own, noisy = self._rows(fake), self.fillers(fake), _noisy(slope, rng)
        many = max(1, round(share * own.size))
        out = own[np.argsort(-noisy[rows[own]], kind="stable")][:many]
        noisy[rows], noisy[self.view.targets] = np.inf, np.inf
        free = int(np.isfinite(noisy).sum())
        better = np.argsort(noisy, kind="stable")[: min(out.size, free)]
        return self._placed(fake, out[: better.size], better, rng)

    def _crossed(self, fake: AddProfile, donor: AddProfile, rng: np.random.Generator) -> AddProfile:
        """Half of the fillers for some of another's."""
        fresh = [i for i in donor.item_ids if i not in {*fake.item_ids, self.target}]
        own = self.fillers(fake)
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

    def _rows(self, fake: AddProfile) -> NDArray[np.int64]:
        return np.asarray([self.view.train.item_rows[i] for i in fake.item_ids], dtype=np.int64)

    def _starred(self, fake: AddProfile, star: float) -> AddProfile:
        ratings = list(fake.ratings or ())
        ratings[fake.item_ids.index(self.target)] = star
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


def _noisy(slope: Doubles, rng: np.random.Generator) -> Doubles:
    return np.asarray(slope + slope.std() * 0.25 * rng.standard_normal(slope.size))
