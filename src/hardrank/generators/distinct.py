"""Many profiles of one or several generators, of which no two are nearly the same."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hardrank.data import Dataset, Queries
from hardrank.errors import DataError
from hardrank.types import Count, Floats, Ints, Share

__all__ = ["Draws", "Index", "MassReport", "MassSample", "duplicate_share", "mass_sample"]

_HASHES = 144
_WIDTHS = (12, 8, 6, 4, 3, 2, 1)
"""Hashes of one band, of which there are 144 / width: two sets of Jaccard similarity s share a
band with probability 1 - (1 - s^width)^bands."""
_FOUND = 0.999
"""Of the pairs that are just similar enough, the share that has to share a band."""
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


@dataclass(eq=False)
class Index:
    """Finds the kept sets that a new one is nearly the same as: MinHash in bands.

    Broder 1997, "On the resemblance and containment of documents"; bands as in Indyk &
    Motwani, STOC 1998. Candidates are compared exactly, so none is called near that is not.
    """

    n_items: int
    similarity: Share
    """Jaccard |a and b| / |a or b| from which on two sets are nearly the same."""
    seed: int = 0
    sets: list[frozenset[int]] = field(default_factory=list)
    """Kept so far."""

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self._hashes = rng.integers(0, 2**63, size=(self.n_items, _HASHES), dtype=np.int64)
        self._bands = _HASHES // _width(self.similarity)
        self._buckets: list[dict[bytes, list[int]]] = [{} for _ in range(self._bands)]

    def signatures(self, profiles: Sequence[Ints]) -> NDArray[np.int64]:
        """(N, hashes): per hash the least value of the set's items."""
        return np.stack([self._hashes[p].min(axis=0) for p in profiles])

    def near(self, items: frozenset[int], signature: NDArray[np.int64]) -> int | None:
        """A kept set at least as similar as `similarity`; None where none was found."""
        seen: set[int] = set()
        for bucket, key in zip(self._buckets, self._keys(signature), strict=True):
            for number in bucket.get(key, ()):
                if number not in seen:
                    seen.add(number)
                    if _jaccard(items, self.sets[number]) >= self.similarity:
                        return number
        return None

    def add(self, items: frozenset[int], signature: NDArray[np.int64]) -> None:
        for bucket, key in zip(self._buckets, self._keys(signature), strict=True):
            bucket.setdefault(key, []).append(len(self.sets))
        self.sets.append(items)

    def _keys(self, signature: NDArray[np.int64]) -> list[bytes]:
        return [band.tobytes() for band in signature.reshape(self._bands, -1)]


def _width(similarity: Share) -> int:
    """The widest band that finds nearly all pairs of this similarity: the fewest candidates."""
    return next((w for w in _WIDTHS if 1 - (1 - similarity**w) ** (_HASHES // w) >= _FOUND), 1)


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    both = len(one & other)
    return both / (len(one) + len(other) - both)


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


def duplicate_share(
    profiles: Sequence[Ints], n_items: int, similarity: Share, rng: np.random.Generator, *,
    sample: int = 1000,
) -> tuple[float, int]:  # fmt: skip
    """Of `sample` of the profiles the share that has another, among all, at least as similar;
    and how many were looked at. Exact: no hashing."""
    from scipy import sparse

    if len(profiles) < 2:
        return 0.0, len(profiles)
    sizes = np.asarray([len(p) for p in profiles])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    shape = (len(profiles), n_items)
    flat = np.concatenate(list(profiles))
    held = sparse.csr_matrix((np.ones(len(flat), dtype=np.float32), flat, offsets), shape)
    chosen = rng.permutation(len(profiles))[:sample]
    found = 0
    for start in range(0, len(chosen), 100):
        rows = chosen[start : start + 100]
        both: Floats = np.asarray(held @ held[rows].toarray().T).T  # (100, N) items in common
        alike = both / (sizes[rows][:, None] + sizes[None] - both)
        alike[np.arange(len(rows)), rows] = 0.0
        found += int((alike >= similarity).any(axis=1).sum())
    return found / len(chosen), len(chosen)


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
