"""Many profiles of one or several generators, of which no two are nearly the same."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hardrank.data import Dataset, Queries
from hardrank.errors import DataError
from hardrank.generators.near import Index, duplicate_share
from hardrank.types import Count, Ints, Share

__all__ = ["Draws", "MassReport", "MassSample", "mass_sample"]

_ROUND = 1000
"""Draws of all generators between two looks at what is still wanted, at most."""
_DRY = 0.01
"""Share of a round that has to be new, or the generators are exhausted."""
_GROUPS = 10
_SHARES: tuple[Share | None, ...] = (None,)


class Draws(Protocol):
    """A trained generator of profiles."""

    def sample(
        self, conditions: Queries, rng: np.random.Generator, *, length: int | None = None,
        keep: Share | None = None,
    ) -> list[Ints]: ...  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MassReport:
    """What came of it."""

    kept: int
    """Distinct valid profiles."""
    drawn: int
    """Profiles drawn for them."""
    invalid: int
    """Drawn ones with an unknown or a repeated item, or of a length out of range."""
    near: int
    """Valid ones left out: too like one that was kept."""
    duplicate_rate: Share
    """Share of the kept that have another as like, by exact comparison of `checked` of them with
    all; what the index let through."""
    checked: int
    coverage: Share
    """Share of the catalogue's items that occur in a kept profile."""
    groups: tuple[Share, ...]
    """The same within ten groups of items by popularity, the most popular first."""
    real_groups: tuple[Share, ...]
    """Share of the items of each group that a real user has: no generator that follows the log
    covers more."""
    by_generator: tuple[int, ...]
    """Kept profiles of each generator."""
    stopped: str
    """`reached`, or what is missing and why there was no more drawing."""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, eq=False, kw_only=True)
class MassSample:
    """Profiles, and how they were come by."""

    profiles: tuple[Ints, ...]
    """Item rows of each, in the order of the draw."""
    owners: tuple[int, ...]
    """Which generator drew each."""
    report: MassReport


def mass_sample(
    generators: Sequence[Draws], train: Dataset, rng: np.random.Generator, *,
    wanted: Count = 10_000, similarity: Share = 0.8, coverage: Share = 0.0,
    length: Count | None = None, shortest: Count = 1, longest: Count | None = None,
    keeps: Sequence[Share | None] = _SHARES, most: Count | None = None,
) -> MassSample:  # fmt: skip
    """Draw until `wanted` distinct profiles are kept and they hold the share `coverage` of the
    catalogue; generators (and `keeps`, see `InterestGenerator.sample`) take turns, each given
    real users drawn at random.

    A profile is kept if it is valid (known items, none twice, as long as asked: `length`, or
    from `shortest` to `longest`, by default the longest real one) and its Jaccard similarity to
    every kept one is below `similarity`. Drawing ends early after `most` draws (ten times
    `wanted` by default), or where more than 99 of 100 are not new once each generator had its
    turn.

    Raises `DataError` for no generator and for a log in which nobody has an event.
    """
    eligible = np.flatnonzero(train.histories().lengths > 0)
    if not len(generators) or not len(eligible):
        raise DataError("mass generation needs a generator, and a log with events")
    longest = longest or max(len(np.unique(h)) for h in _histories(train, eligible))
    sieve = _Sieve(
        index=Index(train.n_items, similarity, int(rng.integers(2**31))), wanted=wanted,
        span=(length, length) if length is not None else (shortest, longest),
        coverage=coverage, most=most or 10 * wanted, cycle=len(generators) * len(keeps),
    )  # fmt: skip
    turn = 0
    while not sieve.stopped:
        owner, keep = turn % len(generators), keeps[turn // len(generators) % len(keeps)]
        turn += 1
        users = rng.choice(eligible, size=sieve.portion(len(generators)))
        made = generators[owner].sample(
            train.histories().take(users), rng, length=length, keep=keep
        )
        sieve.take(made, owner)
        sieve.look(turn)
    rate, checked = duplicate_share(sieve.profiles, train.n_items, similarity, rng)
    return MassSample(
        profiles=tuple(sieve.profiles), owners=tuple(sieve.owners),
        report=sieve.report(train, len(generators), rate, checked),
    )  # fmt: skip


@dataclass(eq=False, kw_only=True)
class _Sieve:
    """Keeps what is valid and not nearly the same as what it kept, and knows when to stop."""

    index: Index
    wanted: int
    span: tuple[int, int]
    """Shortest and longest valid profile."""
    coverage: Share
    most: int
    cycle: int
    """Turns until each generator had its own with each share that stays."""
    profiles: list[Ints] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    drawn: int = 0
    invalid: int = 0
    near: int = 0
    stopped: str = ""
    marks: tuple[int, int] = (0, 0)
    """Kept and drawn when it was last asked whether there is still something new."""

    def __post_init__(self) -> None:
        self.covered = np.zeros(self.index.n_items, dtype=np.bool_)

    @property
    def full(self) -> bool:
        return len(self.profiles) >= self.wanted and float(self.covered.mean()) >= self.coverage

    def portion(self, among: int) -> int:
        """Draws of the next turn. A round is no larger than what is wanted, or the first
        generator would fill a small order alone."""
        whole = _ROUND if len(self.profiles) >= self.wanted else min(_ROUND, self.wanted)
        return min(max(whole // among, 1), self.most - self.drawn)

    def take(self, made: Sequence[Ints], owner: int) -> None:
        self.drawn += len(made)
        good = [p for p in made if _valid(p, self.index.n_items, self.span)]
        self.invalid += len(made) - len(good)
        for items, signature in zip(good, self.index.signatures(good) if good else (), strict=True):
            if self.full:
                self.drawn -= 1  # nobody looked at it
                continue
            as_set = frozenset(items.tolist())
            if self.index.near(as_set, signature) is not None:
                self.near += 1
                continue
            self.index.add(as_set, signature)
            self.profiles.append(items)
            self.owners.append(owner)
            self.covered[items] = True

    def look(self, turn: int) -> None:
        """After so many turns: say in `stopped` why to draw no more. What was asked for comes
        before why it was not."""
        if self.full:
            self.stopped = "reached"
        elif self.drawn >= self.most:
            self.stopped = self._short(f"the limit of {self.most} draws")
        elif turn % self.cycle == 0 and self.drawn - self.marks[1] >= 1 / _DRY:
            if len(self.profiles) - self.marks[0] < _DRY * (self.drawn - self.marks[1]):
                self.stopped = self._short("hardly anything new is drawn")
            self.marks = len(self.profiles), self.drawn

    def report(self, train: Dataset, generators: int, rate: Share, checked: int) -> MassReport:
        return MassReport(
            kept=len(self.profiles), drawn=self.drawn, invalid=self.invalid, near=self.near,
            duplicate_rate=rate, checked=checked, coverage=float(self.covered.mean()),
            groups=_groups(train, self.covered), real_groups=_groups(train, train.counts > 0),
            stopped=self.stopped,
            by_generator=tuple(self.owners.count(g) for g in range(generators)),
        )  # fmt: skip

    def _short(self, why: str) -> str:
        return (
            f"{why}, with {len(self.profiles)} profiles and {self.covered.mean():.1%} of the items"
        )


def _histories(train: Dataset, users: Ints) -> list[Ints]:
    return [train.histories().history(u) for u in users.tolist()]


def _valid(items: Ints, n_items: int, span: tuple[int, int]) -> bool:
    return bool(
        span[0] <= len(items) <= span[1] and items.min() >= 0 and items.max() < n_items
        and len(np.unique(items)) == len(items)
    )  # fmt: skip


def _groups(train: Dataset, flags: NDArray[np.bool_]) -> tuple[float, ...]:
    """Share of each popularity group's items that are flagged."""
    order = np.argsort(-train.counts, kind="stable")
    return tuple(float(flags[part].mean()) for part in np.array_split(order, _GROUPS) if len(part))
