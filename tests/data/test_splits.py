"""Splits let no future in, and a leaky split is caught (S0-18, S1-22, S1-24)."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from hardrank.data import EVENT_COLUMNS, Dataset, Holdout, Queries
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import (
    GlobalTemporal,
    LeaveOneOut,
    Split,
    Splitter,
    check_leaks,
    cold_split,
    hide_items,
)
from hardrank.errors import DataError, LeakError

Rows = list[tuple[int, int, int | None]]
SPLITTERS = (
    LeaveOneOut(),
    LeaveOneOut(dedupe="none", min_events=5),
    GlobalTemporal(),
    GlobalTemporal(targets="all", dedupe="none", valid_share=0.2, test_share=0.2),
)


def world(rows: Rows, users: int = 4, items: int = 8) -> Dataset:
    events = pl.DataFrame(
        [(u, i, t, None, 1.0) for u, i, t in rows], schema=EVENT_COLUMNS, orient="row"
    )
    return Dataset(
        name="toy",
        users=pl.DataFrame({"user_id": [f"u{n}" for n in range(users)]}),
        items=pl.DataFrame({"item_id": [f"i{n}" for n in range(items)], "title": [""] * items}),
        events=events.sort("user", "time", maintain_order=True),
    )


def train_rows(split: Split) -> list[tuple[int, int]]:
    return list(split.train.events.select("user", "item").iter_rows())


def held(part: Holdout) -> list[tuple[int, list[int], int]]:
    q = part.queries
    return [
        (int(q.users[n]), q.history(n).tolist(), int(part.targets[n])) for n in range(len(part))
    ]


def test_leave_one_out_by_hand() -> None:
    """S1-22, S0-18"""
    rows: Rows = [(0, i, 10 + i) for i in (1, 2, 3, 4)] + [(1, 5, 1), (1, 6, 2), (2, 7, 1)]
    split = LeaveOneOut().split(world(rows))
    assert held(split.test) == [(0, [1, 2, 3], 4)]
    assert held(split.valid) == [(0, [1, 2], 3)]
    assert train_rows(split) == [(0, 1), (0, 2), (1, 5), (1, 6), (2, 7)]
    assert split.train.notes == (
        "Leave-one-out: 2 users with fewer than 3 events stay wholly in training.",
    )
    assert split.cold.tolist() == []
    check_leaks(split)


def test_equal_timestamps_keep_file_order() -> None:
    split = LeaveOneOut().split(world([(0, i, 7) for i in (5, 3, 6, 1)]))
    assert held(split.test) == [(0, [5, 3, 6], 1)]
    check_leaks(split)


def test_events_out_of_order_are_put_in_order() -> None:
    data = world([(0, i, None) for i in (1, 2, 3)])
    shuffled = replace(data, events=data.events.with_columns(time=pl.Series([3, 1, 2])))
    assert held(LeaveOneOut().split(shuffled).test) == [(0, [2, 3], 1)]


def test_repeats_are_removed_first_kept() -> None:
    rows: Rows = [(0, i, t) for t, i in enumerate((1, 2, 1, 3, 4, 2))]
    split = LeaveOneOut().split(world(rows))
    assert held(split.test) == [(0, [1, 2, 3], 4)]
    assert "repeats of an item by a user removed, first kept" in split.protocol
    assert split.train.notes[0] == "2 repeated user-item events removed, first kept."


def test_repeats_kept_leave_out_targets_that_were_seen() -> None:
    rows: Rows = [(0, i, t) for t, i in enumerate((1, 2, 1, 3, 2))]
    split = LeaveOneOut(dedupe="none").split(world(rows))
    assert held(split.test) == []  # item 2 was seen
    assert held(split.valid) == [(0, [1, 2, 1], 3)]
    assert train_rows(split) == [(0, 1), (0, 2), (0, 1)]
    check_leaks(split)


def test_no_user_with_enough_events_is_an_error() -> None:
    with pytest.raises(DataError, match="no user has 3 events"):
        LeaveOneOut().split(world([(0, 1, 1), (0, 2, 2)]))


def test_global_temporal_by_hand() -> None:
    """S0-18, S1-24: ten events at times 0 to 9, cut at 6 and 8."""
    users = (0, 1, 0, 1, 0, 1, 0, 1, 2, 0)
    items = (0, 1, 2, 3, 4, 5, 6, 3, 7, 7)
    rows: Rows = [(u, i, t) for t, (u, i) in enumerate(zip(users, items, strict=True))]
    policy = GlobalTemporal(valid_share=0.2, test_share=0.2, dedupe="none")
    split = policy.split(world(rows))
    assert split.cut == 6
    assert sorted(train_rows(split)) == [(0, 0), (0, 2), (0, 4), (1, 1), (1, 3), (1, 5)]
    assert held(split.valid) == [(0, [0, 2, 4], 6)]  # user 1 only repeats item 3
    assert held(split.test) == [(0, [0, 2, 4, 6], 7)]  # user 2 has no history
    check_leaks(split)
    everyone = replace(policy, min_history=0).split(world(rows))
    assert held(everyone.test) == [(0, [0, 2, 4, 6], 7), (2, [], 7)]


def test_global_temporal_first_and_all() -> None:
    rows: Rows = [(0, i, 10 * i) for i in range(8)]
    first = GlobalTemporal(valid_share=0.25, test_share=0.25).split(world(rows))
    assert held(first.test) == [(0, [0, 1, 2, 3, 4, 5], 6)]
    every = GlobalTemporal(valid_share=0.25, test_share=0.25, targets="all").split(world(rows))
    assert held(every.test) == [(0, list(range(6)), 6), (0, list(range(7)), 7)]
    check_leaks(every)


@pytest.mark.parametrize(
    ("rows", "policy", "match"),
    [
        ([(0, 1, None), (0, 2, 5)], GlobalTemporal(), "needs the time of every event"),
        ([], GlobalTemporal(), "needs the time of every event"),
        ([(0, n, 5) for n in range(8)], GlobalTemporal(), "too few distinct times"),
        (
            [(0, n, n) for n in range(8)],
            GlobalTemporal(valid_share=0.5, test_share=0.5),
            "leave nothing to train on",
        ),
    ],
)
def test_global_temporal_says_why_it_cannot(rows: Rows, policy: GlobalTemporal, match: str) -> None:
    with pytest.raises(DataError, match=match):
        policy.split(world(rows))


def test_splitters_are_spelled_by_kind() -> None:
    parse = TypeAdapter(Splitter).validate_python
    assert parse({"kind": "leave-one-out", "min_events": 5}) == LeaveOneOut(min_events=5)
    assert parse({"kind": "global-temporal"}) == GlobalTemporal()
    for wrong in (
        {"kind": "leave-one-out", "min_events": 2},
        {"kind": "x"},
        {"kind": "leave-one-out", "k": 1},
    ):
        with pytest.raises(ValidationError):
            parse(wrong)


@st.composite
def logs(draw: st.DrawFn) -> Dataset:
    """About 100 random events with many repeats and many equal times."""
    seed = draw(st.integers(0, 2**32 - 1))
    span = draw(st.sampled_from([60, 200, 10_000]))
    rng = np.random.default_rng(seed)
    rows = zip(
        rng.integers(0, 9, 120).tolist(),
        rng.integers(0, 25, 120).tolist(),
        rng.integers(0, span, 120).tolist(),
        strict=True,
    )
    return world(list(rows), users=10, items=25)


@settings(max_examples=90, deadline=None)
@given(data=logs(), policy=st.sampled_from(SPLITTERS), share=st.sampled_from([0.0, 0.2]))
def test_no_future_event_in_any_history(data: Dataset, policy: LeaveOneOut, share: float) -> None:
    """S1-22, S1-24, S0-18: more than 10,000 random events; checked event by event here,
    independently of `check_leaks`, which must agree."""
    split = cold_split(data, policy, share, 1) if share else policy.split(data)
    times: dict[tuple[int, int], int] = {}
    for user, item, time in data.events.select("user", "item", "time").iter_rows():
        times.setdefault((user, item), time)  # the first time of the pair
    trained = set(train_rows(split))
    cold = set(split.cold.tolist())
    assert len(cold) == round(share * data.n_items)
    for part in (split.valid, split.test):
        for user, history, target in held(part):
            at = times[user, target]
            assert target not in history
            assert (user, target) not in trained
            assert all(times[user, item] <= at for item in history)
            assert all(times[u, i] <= at for u, i in trained if u == user)
            assert not cold & set(history)
    assert not cold & {item for _, item in trained}
    assert not {(u, t) for u, _, t in held(split.valid)} & {(u, t) for u, _, t in held(split.test)}
    if split.cut is not None:
        assert split.train.n_events == 0 or split.train.events["time"].max() < split.cut
    check_leaks(split)


@settings(max_examples=30, deadline=None)
@given(data=logs())
def test_leave_one_out_equals_its_slow_twin(data: Dataset) -> None:
    """S1-24: sizes and contents, from a loop over users."""
    train, valid, test = [], [], []
    for user in range(data.n_users):
        own = data.events.filter(pl.col("user") == user)["item"].to_list()
        own = list(dict.fromkeys(own))
        if len(own) >= 3:
            test.append((user, own[:-1], own[-1]))
            valid.append((user, own[:-2], own[-2]))
            own = own[:-2]
        train += [(user, item) for item in own]
    split = LeaveOneOut().split(data)
    assert train_rows(split) == train
    assert held(split.valid) == valid
    assert held(split.test) == test


@pytest.mark.parametrize("policy", SPLITTERS, ids=lambda p: f"{p.kind}-{p.dedupe}")
def test_splits_repeat(policy: LeaveOneOut) -> None:
    """S1-24: repeatable by seed; another seed hides other items."""
    data = Marketplace(users=150, items=120).load()
    one, two, other = (cold_split(data, policy, 0.1, seed) for seed in (4, 4, 5))
    assert one.train.fingerprint == two.train.fingerprint
    assert one.test.queries.fingerprint == two.test.queries.fingerprint
    assert one.cold.tolist() == two.cold.tolist() != other.cold.tolist()


def test_shares_of_the_global_cut_are_kept() -> None:
    """S1-24: sizes within 1 %."""
    data = Marketplace(seed=1).load()
    split = GlobalTemporal(valid_share=0.1, test_share=0.2, targets="all", min_history=0).split(
        data
    )
    for size, share in (
        (split.train.n_events, 0.7),
        (len(split.valid), 0.1),
        (len(split.test), 0.2),
    ):
        assert size / data.n_events == pytest.approx(share, abs=0.01)


def test_cold_items_are_hidden_from_training_and_histories() -> None:
    data = Marketplace(users=200, items=120).load()
    warm = LeaveOneOut().split(data)
    split = cold_split(data, LeaveOneOut(), 0.05, 0)
    assert len(split.cold) == 6
    assert split.train.counts[split.cold].sum() == 0
    assert split.train.n_items == data.n_items  # the catalogue keeps them
    assert split.test.targets.tolist() == warm.test.targets.tolist()  # test keeps every user
    assert not np.isin(split.valid.targets, split.cold).any()
    assert len(split.valid) == len(warm.valid) - np.isin(warm.valid.targets, split.cold).sum()
    for n in range(len(warm.test)):
        kept = [i for i in warm.test.queries.history(n) if i not in split.cold]
        assert split.test.queries.history(n).tolist() == kept
    assert "5% of items hidden from training (seed 0)" in split.protocol
    check_leaks(split)


def test_hide_items_reports_what_it_hid() -> None:
    data = Marketplace(users=50, items=100).load()
    left, cold = hide_items(data, 0.1, 3)
    assert len(cold) == 10
    assert left.n_events == data.n_events - data.counts[cold].sum()
    assert left.counts[cold].sum() == 0
    assert hide_items(data, 0.0, 3)[0].fingerprint == data.fingerprint


# planted leaks: user 0 touched items 1..5 at times 10..50, user 1 items 1..3
_ROWS: Rows = [(0, i, 10 * i) for i in range(1, 6)] + [(1, i, 10 * i) for i in range(1, 4)]


def planted() -> Split:
    return LeaveOneOut().split(world(_ROWS))


def caught(split: Split, match: str) -> None:
    with pytest.raises(LeakError, match=match):
        check_leaks(split)


def test_the_clean_split_passes() -> None:
    check_leaks(planted())


def test_a_target_in_training_is_caught() -> None:
    split = planted()
    assert split.source is not None
    caught(replace(split, train=split.source), "user 'u0', item 'i4': the held-out valid pair is")
    rows: Rows = [*_ROWS[:3], (0, 5, 50), _ROWS[5]]
    caught(replace(split, train=world(rows)), "user 'u0', item 'i5': the held-out test pair is")


def test_a_history_with_its_target_is_caught() -> None:
    split = planted()
    queries = Queries.of([[1, 2, 3, 4], [1, 3]], [0, 1])
    bad = replace(split, test=replace(split.test, queries=queries))
    caught(bad, "user 'u1', item 'i3': the test history contains its own target")


def test_a_history_with_a_later_event_is_caught() -> None:
    """S1-22"""
    split = planted()
    queries = Queries.of([[1, 2, 5], [1]], [0, 1])
    bad = replace(split, valid=replace(split.valid, queries=queries))
    caught(bad, "user 'u0', item 'i5': the valid history holds an event that is later")


def test_a_history_with_an_event_that_never_was_is_caught() -> None:
    split = planted()
    queries = Queries.of([[1, 2, 7], [1]], [0, 1])
    bad = replace(split, valid=replace(split.valid, queries=queries))
    caught(bad, "user 'u0', item 'i7': the valid history holds an unknown event")


def test_a_random_split_is_caught() -> None:
    """S1-24, E1-18: a random row split trains on the future of its own test events."""
    data = world(_ROWS)
    test = Holdout(queries=Queries.of([[1]], [0]), targets=np.array([2]))
    none = test.take(np.zeros(0, dtype=np.int64))
    train = data.where(~((pl.col("user") == 0) & (pl.col("item") == 2)))
    split = Split(train=train, valid=none, test=test, protocol="random", source=data)
    caught(split, "user 'u0', item 'i3': the training event is later than the user's held-out test")


def test_an_event_moved_in_time_is_caught() -> None:
    split = planted()
    late = split.train.events.with_columns(time=pl.lit(99, dtype=pl.Int64))
    bad = replace(split, train=replace(split.train, events=late))
    caught(bad, "the training event is later than the user's held-out valid event")


def test_training_after_the_cut_is_caught() -> None:
    rows: Rows = [(n % 2, n, n) for n in range(8)]
    split = GlobalTemporal(valid_share=0.25, test_share=0.25).split(world(rows))
    check_leaks(split)
    extra = world([*[r for r in rows if r[2] < 4], (3, 6, 6)])
    caught(replace(split, train=extra), "user 'u3', item 'i6': .* after the cut .unix time 4")


def test_a_cold_item_that_is_not_cold_is_caught() -> None:
    caught(replace(planted(), cold=np.array([2])), "item 'i2': the cold item has training events")
    split = planted()
    train = split.train.where(pl.col("item") != 1)
    caught(replace(split, train=train, cold=np.array([1])),
           "item 'i1': the cold item stands in a valid history")  # fmt: skip


def test_overlapping_holdouts_are_caught() -> None:
    split = planted()
    caught(replace(split, valid=split.test), "item 'i5': the pair is held out for validation and")


def test_without_a_source_only_the_order_is_not_checked() -> None:
    split = replace(planted(), source=None)
    check_leaks(split)
    caught(replace(split, valid=split.test), "held out for validation and for test")
