"""What an attacker who writes fake profiles sees of a log, and no more (S2-10)."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.data import Dataset
from hardrank.data.dataset import EVENT_COLUMNS
from hardrank.testing.logs import taste_log
from hardrank.threats.log import (
    KNOWLEDGE_OF_LOG,
    LOG_VIEWS,
    CatalogueView,
    LogView,
    StatisticsView,
)

TARGETS = np.array([2])
ROWS: list[tuple[int, int, int | None, float | None, float]] = [
    (0, 0, 10, 5.0, 1.0), (0, 1, 20, 3.0, 1.0), (1, 0, 15, 4.0, 1.0),
    (1, 1, 30, 1.0, 1.0), (1, 3, 40, 2.0, 1.0), (2, 0, 50, 3.0, 1.0),
]  # fmt: skip
"""Three users (a fourth has no event) and four items, of which the third is nobody's."""


def small(rows: list[Any] = ROWS) -> Dataset:
    return Dataset(
        name="small", users=pl.DataFrame({"user_id": ["a", "b", "c", "d"]}),
        items=pl.DataFrame({"item_id": ["w", "x", "y", "z"], "title": ["", "", "", ""]}),
        events=pl.DataFrame(rows, schema=EVENT_COLUMNS, orient="row"),
    )  # fmt: skip


def test_each_view_gives_more_than_the_one_before_and_no_more() -> None:
    statistics = ("counts", "mean", "deviation", "means", "deviations", "lengths")
    whole = ("train", "detector", "knows_detector")
    views = [LOG_VIEWS[name](small(), TARGETS) for name in KNOWLEDGE_OF_LOG]
    shown = [[hasattr(view, name) for name in (*statistics, *whole)] for view in views]
    assert shown == [[False] * 9, [True] * 6 + [False] * 3, [True] * 9]
    assert [type(v) for v in views] == [CatalogueView, StatisticsView, LogView]


def test_what_every_visitor_sees() -> None:
    view = CatalogueView(small(), TARGETS)
    assert view.bestsellers.tolist() == [0, 1, 3, 2]
    assert (view.n_users, view.typical_length) == (3, 2)
    assert (view.scale, view.window) == ((1.0, 5.0), (10, 50))
    assert view.items["item_id"].to_list() == ["w", "x", "y", "z"]
    assert view.targets.tolist() == [2]


def test_statistics_are_exact() -> None:
    view = StatisticsView(small(), TARGETS)
    assert view.counts.tolist() == [3, 2, 0, 1]
    assert view.mean == pytest.approx(3.0)
    assert view.deviation == pytest.approx(np.std([5, 3, 4, 1, 2, 3]))
    assert view.means.tolist() == [4.0, 2.0, 3.0, 2.0]  # nobody rated y: the mean of all
    everyones = float(np.float32(view.deviation))
    assert view.deviations.tolist() == pytest.approx(
        [np.std([5, 4, 3]), np.std([3, 1]), everyones, everyones], abs=1e-6
    )
    assert view.lengths.tolist() == [1, 2, 3]


def test_the_whole_log_and_the_detector_of_an_adaptive_attacker() -> None:
    log = small()

    def detector(dataset: Dataset) -> Any:
        return np.zeros(dataset.n_users, dtype=np.float32)

    view = LogView(log, TARGETS, None, detector)
    assert view.train is log and view.detector is detector and view.knows_detector
    assert LogView(log, TARGETS).detector is None
    assert not LogView(log, TARGETS).knows_detector


def test_a_log_without_ratings_or_times() -> None:
    rows = [(u, i, None, None, w) for u, i, _, _, w in ROWS]
    view = StatisticsView(small(rows), TARGETS)
    assert (view.scale, view.window, view.mean, view.deviation) == (None, None, 0.0, 0.0)
    assert view.means.tolist() == view.deviations.tolist() == [0.0] * 4
    made = view.profile("n", [0, 2], ratings=[5.0, 5.0], times=[1, 2])
    assert (made.ratings, made.times) == (None, None)


def test_one_missing_rating_means_a_log_without_ratings() -> None:
    rows = [*ROWS[:-1], (2, 0, None, None, 1.0)]
    view = CatalogueView(small(rows), TARGETS)
    assert (view.scale, view.window) == (None, None)


def test_an_empty_log() -> None:
    view = StatisticsView(small([]), TARGETS)
    assert (view.scale, view.window, view.typical_length, view.n_users) == (None, None, 1, 0)
    assert view.lengths.tolist() == []


def test_a_profile_is_written_by_rows() -> None:
    made = CatalogueView(small(), TARGETS).profile(
        "7", np.array([3, 2]), ratings=np.array([4.00004, 5.0]), times=np.array([11, 12])
    )
    assert (made.user_id, made.item_ids) == ("new-7", ("z", "y"))
    assert (made.ratings, made.times) == ((4.0, 5.0), (11, 12))


def test_views_of_the_planted_log_agree_with_it() -> None:
    log = taste_log(users=30, items=20, events=6)
    view = LogView(log, TARGETS)
    for item in range(20):
        rated = log.events.filter(pl.col("item") == item)["rating"].to_numpy()
        expected = rated.mean() if len(rated) else view.mean
        assert view.means[item] == pytest.approx(expected, abs=1e-5)
        spread = rated.std() if len(rated) > 1 else view.deviation
        assert view.deviations[item] == pytest.approx(spread, abs=1e-5)
