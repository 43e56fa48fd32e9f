"""What an attacker who writes fake profiles may see: `CatalogueView` < `StatisticsView` <
`LogView`.

None of them sees the victim: poison is written before the model is trained. An attacker who
wants to try a profile out trains a surrogate of his own on what he sees. An adaptive one knows
the defence, too: `LogView.detector` is then the very detector that the shop uses.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import polars as pl

from hardrank.context import RunContext
from hardrank.data import AddProfile, Dataset
from hardrank.data.filtering import Detector
from hardrank.types import Floats, Ints, LogKnowledge

__all__ = ["KNOWLEDGE_OF_LOG", "LOG_VIEWS", "CatalogueView", "LogView", "StatisticsView"]

KNOWLEDGE_OF_LOG: tuple[LogKnowledge, ...] = ("catalogue", "statistics", "log")
"""From least to most."""


class CatalogueView:
    """Sees what every visitor sees: the catalogue, the bestsellers, how a rating is given."""

    def __init__(
        self,
        train: Dataset,
        targets: Ints,
        run: RunContext | None = None,
        detector: Detector | None = None,
    ) -> None:
        self._train, self._detector = train, detector
        self.targets: Ints = np.asarray(targets, dtype=np.int64)
        """(T,) item rows under attack."""
        self.run: RunContext = run or RunContext()
        """Where a learned attack may keep its checkpoints, and whether it shows progress."""
        self.items: pl.DataFrame = train.items
        """The public catalogue."""
        self.bestsellers: Ints = np.argsort(-train.counts, kind="stable")
        """(I,) item rows, the most popular first."""
        self.n_users: int = int((np.diff(train.offsets) > 0).sum())
        """Users with at least one event."""
        self.scale: tuple[float, float] | None = _scale(train)
        """Lowest and highest rating of the log; None where an event has no rating: the
        profiles then have none either."""
        self.window: tuple[int, int] | None = _window(train)
        """Times of the first and of the last event; None where an event has no time."""
        self.typical_length: int = int(np.median(_lengths(train))) if train.n_events else 1
        """Median number of events of a user."""

    def profile(
        self,
        name: str,
        rows: Sequence[int] | Ints,
        ratings: Sequence[float] | Floats | None = None,
        times: Sequence[int] | Ints | None = None,
    ) -> AddProfile:
        """The edit that adds a user. `name` need only be another one for each profile of a
        patch; rows: item rows, oldest event first, each once; ratings and times in the same
        order, kept only where the log has such."""
        ids = self._names
        return AddProfile(
            user_id=f"new-{name}",
            item_ids=tuple(ids[int(r)] for r in rows),
            ratings=None if ratings is None or self.scale is None
            else tuple(round(float(r), 4) for r in ratings),
            times=None if times is None or self.window is None else tuple(int(t) for t in times),
        )  # fmt: skip

    @cached_property
    def _names(self) -> list[str]:
        names: list[str] = self.items["item_id"].to_list()
        return names


class StatisticsView(CatalogueView):
    """Also sees how often and how each item was rated, and how much users do."""

    @cached_property
    def counts(self) -> Ints:
        """(I,) events of each item."""
        return self._train.counts

    @cached_property
    def mean(self) -> float:
        """Of all ratings; 0 where there are none."""
        return float(self._ratings.mean()) if self.scale else 0.0

    @cached_property
    def deviation(self) -> float:
        """Standard deviation of all ratings; 0 where there are none."""
        return float(self._ratings.std()) if self.scale else 0.0

    @cached_property
    def means(self) -> Floats:
        """(I,) mean rating of each item; `mean` for an item without a rating."""
        if self.scale is None:
            return np.zeros(self.items.height, dtype=np.float32)
        total = np.bincount(self._train.event_items, self._ratings, minlength=self.items.height)
        rated = np.maximum(self.counts, 1)
        return np.where(self.counts > 0, total / rated, self.mean).astype(np.float32)

    @cached_property
    def deviations(self) -> Floats:
        """(I,) standard deviation of each item's ratings; `deviation` for fewer than two."""
        if self.scale is None:
            return np.zeros(self.items.height, dtype=np.float32)
        away = (self._ratings - self.means[self._train.event_items]) ** 2
        total = np.bincount(self._train.event_items, away, minlength=self.items.height)
        spread = np.sqrt(total / np.maximum(self.counts, 1))
        return np.where(self.counts > 1, spread, self.deviation).astype(np.float32)

    @cached_property
    def lengths(self) -> Ints:
        """(U',) events of each user who has any, shortest first: nobody's in particular."""
        return np.sort(_lengths(self._train))

    @cached_property
    def _ratings(self) -> Floats:
        return self._train.events["rating"].to_numpy()


class LogView(StatisticsView):
    """Also sees the training log itself, and with an adaptive threat the defence's detector."""

    @property
    def train(self) -> Dataset:
        """The clean log: the victim's own training data before the attack. Read only."""
        return self._train

    @property
    def detector(self) -> Detector | None:
        """What the defence flags users by; None for an attacker who does not know it."""
        return self._detector

    @property
    def knows_detector(self) -> bool:
        return self._detector is not None


LOG_VIEWS: dict[LogKnowledge, type[CatalogueView]] = {
    "catalogue": CatalogueView,
    "statistics": StatisticsView,
    "log": LogView,
}


def _lengths(train: Dataset) -> Ints:
    lengths = np.diff(train.offsets)
    return lengths[lengths > 0]


def _scale(train: Dataset) -> tuple[float, float] | None:
    ratings = train.events["rating"]
    if not train.n_events or ratings.null_count():
        return None
    values = ratings.to_numpy()
    # as decimals: a float32 holds 3.6 as 3.5999999
    return round(float(values.min()), 4), round(float(values.max()), 4)


def _window(train: Dataset) -> tuple[int, int] | None:
    times = train.events["time"]
    if not train.n_events or times.null_count():
        return None
    values = times.to_numpy()
    return int(values.min()), int(values.max())
