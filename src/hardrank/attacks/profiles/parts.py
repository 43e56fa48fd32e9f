"""What profile attacks share: how long fake users are, what they rate, where the target
stands and when it all happens."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hardrank.data import Dataset, Patch
from hardrank.errors import Unsupported
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import CatalogueView, LogView, StatisticsView
from hardrank.types import Floats, Ints, Share, spec

__all__ = [
    "Draft",
    "Lengths",
    "Manner",
    "drawn",
    "extremes",
    "limits",
    "mixed",
    "others",
    "rated",
    "sizes",
    "snapped",
    "step",
    "timed",
    "written",
]

Numbers = NDArray[np.floating]
Lengths = Literal["budget", "natural"]
"""Events of a fake user: as many as the budget lets him have, or as many as a real user drawn
at random has (the median user, for who sees the catalogue alone), within the budget."""


@spec
class Manner:
    """Where the target stands in a fake history, and when that history happens."""

    place: Literal["last", "anywhere"] = "last"
    """Of the target among the events. Models of sequences learn most from the last one."""
    window: Share = 1.0
    """All fake events fall into this last share of the log's time: small for a burst."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Draft:
    """A fake user without the target."""

    rows: Ints
    """(N,) item rows, oldest first, each once, no target."""
    ratings: Floats
    """(N,) on the log's scale; anything where the log has no ratings."""
    times: Ints | None = None
    """(N,) inside the log's window, never falling; None lets `written` find some."""


def limits(budget: Budget) -> tuple[int, int]:
    """Fake users, and the most events of each.

    Raises `Unsupported` where the budget does not bound them.
    """
    if budget.profiles is None or budget.profile_events is None:
        raise Unsupported("fake users need a budget of profiles and of profile_events")
    return budget.profiles, budget.profile_events


def extremes(view: CatalogueView, goal: Promote | Demote) -> tuple[float, float]:
    """The target's rating that serves the goal best, and the opposite end of the scale.

    Both are 0 in a log without ratings. Raises `Unsupported` for a demotion there: where
    nobody rates, every event is praise.
    """
    if view.scale is None:
        if isinstance(goal, Demote):
            raise Unsupported(
                "the log has no ratings, so every event is praise: fake users who name the "
                "target can only promote it"
            )
        return 0.0, 0.0
    low, high = view.scale
    return (high, low) if isinstance(goal, Promote) else (low, high)


def others(view: CatalogueView) -> Ints:
    """Item rows that are no target."""
    return np.setdiff1d(np.arange(view.items.height, dtype=np.int64), view.targets)


def drawn(rows: Ints, size: int, rng: np.random.Generator) -> Ints:
    """So many of them in random order, each once; all where there are fewer."""
    return rng.permutation(rows)[: max(size, 0)]


def step(view: CatalogueView) -> float:
    """How far apart ratings of this log lie: 1 for whole numbers, 0.5 where it has halves, 0
    for finer ones and for no ratings. Whoever sees no single rating goes by the scale's ends.
    """
    if view.scale is None:
        return 0.0
    seen = _given(view.train) if isinstance(view, LogView) else np.asarray(view.scale)
    return next((s for s in (1.0, 0.5) if not (seen % s).any()), 0.0)


@lru_cache(maxsize=1)  # asked for each profile
def _given(train: Dataset) -> Floats:
    """Every rating that the log holds, each once."""
    return train.events["rating"].unique().to_numpy()


def snapped(view: CatalogueView, ratings: Numbers) -> Floats:
    """The nearest ratings that a user of this log could give; zeros in a log without."""
    if view.scale is None:
        return np.zeros(len(ratings), dtype=np.float32)
    apart = step(view)
    if apart:
        ratings = np.round(ratings / apart) * apart
    return np.clip(ratings, *view.scale).astype(np.float32)


def mixed(
    first: tuple[Ints, float], second: tuple[Ints, Floats], rng: np.random.Generator
) -> Draft:
    """Items that are all rated alike and items with ratings of their own, in random order."""
    rows = np.concatenate([first[0], second[0]])
    ratings = np.concatenate([np.full(len(first[0]), first[1]), second[1]])
    order = rng.permutation(rows.size)
    return Draft(rows=rows[order], ratings=ratings[order].astype(np.float32))


def rated(view: StatisticsView, rows: Ints, rng: np.random.Generator, *, by_item: bool) -> Floats:
    """Ratings as others give them: normal, with mean and deviation of all ratings or, with
    `by_item`, of each item's own."""
    means = view.means[rows] if by_item else view.mean
    spread = view.deviations[rows] if by_item else view.deviation
    return snapped(view, rng.normal(means, spread, size=len(rows)))


def sizes(
    view: CatalogueView, budget: Budget, rng: np.random.Generator, lengths: Lengths = "budget"
) -> Ints:
    """(P,) events of each fake user, targets included: at least one, within the budget."""
    profiles, most = limits(budget)
    wanted = np.full(profiles, most, dtype=np.int64)
    if lengths == "natural" and isinstance(view, StatisticsView) and view.lengths.size:
        wanted = rng.choice(view.lengths, size=profiles).astype(np.int64)
    elif lengths == "natural":
        wanted[:] = view.typical_length
    return np.clip(wanted, 1, min(most, view.items.height))


def timed(
    view: CatalogueView, size: int, rng: np.random.Generator, *, window: float = 1.0
) -> Ints | None:
    """(size,) times of a fake history, never falling, in the last share `window` of the log.

    Who sees the log draws the gaps from those of one real user and begins anywhere that
    leaves room; who does not spreads events evenly between two moments drawn at random.
    None where the log has no times.
    """
    if view.window is None:
        return None
    last = view.window[1]
    room = int(window * (last - view.window[0]))
    gaps = _gaps(view.train, rng) if isinstance(view, LogView) else None
    if gaps is None:
        start, end = np.sort(rng.integers(0, room + 1, size=2))
        after = np.sort(rng.integers(start, end + 1, size=size))
    else:
        after = np.cumsum(np.r_[0, rng.choice(gaps, size=max(size - 1, 0))])[:size]
        if size and after[-1] > room:
            after = (after * (room / after[-1])).astype(np.int64)
        after = after + (rng.integers(0, room - after[-1] + 1) if size else 0)
    return np.asarray(last - room + after, dtype=np.int64)


def _gaps(train: Dataset, rng: np.random.Generator) -> Ints | None:
    """Seconds between the events of one real user who has several; None without such."""
    users = np.flatnonzero(np.diff(train.offsets) > 1)
    if not users.size:
        return None
    user = int(rng.choice(users))
    mine = train.events["time"][int(train.offsets[user]) : int(train.offsets[user + 1])]
    return np.diff(np.sort(mine.to_numpy()))


def written(
    view: CatalogueView,
    goal: Promote | Demote,
    budget: Budget,
    rng: np.random.Generator,
    *,
    fill: Callable[[int, int], Draft],
    manner: Manner,
    lengths: Lengths = "budget",
) -> Patch:
    """The patch of fake users whose fillers `fill` gives.

    fill: takes the number of the profile and how many fillers fit; gives no more of them.
    Raises `Unsupported` for a demotion in a log without ratings.
    """
    best, _ = extremes(view, goal)
    edits = []
    for n, size in enumerate(sizes(view, budget, rng, lengths).tolist()):
        aims = view.targets[:size]
        draft = fill(n, size - aims.size)
        whole = _with(draft, aims, best, view, manner, rng)
        name = "-".join(map(str, [*view.targets.tolist(), n]))
        edits.append(view.profile(name, whole.rows, whole.ratings, whole.times))
    return Patch(tuple(edits))


def _with(
    draft: Draft, aims: Ints, best: float, view: CatalogueView, manner: Manner,
    rng: np.random.Generator,
) -> Draft:  # fmt: skip
    """The fake user with the target, and with times where the log has such."""
    size = len(draft.rows)
    at = np.full(aims.size, size)
    if manner.place == "anywhere":
        at = np.sort(rng.integers(0, size + 1, size=aims.size))
    rows = np.insert(draft.rows, at, aims)
    if view.window is None:
        times = None
    elif draft.times is None or not size:
        times = timed(view, rows.size, rng, window=manner.window)
    else:
        times = np.insert(draft.times, at, _between(draft.times, at, view.window[1]))
        times = _squeezed(times, view.window[1], manner.window)
    return Draft(rows=rows, ratings=np.insert(draft.ratings, at, best), times=times)


def _between(times: Ints, at: Ints, last: int) -> Ints:
    """When an event happens that comes to stand there: halfway between its neighbours, or
    after the last one by the median gap, no later than the log ends."""
    gap = int(np.median(np.diff(times))) if times.size > 1 else 0
    padded = np.r_[times[0], times, min(times[-1] + 2 * gap, 2 * last - times[-1])]
    middle: Ints = (padded[at] + padded[at + 1]) // 2
    return middle


def _squeezed(times: Ints, last: int, share: float) -> Ints:
    """The whole window, which ends at `last`, mapped onto its last share."""
    if share == 1:
        return times
    return last - (share * (last - times)).astype(np.int64)
