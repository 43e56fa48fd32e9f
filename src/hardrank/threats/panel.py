"""The users through whose lists an attacker observes, and what those lists look like."""

from dataclasses import dataclass, field

import numpy as np

from hardrank.data import Queries, Slate
from hardrank.recommender import Recommender, mask_seen
from hardrank.types import Floats, Ints, Scores

__all__ = ["PanelLists", "sample_panel", "watch"]


def sample_panel(queries: Queries, size: int, rng: np.random.Generator) -> Queries:
    """`size` queries (all, if there are fewer) drawn without replacement, in their order."""
    size = min(size, len(queries))
    return queries.take(np.sort(rng.choice(len(queries), size=size, replace=False)))


@dataclass(frozen=True, eq=False, kw_only=True)
class PanelLists:
    """The panel's whole rankings before any attack. Scored once for all targets and attacks."""

    queries: Queries
    standing: Scores
    """(Q, I) scores of the catalogue, -inf where the query has seen the item."""
    ascending: Scores
    """(Q, I) each row of `standing`, sorted."""
    unseen: Ints
    """(Q,) number of items that the query has not seen."""
    _kept: dict[tuple[int, int], tuple[Ints, Floats]] = field(default_factory=dict)
    """(item, k) -> eligible queries and thresholds of the latest item: an attack asks about
    one item again and again."""

    def eligible(self, item: int) -> Ints:
        """(E,) the queries that have not seen the item: only they can be shown it."""
        return self._of(item, 1)[0]

    def ranks(self, item: int, scores: Scores) -> Ints:
        """(E, N) ranks, from 1, that scores (E, N) give the item among the unseen items of the
        eligible queries; the item's own standing score does not compete, ties count against."""
        rows = self.eligible(item)
        own = self.standing[rows, item]
        above = np.empty(scores.shape, dtype=np.int64)
        for e, row in enumerate(rows):
            below = np.searchsorted(self.ascending[row], scores[e], side="left")
            above[e] = self.ascending.shape[1] - below
        # A score of -inf ties with seen items too, which are not in the list.
        above = np.minimum(above, self.unseen[rows, None])
        ranks: Ints = 1 + above - (own[:, None] >= scores)
        return ranks

    def thresholds(self, item: int, k: int) -> Floats:
        """(E,) the k-th best score among the unseen items other than `item`: what it has to
        exceed to enter the top k. -inf where the query has fewer than k others."""
        return self._of(item, k)[1]

    def _of(self, item: int, k: int) -> tuple[Ints, Floats]:
        if (item, k) not in self._kept:
            for old in [key for key in self._kept if key[0] != item]:
                del self._kept[old]
            seen = self.queries.owners[self.queries.items == item]
            rows = np.setdiff1d(np.arange(len(self.queries)), seen)
            found = rows, self._thresholds(rows, item, k)
            for array in found:
                array.setflags(write=False)
            self._kept[item, k] = found
        return self._kept[item, k]

    def _thresholds(self, rows: Ints, item: int, k: int) -> Floats:
        lists, own = self.ascending[rows], self.standing[rows, item]
        count = lists.shape[1]
        kth = lists[:, count - k] if k <= count else np.full(len(rows), -np.inf)
        after = lists[:, count - k - 1] if k + 1 <= count else np.full(len(rows), -np.inf)
        return np.where(own >= kth, after, kth).astype(np.float32)


def watch(victim: Recommender, panel: Queries) -> PanelLists:
    """Score the whole catalogue for the panel: (Q, I) floats, held twice."""
    slate = Slate(items=np.arange(victim.items.height, dtype=np.int64))
    standing = finite(np.array(victim.score(panel, slate), dtype=np.float32))
    mask_seen(standing, panel)
    seen = np.bincount(
        np.unique(np.stack([panel.owners, panel.items]), axis=1)[0], minlength=len(panel)
    )
    return PanelLists(
        queries=panel,
        standing=standing,
        ascending=np.sort(standing, axis=1),
        unseen=(standing.shape[1] - seen).astype(np.int64),
    )


def finite(scores: Scores) -> Scores:
    """In place: a score that is not a number ranks last, so that none can be won by it."""
    scores[np.isnan(scores)] = -np.inf
    return scores
