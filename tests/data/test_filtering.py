"""What the filters drop, what they leave alone, and what they write down."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.data import Dataset
from hardrank.data.filtering import (
    Detector,
    Filtered,
    down_weight,
    drop_events,
    drop_users,
    filtered,
)
from hardrank.data.leaks import check_leaks
from hardrank.data.splits import LeaveOneOut
from hardrank.errors import DataError
from hardrank.testing import dataset

DATA = dataset(["red", "blue", "old"], [[0, 1], [2], [], [1, 2, 0]])
REVIEWS = pl.DataFrame(
    {"user": [0, 1, 3], "item": [0, 2, 1], "text": ["good", "bad", "so so"]},
    schema_overrides={"user": pl.Int32, "item": pl.Int32},
)
SCORES = np.array([0.2, 0.9, np.nan, 0.9], np.float32)


def lengths(data: Dataset) -> list[int]:
    return np.diff(data.offsets).tolist()


def test_dropped_users_stay_in_the_table_without_events_or_reviews() -> None:
    data = replace(DATA, reviews=REVIEWS)
    out = drop_users(data, ["u3", "u1"]).dataset
    assert lengths(out) == [2, 0, 0, 0]
    assert out.users.equals(data.users) and out.items.equals(data.items)
    assert out.reviews is not None and out.reviews["text"].to_list() == ["good"]
    assert out.notes[-1] == "Filtering dropped 4 events of 2 users before training."
    mask = np.array([False, True, False, True])
    assert drop_users(data, mask).dataset.fingerprint == out.fingerprint


def test_dropped_events_leave_the_rest_of_a_history_in_order() -> None:
    flagged = np.array([False, True, False, False, True, False])
    out = drop_events(replace(DATA, reviews=REVIEWS), flagged)
    assert out.dataset.event_items.tolist() == [0, 2, 1, 0]
    assert out.dataset.reviews is not None and out.dataset.reviews.height == 3
    assert out.record.select("user_id", "item_id").rows() == [("u0", "b"), ("u3", "c")]
    assert out.record["action"].to_list() == ["dropped"] * 2
    assert out.record["weight"].to_list() == [0.0] * 2


def test_nothing_flagged_changes_nothing() -> None:
    for out in (drop_users(DATA, []), drop_events(DATA, np.zeros(6, bool))):
        assert out.dataset is DATA and out.record.height == 0
    same = down_weight(DATA, np.ones(4, np.float32))
    assert same.dataset.fingerprint == DATA.fingerprint and not same.dataset.notes


def test_weights_are_multiplied_and_zeros_dropped() -> None:
    half = DATA.events.with_columns(weight=pl.lit(0.5, pl.Float32))
    out = down_weight(replace(DATA, events=half), np.array([0.5, 0, 1, 1], np.float32))
    assert out.dataset.events["weight"].to_list() == [0.25, 0.25, 0.5, 0.5, 0.5]
    assert lengths(out.dataset) == [2, 0, 0, 3]
    assert out.record.select("action", "user_id", "weight").rows() == [
        ("dropped", "u1", 0.0),
        ("down-weighted", "u0", 0.25),
        ("down-weighted", "u0", 0.25),
    ]
    assert out.dataset.notes == (
        "Filtering dropped 1 events of 1 users before training.",
        "2 events count less, as their users are trusted less.",
    )


def test_a_share_is_of_the_judged_and_ties_go_to_the_first() -> None:
    """Three are judged: a third is one user, u1, who stands before u3."""
    out = filtered(DATA, SCORES, share=1 / 3)
    assert lengths(out.dataset) == [2, 0, 0, 3]
    assert out.record["score"].to_list() == pytest.approx([0.9])
    assert lengths(filtered(DATA, SCORES, share=0.6).dataset) == [2, 0, 0, 3]
    assert lengths(filtered(DATA, SCORES, share=1.0).dataset) == [0, 0, 0, 0]
    assert filtered(DATA, SCORES, share=0.0).dataset is DATA


def test_a_threshold_is_exceeded_and_strangers_stay() -> None:
    assert lengths(filtered(DATA, SCORES, threshold=0.5).dataset) == [2, 0, 0, 0]
    assert filtered(DATA, SCORES, threshold=float(SCORES[1])).dataset is DATA
    assert lengths(filtered(DATA, SCORES, threshold=-1).dataset) == [0, 0, 0, 0]


def test_a_detector_finds_planted_fraud() -> None:
    """Anybody's function will do: here the share of a user's events on one item."""

    def hype(data: Dataset) -> np.ndarray:
        users = data.events["user"].to_numpy()
        hits = np.bincount(users[data.event_items == 2], minlength=data.n_users)
        n = np.diff(data.offsets)
        return np.where(n > 0, hits / np.maximum(n, 1), np.nan).astype(np.float32)

    detector: Detector = hype
    out = filtered(DATA, detector(DATA), threshold=0.5)
    assert out.record["user_id"].to_list() == ["u1"]


def test_a_test_split_made_before_still_fits() -> None:
    rng = np.random.default_rng(0)
    data = dataset(
        [f"t{n}" for n in range(12)],
        [rng.choice(12, size=6, replace=False).tolist() for _ in range(20)],
    )
    split = LeaveOneOut().split(data)
    scores = rng.random(20).astype(np.float32)
    kept = replace(split, train=filtered(split.train, scores, share=0.2).dataset)
    check_leaks(kept)
    assert kept.test is split.test and kept.train.n_users == split.train.n_users
    assert (np.diff(kept.train.offsets) == 0).sum() == 4


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_kept_and_recorded_events_are_all_events(flags: list[bool]) -> None:
    out = drop_events(DATA, np.array(flags))
    kept = out.dataset.events.select("user", "item").rows()
    ids = dict(enumerate(DATA.users["user_id"])), dict(enumerate(DATA.items["item_id"]))
    named = [(ids[0][u], ids[1][i]) for u, i in kept]
    gone = out.record.select("user_id", "item_id").rows()
    whole = [(ids[0][u], ids[1][i]) for u, i in DATA.events.select("user", "item").rows()]
    assert sorted(named + gone) == sorted(whole)


def test_the_record_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dropped.jsonl"
    filtered(DATA, SCORES, threshold=0.5).save(path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {
        "action": "dropped", "user_id": "u1", "item_id": "c", "time": 0, "weight": 0.0,
        "score": pytest.approx(0.9),
    }  # fmt: skip
    assert len(lines) == 4
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", _full)
    with pytest.raises(OSError, match="full"):
        drop_users(DATA, ["u0"]).save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


WRONG: list[tuple[Callable[[], Filtered], str]] = [
    (lambda: drop_users(DATA, ["u9"]), "no user 'u9'"),
    (lambda: drop_users(DATA, np.zeros(3, bool)), "a mask of 4, one for each user"),
    (lambda: drop_users(DATA, np.zeros(4)), "a mask of 4"),  # type: ignore[arg-type]
    (lambda: drop_events(DATA, np.zeros(4, bool)), "a mask of 6, one for each event"),
    (lambda: down_weight(DATA, np.array([1, 1, 1, 1.5], np.float32)), r"4 weights in \[0, 1\]"),
    (lambda: down_weight(DATA, np.full(4, np.nan, np.float32)), r"4 weights in \[0, 1\]"),
    (lambda: filtered(DATA, SCORES), "a share or a threshold"),
    (lambda: filtered(DATA, SCORES, share=0.1, threshold=0.1), "one of the two"),
    (lambda: filtered(DATA, SCORES[:3], share=0.1), "expected 4 scores"),
    (lambda: filtered(DATA, SCORES, share=1.1), r"in \[0, 1\] \(is 1.1\)"),
]


@pytest.mark.parametrize(("wrong", "problem"), WRONG)
def test_mistakes_are_named(wrong: Callable[[], Filtered], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        wrong()


def _full(_: int) -> None:
    raise OSError("disk full")
