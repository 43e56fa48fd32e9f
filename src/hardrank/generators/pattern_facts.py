"""What segments of users are made of, and whether they are worth anything."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.data import Dataset, Queries
from hardrank.errors import DataError
from hardrank.generators.bags import Bags
from hardrank.generators.clusters import silhouette
from hardrank.generators.latent import canonical
from hardrank.generators.patterns import LatentSegments, SegmentModel
from hardrank.metrics.intervals import bootstrap_mean
from hardrank.types import Ints, Share

__all__ = [
    "Distinctive",
    "Segment",
    "Worth",
    "described",
    "segment_log_odds",
    "strangers",
    "worth_of",
]

_LOOKED_AT = 3000
"""Users whose silhouettes are taken, at most: it compares all pairs."""
_SUPPORT = 3
"""Users of a segment who must have an item, at least, for it to be called distinctive."""
_TRIED = 20
"""Users who can be strangers, at least."""


@dataclass(frozen=True, kw_only=True)
class Distinctive:
    """An item that a segment's users have more often than others."""

    item_id: str
    title: str
    users: int
    """Of the segment, who have it."""
    lift: float
    """Share of the segment's users who have it over that of all users; 1 says nothing."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    number: int
    users: int
    share: Share
    """Of the users with events."""
    cohesion: float
    """Mean silhouette of its users' vectors, in [-1, 1]; near 0 it melts into a neighbour."""
    mean_length: float
    """Different items of a user."""
    items: tuple[Distinctive, ...]
    """Highest lift first."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Two trainings, each on one half of the users, tried on the other."""

    stability: float
    """Adjusted Rand index of both trainings' segments of all users (Hubert & Arabie, Journal of
    Classification 2, 1985): 1 the same segments, 0 what chance gives."""
    bits: float
    """Per event of strangers: what it saves to know their segment, found from half of their
    items, for the other half; log2 of P(item | segment) over P(item). At or below 0 nothing."""
    bits_low: float
    bits_high: float
    """95 % interval, over users."""
    segments: tuple[int, int]
    """How many either training chose."""
    users: int
    """Strangers that were tried."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def described(model: SegmentModel, train: Dataset, *, items: int = 8) -> list[Segment]:
    """One entry a segment, largest first in training. items: distinctive ones listed, at most."""
    histories = train.histories()
    labels, bags = model.assign(histories), Bags.of(histories, train.n_items)
    known = np.flatnonzero(labels >= 0)
    looked = known[canonical(bags.matrix[known])]
    looked = looked[np.linspace(0, len(looked) - 1, min(len(looked), _LOOKED_AT)).astype(int)]
    widths = np.zeros(train.n_users)
    widths[looked] = silhouette(model.latent(histories.take(looked)), labels[looked])
    everyone = np.asarray(bags.matrix[known].sum(0)).ravel()
    out = []
    for number in range(len(model)):
        mine = np.flatnonzero(labels == number)
        seen = looked[labels[looked] == number]
        counts = np.asarray(bags.matrix[mine].sum(0)).ravel()
        out.append(
            Segment(
                number=number, users=len(mine), share=len(mine) / max(len(known), 1),
                cohesion=float(widths[seen].mean()) if len(seen) else 0.0,
                mean_length=float(bags.lengths[mine].mean()) if len(mine) else 0.0,
                items=_distinctive(train, counts, everyone, len(mine), len(known))[:items],
            )
        )  # fmt: skip
    return out


def _distinctive(
    train: Dataset,
    counts: NDArray[np.float64],
    everyone: NDArray[np.float64],
    users: int,
    all_: int,
) -> tuple[Distinctive, ...]:
    """Items that at least a tenth of the segment's users have (and three of them)."""
    enough = np.flatnonzero(counts >= max(_SUPPORT, 0.1 * users))
    lift = (counts[enough] / max(users, 1)) / (everyone[enough] / all_)
    order = np.lexsort((enough, -lift))
    titles = train.items["title"] if "title" in train.items.columns else train.items["item_id"]
    return tuple(
        Distinctive(
            item_id=train.items["item_id"][row], title=titles[row] or "", users=int(counts[row]),
            lift=float(lift[at]),
        )
        for at, row in ((int(a), int(enough[a])) for a in order)
        if lift[at] > 1
    )  # fmt: skip


def segment_log_odds(
    model: SegmentModel, train: Queries, *, strength: float = 50.0
) -> NDArray[np.float64]:
    """(K + 1, I) log P(item | segment), Dirichlet-smoothed; the last row is log P(item).

    P(i | s) = (n_si + strength * P(i)) / (n_s + strength), P(i) = (n_i + 1) / (n + I), n counts
    of users who have the item. strength: of the prior, in events.
    """
    bags, labels = Bags.of(train, model.n_items), model.assign(train)
    counts = np.zeros((len(model), model.n_items))
    for number in range(len(model)):
        counts[number] = np.asarray(bags.matrix[np.flatnonzero(labels == number)].sum(0)).ravel()
    overall = counts.sum(0) + 1
    overall /= overall.sum()
    inside = (counts + strength * overall) / (counts.sum(1, keepdims=True) + strength)
    return np.asarray(np.log(np.concatenate([inside, overall[None]])), dtype=np.float64)


def strangers(train: Dataset) -> Ints:
    """Rows of the users on whom segments can be tried: of two different items or more. Raises
    `DataError` for fewer than 20."""
    users = np.flatnonzero(Bags.of(train.histories(), train.n_items).lengths >= 2)
    if len(users) < _TRIED:
        raise DataError(
            f"{train.name}: {len(users)} users have two different items or more in the training "
            f"part; to try segments on strangers {_TRIED} are needed",
            remedy="bring more users, or a split that leaves them more events",
        )
    return users


def worth_of(spec: LatentSegments, train: Dataset, seed: int) -> Worth:
    """Train on either half of the users, try on the other. Who stands where changes nothing.

    Raises `DataError` for fewer than 20 users with two different items.
    """
    users, histories = strangers(train), train.histories()
    bags = Bags.of(histories, train.n_items)
    users = users[canonical(bags.matrix[users])]
    side = np.random.default_rng(derive(seed, "halves")).permutation(np.arange(len(users)) % 2)
    halves = (users[side == 0], users[side == 1])
    models = [
        spec.fit_profiles(histories.take(half), train.n_items, derive(seed, "half", h))
        for h, half in enumerate(halves)
    ]
    saved = [
        _saved_bits(model, histories.take(own), [np.sort(bags.row(int(u))) for u in others])
        for model, own, others in zip(models, halves, reversed(halves), strict=True)
    ]
    from sklearn.metrics import adjusted_rand_score

    agreed = adjusted_rand_score(*(model.assign(histories.take(users)) for model in models))
    found = bootstrap_mean(np.concatenate(saved), np.random.default_rng(derive(seed, "interval")))
    return Worth(
        stability=float(agreed), bits=found.value, bits_low=found.low, bits_high=found.high,
        segments=(len(models[0]), len(models[1])), users=len(users),
    )  # fmt: skip


def _saved_bits(
    model: SegmentModel, own: Queries, strangers: Sequence[Ints]
) -> NDArray[np.float64]:
    """(N,) mean bits per hidden item of each stranger: every second item places the stranger,
    the others are predicted."""
    odds = segment_log_odds(model, own)
    placed = model.assign(Queries.of([items[::2].tolist() for items in strangers]))
    return np.array(
        [
            float((odds[s, items[1::2]] - odds[-1, items[1::2]]).mean()) / np.log(2)
            for s, items in zip(placed.tolist(), strangers, strict=True)
        ]
    )
