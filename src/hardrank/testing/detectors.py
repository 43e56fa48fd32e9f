"""The contract of detectors: what filtering, trust and audits rely on."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Dataset
from hardrank.testing.logs import taste_log
from hardrank.types import Floats

__all__ = ["DetectorContract", "reordered"]


def reordered(
    dataset: Dataset, users: NDArray[np.int64], items: NDArray[np.int64] | None = None
) -> Dataset:
    """The same log with other row numbers: row n of the new tables is row users[n] (items[n])
    of the old ones; None leaves the items where they are."""
    at = np.arange(dataset.n_items) if items is None else items
    events = dataset.events.with_columns(
        user=pl.Series(np.argsort(users)[dataset.events["user"].to_numpy()], dtype=pl.Int32),
        item=pl.Series(np.argsort(at)[dataset.event_items], dtype=pl.Int32),
    ).sort("user", maintain_order=True)
    return replace(dataset, users=dataset.users[users], items=dataset.items[at], events=events)


class DetectorContract:
    """Subclass it as `class TestMine(DetectorContract): detector = Mine()`."""

    detector: ClassVar[Any]
    """A callable (dataset) -> (U,): a spec that needs no labels, or a trained detector."""
    tolerance: ClassVar[float] = 1e-4
    """Share of a score by which it may depend on the order of sums."""

    def log(self, seed: int = 0) -> Dataset:
        """90 users with ratings and times; the first has no event, the second one."""
        made = taste_log(users=90, items=40, events=10, seed=seed)
        first = (pl.col("user") == 1).cum_sum() <= 1
        return made.where((pl.col("user") != 0) & ((pl.col("user") != 1) | first))

    def scores(self, dataset: Dataset) -> Floats:
        found: Floats = type(self).detector(dataset)
        return found

    def test_one_score_a_user(self) -> None:
        data = self.log()
        found = self.scores(data)
        assert found.shape == (data.n_users,)
        assert found.dtype == np.float32
        assert not np.isinf(found).any(), "a score is infinite"

    def test_equal_input_gives_equal_output(self) -> None:
        assert np.array_equal(self.scores(self.log()), self.scores(self.log()), equal_nan=True)

    def test_does_not_read_the_order_of_users(self) -> None:
        """Fakes are appended last: whoever reads a row number cheats."""
        for seed in range(3):
            data, order = self.log(seed), np.random.default_rng(seed).permutation(90)
            self._near(self.scores(reordered(data, order)), self.scores(data)[order])

    def test_does_not_read_the_order_of_items(self) -> None:
        data, order = self.log(), np.random.default_rng(7).permutation(40)
        self._near(self.scores(reordered(data, np.arange(90), order)), self.scores(data))

    def test_does_not_read_ids(self) -> None:
        data = self.log()
        named = replace(
            data,
            users=data.users.with_columns(user_id=pl.Series([f"new-{n}" for n in range(90)])),
            items=data.items.with_columns(item_id=pl.Series([f"z{90 - n}" for n in range(40)])),
        )
        assert np.array_equal(self.scores(named), self.scores(data), equal_nan=True)

    def test_changes_nothing(self) -> None:
        data = self.log()
        self.scores(data)
        assert data.fingerprint == self.log().fingerprint

    def test_works_without_ratings_and_times(self) -> None:
        """The columns that are missing are not read as a signal: all users alike in them."""
        nothing: Callable[[str, Any], pl.Expr] = lambda n, t: pl.lit(None, dtype=t).alias(n)  # noqa: E731
        for columns in ((), ("rating",), ("time",), ("rating", "time")):
            data = self.log()
            events = data.events.with_columns(
                *(nothing(name, data.events.schema[name]) for name in columns)
            )
            found = self.scores(replace(data, events=events))
            assert found.shape == (90,) and not np.isinf(found).any()

    def test_some_events_without_rating_or_time(self) -> None:
        data = self.log()
        holes = np.arange(data.n_events) % 5 == 0
        events = data.events.with_columns(
            rating=pl.when(pl.Series(~holes)).then(pl.col("rating")),
            time=pl.when(pl.Series(~holes)).then(pl.col("time")),
        )
        assert not np.isinf(self.scores(replace(data, events=events))).any()

    def test_no_events_and_few_users(self) -> None:
        """No crash, and nobody without events stands above those who have some."""
        data = self.log()
        assert self.scores(data.where(pl.lit(False))).shape == (90,)
        for last in (1, 2, 3, 4):
            assert self.scores(data.where(pl.col("user") <= last)).shape == (90,)
        found = self.scores(data)
        assert np.isnan(found[0]) or found[0] <= np.nanmax(found[2:])

    def test_all_profiles_alike(self) -> None:
        """A log in which nobody differs: finite, and equal for all."""
        data = self.log()
        events = data.events.filter(pl.col("user") == 5)
        copies = pl.concat([events.with_columns(user=pl.lit(n, dtype=pl.Int32)) for n in range(90)])
        found = self.scores(replace(data, events=copies))
        assert not np.isinf(found).any()

    def _near(self, found: Floats, expected: Floats) -> None:
        close = np.isclose(found, expected, rtol=self.tolerance, atol=1e-4, equal_nan=True)
        assert close.all(), f"{(~close).sum()} users have another score"
