"""A detector remembers whether the logs that it learned from had ratings and times."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.attacks.profiles.average_profiles import AverageProfiles
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.detection.combined import Combined
from hardrank.detection.examples import LabelledLog, labelled
from hardrank.detection.learned_from import columns_of, comparable
from hardrank.detection.stored import load_detector
from hardrank.detection.supervised import LogisticDetector
from hardrank.detection.target_stage import TwoStage
from hardrank.errors import DataError
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.profiles import play_profiles


def without(log: Dataset, *columns: str) -> Dataset:
    empty = [pl.lit(None, dtype=log.events[c].dtype).alias(c) for c in columns]
    return replace(log, events=log.events.with_columns(empty))


@pytest.fixture(scope="module")
def examples() -> list[LabelledLog]:
    train = taste_log(users=80)
    threat = ThreatModel(
        surface="profiles", goal=Promote(items=("i57",)),
        budget=Budget(profiles=6, profile_events=12),
    )  # fmt: skip
    return [labelled(train, play_profiles(AverageProfiles(), threat, train, target="i57"))]


def test_a_column_counts_where_some_event_of_each_log_has_it() -> None:
    log = taste_log(users=20)
    holes = log.events.with_columns(
        rating=pl.when(pl.int_range(pl.len()) > 0).then(pl.col("rating"))
    )
    assert columns_of([log]) == ("rating", "time")
    assert columns_of([log, replace(log, events=holes)]) == ("rating", "time")
    assert columns_of([log, without(log, "time")]) == ("rating",)
    assert columns_of([without(log, "rating", "time")]) == ()
    assert columns_of([]) == ()


@pytest.mark.parametrize("spec", [LogisticDetector(), TwoStage(base=LogisticDetector())])
def test_kept_detectors_remember(spec: Any, examples: list[LabelledLog], tmp_path: Path) -> None:
    log = examples[0].dataset
    spec.fit(examples, RunContext(seed=1)).save(tmp_path / "all")
    fitted = load_detector(tmp_path / "all")
    comparable(fitted, log)
    with pytest.raises(DataError, match="has no ratings, and the detector learned from logs with"):
        comparable(fitted, without(log, "rating"))
    bare = [replace(one, dataset=without(one.dataset, "rating", "time")) for one in examples]
    comparable(spec.fit(bare, RunContext(seed=1)), log)


def test_what_learned_nothing_or_does_not_know_is_not_asked(examples: list[LabelledLog]) -> None:
    log = without(examples[0].dataset, "rating", "time")
    comparable(Combined(), log)
    fitted = LogisticDetector().fit(examples, RunContext(seed=1))
    arrays = fitted.arrays()
    assert arrays.pop("columns").tolist() == ["rating", "time"]
    earlier = LogisticDetector().restore(arrays)
    assert earlier.columns == ()
    comparable(earlier, log)
    assert np.array_equal(earlier(log), fitted(log), equal_nan=True)
