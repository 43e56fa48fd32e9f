"""A cap on how much new users may move one item before training reads their events.

A detector of users is passed by whoever looks like a person. What targeted poison cannot
hide is its aim: many new users who name one item that few named before, or rate it as few did.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardrank.data.affinity import affinity
from hardrank.data.dataset import Dataset
from hardrank.data.filtering import Filtered, drop_events
from hardrank.errors import DataError

__all__ = ["allowed", "growth_capped", "surplus"]

Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]
_PRIOR = 5.0
"""Ratings that each item and each user is believed to have had already, at the mean."""


def allowed(dataset: Dataset, newcomers: Mask, slack: float) -> Doubles:
    """(I,) events that new users may give an item: what they would if they chose as earlier
    users did, and `slack` standard deviations of a Poisson count, and two.

    With n_i the earlier events of an item, n all of them, I items and m the events of the
    newcomers: l = m (n_i + 1) / (n + I), and ceil(l + slack * sqrt(l) + 2).
    """
    usual = _usual(dataset, _new(dataset, newcomers))
    return np.asarray(np.ceil(usual + slack * np.sqrt(usual) + 2), dtype=np.float64)


def surplus(dataset: Dataset, newcomers: Mask, kept: Mask | None = None) -> tuple[Doubles, Doubles]:
    """(E,) praise and (E,) blame: how much better, and how much worse, each event rates its
    item than earlier users did, by the habits of its own user; 0 without a rating.

    With mu the mean of the earlier ratings, m_i = (sum of item i's earlier ratings + 5 mu) /
    (n_i + 5), b_u the sum of r - m_i over user u's `kept` ratings over their number + 5:

        praise = r - m_i - min(b_u, 0)        blame = m_i - r + max(b_u, 0)

    Whoever blames all else makes his praise count, and whoever praises all else his blame. A
    generous user's praise counts in full: generosity that is dropped later would excuse it.
    kept: (E,) the events that training would read; None for all.
    """
    known, apart, habit = _habits(dataset, newcomers, kept)
    praise, blame = apart - np.minimum(habit, 0), np.maximum(habit, 0) - apart
    return np.where(known, praise, 0.0), np.where(known, blame, 0.0)


def _habits(
    dataset: Dataset, newcomers: Mask, kept: Mask | None = None
) -> tuple[Mask, Doubles, Doubles]:
    """(E,) whether there is a rating, its r - m_i, and its user's b_u: see `surplus`."""
    users, items = dataset.events["user"].to_numpy(), dataset.event_items
    given = dataset.events["rating"].cast(float).fill_null(np.nan).to_numpy()
    known, early = ~np.isnan(given), ~_new(dataset, newcomers)
    ratings, base = np.where(known, given, 0.0), known & early
    mean = ratings[base].mean() if base.any() else 0.0
    sums = np.bincount(items[base], weights=ratings[base], minlength=dataset.n_items)
    means = (sums + _PRIOR * mean) / (np.bincount(items[base], minlength=dataset.n_items) + _PRIOR)
    apart = np.where(known, ratings - means[items], 0.0)
    read = known if kept is None else known & kept
    sums = np.bincount(users[read], weights=apart[read], minlength=dataset.n_users)
    habit = sums / (np.bincount(users[read], minlength=dataset.n_users) + _PRIOR)
    return known, apart, np.asarray(habit[users])


def growth_capped(
    dataset: Dataset, newcomers: Mask, rng: np.random.Generator, *, slack: float = 3.0
) -> Filtered:
    """Without the events of new users beyond what each item is allowed.

    In a log with ratings, the sum of an item's praise over the new events (`surplus`) stays
    within slack * s * sqrt(l), and so does that of blame, where s is the root mean square of
    r - m_i - b_u of earlier events and l is that of `allowed`: of what is too much, the highest
    goes first. Then the count: `allowed`. Those whose users' other events speak best for the
    item stay (`data.affinity`; ties by lot), so that nobody drives out an item's real audience
    with events made up at random. All again, with the habits that the users have in what is
    left, until nothing goes: else praise that is dropped here still excuses praise elsewhere.

    newcomers: (U,) True for users who joined after the log was last trusted. slack: at least
    0; the higher, the fewer honest events go and the more a poisoner may do. New items and
    hits grow as poison does: their events go, too. Raises `DataError` for another length or a
    negative slack.
    """
    if newcomers.shape != (dataset.n_users,) or newcomers.dtype != np.bool_:
        raise DataError(f"{dataset.name}: expected a mask of {dataset.n_users} users")
    if not slack >= 0:
        raise DataError(f"slack must be at least 0 (is {slack})")
    most, room = allowed(dataset, newcomers, slack), _room(dataset, newcomers, slack)
    queue, before = _Queue.of(dataset, newcomers, most, rng), -1
    while before != queue.events.size:
        before = queue.events.size
        for gain in surplus(dataset, newcomers, queue.left(dataset, newcomers)):
            queue = queue.without(_too_much(queue, gain[queue.events], room))
        queue = queue.without(queue.place >= most[queue.items])
    return drop_events(dataset, ~queue.left(dataset, newcomers))


def _room(dataset: Dataset, newcomers: Mask, slack: float) -> Doubles:
    """(I,) the most that the praise of new events may add up to, and the most of the blame."""
    new = _new(dataset, newcomers)
    known, apart, habit = _habits(dataset, newcomers)
    early = (apart - habit)[~new & known]
    if not early.size:  # nothing says how far people differ
        return np.full(dataset.n_items, np.inf)
    spread = float(np.sqrt(np.mean(early**2)))
    return np.asarray(slack * spread * np.sqrt(_usual(dataset, new)))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Queue:
    """Events of new users, item after item, those first that are kept longest."""

    events: Rows
    items: Rows

    @classmethod
    def of(
        cls, dataset: Dataset, newcomers: Mask, most: Doubles, rng: np.random.Generator
    ) -> "_Queue":
        """most: (I,) of each item; only where there are more does the order matter."""
        events = rng.permutation(np.flatnonzero(_new(dataset, newcomers)))
        items = dataset.event_items[events]
        crowded = (np.bincount(items, minlength=dataset.n_items) > most)[items]
        fit = np.zeros(events.size)
        fit[crowded] = affinity(dataset, ~newcomers, events[crowded])
        order = np.lexsort((-fit, items))
        return cls(events=events[order], items=items[order])

    @property
    def place(self) -> Rows:
        """(N,) events of the same item that come before."""
        return np.arange(self.items.size) - np.searchsorted(self.items, self.items)

    def left(self, dataset: Dataset, newcomers: Mask) -> Mask:
        """(E,) earlier events, and those in the queue."""
        out = ~_new(dataset, newcomers)
        out[self.events] = True
        return out

    def without(self, gone: Mask) -> "_Queue":
        return _Queue(events=self.events[~gone], items=self.items[~gone])


def _too_much(queue: _Queue, gain: Doubles, room: Doubles) -> Mask:
    """(N,) events whose gain, added to that of the item's smaller ones, is more than its room
    and what losses take back. gain: (N,)"""
    back = np.bincount(queue.items, weights=np.maximum(-gain, 0), minlength=room.size)
    order = np.lexsort((gain, queue.items))
    items, mine = queue.items[order], np.maximum(gain[order], 0)
    total = np.cumsum(mine)
    others = (total - mine)[np.searchsorted(items, items)]
    out = np.zeros(gain.size, dtype=np.bool_)
    out[order] = (mine > 0) & (total - others > (room + back)[items] + 1e-9)
    return out


def _new(dataset: Dataset, newcomers: Mask) -> Mask:
    """(E,) True for events of new users."""
    return np.asarray(newcomers[dataset.events["user"].to_numpy()])


def _usual(dataset: Dataset, new: Mask) -> Doubles:
    """(I,) the l of `allowed`. new: (E,)"""
    before = np.bincount(dataset.event_items[~new], minlength=dataset.n_items)
    return np.asarray(new.sum() * (before + 1) / (before.sum() + dataset.n_items))
