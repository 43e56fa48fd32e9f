"""Cleaning: S3-36 on planted dirt, and every rule on a case worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hardrank.data import EVENT_COLUMNS, Dataset
from hardrank.data.cleaning import Cleaning, CleaningReport, clean
from hardrank.data.minhash import jaccard, near_duplicates, shingles
from hardrank.data.sources.marketplace import Marketplace
from hardrank.errors import DataError

_T = 1_600_000_000


def world(
    rows: list[tuple[int, int, int | None]], users: int = 4, titles: tuple[str, ...] = ("",) * 6
) -> Dataset:
    events = pl.DataFrame(
        [(u, i, t, None, 1.0) for u, i, t in rows], schema=EVENT_COLUMNS, orient="row"
    )
    return Dataset(
        name="toy",
        users=pl.DataFrame({"user_id": [f"u{n}" for n in range(users)]}),
        items=pl.DataFrame({"item_id": [f"i{n}" for n in range(len(titles))], "title": titles}),
        events=events.sort("user", "time", maintain_order=True),
    )


def added(data: Dataset, rows: pl.DataFrame) -> Dataset:
    events = pl.concat([data.events, rows.cast(dict(data.events.schema))])
    return replace(data, events=events.sort("user", "time", maintain_order=True))


def pairs(report: CleaningReport, table: str) -> set[tuple[object, ...]]:
    rows = report.removed.filter(pl.col("table") == table)
    return set(rows.select("user_id", "item_id", "time").iter_rows())


@pytest.fixture(scope="module")
def market() -> Dataset:
    return Marketplace(seed=3).load()


def test_a_clean_dataset_is_left_alone(market: Dataset) -> None:
    out, report = clean(market, Cleaning(), now=2_000_000_000)
    assert out.fingerprint == market.fingerprint
    assert report.removed.is_empty()
    assert out.notes[-1] == "Cleaning removed nothing."


def test_planted_duplicate_events_all_go_and_nothing_else(market: Dataset) -> None:
    """S3-36: 5 % exact duplicates, recall at least 95 %, false removal at most 1 %."""
    copies = market.events.sample(fraction=0.05, seed=1)
    out, report = clean(added(market, copies), Cleaning(), now=2_000_000_000)
    assert report.removed.height == copies.height
    assert out.fingerprint == market.fingerprint


def near_copies(texts: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    """5 % of the texts again, in other case and punctuation and with one word more."""
    chosen = np.random.default_rng(0).choice(len(texts), size=len(texts) // 20, replace=False)
    return [f"{texts[c].upper().replace(',', ' -')} new!" for c in chosen], chosen


def test_planted_near_duplicate_items_are_found_and_variants_stay(market: Dataset) -> None:
    """S3-36: all generated items differ (colour, style, brand), so any other find is false."""
    texts = market.texts(("title", "description"))
    copies, chosen = near_copies(texts)
    found = near_duplicates(texts + copies, 0.9)
    assert np.mean(found[len(texts) :] == chosen) >= 0.95
    assert np.mean(found[: len(texts)] != np.arange(len(texts))) <= 0.01


def test_planted_near_duplicates_of_real_titles_are_found(data_folder: Path) -> None:
    """S3-36 on real titles; some are twins already, so a copy may join its original's twin."""
    path = data_folder / "amazon-industrial-office/derived/Industrial_and_Scientific.items.jsonl"
    titles = [json.loads(line)["title"] for line in path.read_text("utf-8").splitlines()]
    titles = [t for t in titles if len(shingles(t, 1)) >= 10]
    copies, _ = near_copies(titles)
    found = near_duplicates(titles + copies, 0.9)[len(titles) :]
    assert np.mean(found < len(titles)) >= 0.95
    for copy, row in zip(copies, found, strict=True):
        if row < len(titles):
            assert jaccard(shingles(copy, 1), shingles(titles[row], 1)) >= 0.9


def test_planted_bursts_and_impossible_times_go(market: Dataset) -> None:
    """S3-36: 2 % anomalies of each kind, recall at least 90 %, false removal at most 1 %."""
    rng = np.random.default_rng(5)
    bots = rng.choice(market.n_users, size=24, replace=False)
    bot_rows = pl.DataFrame(
        {
            "user": np.repeat(bots, 30),
            "item": rng.integers(0, market.n_items, 720),
            "time": np.repeat(rng.integers(_T, _T + 10**6, 24), 30) + rng.integers(0, 60, 720),
            "rating": [None] * 720,
            "weight": np.ones(720),
        },
        schema_overrides=EVENT_COLUMNS,
    )
    broken = rng.choice(market.n_events, size=market.n_events // 50, replace=False)
    time = market.events["time"].to_list()
    for n, row in enumerate(broken):
        time[row] = (None, -5, 4_000_000_000)[n % 3]
    events = market.events.with_columns(time=pl.Series(time))
    dirty = added(replace(market, events=events), bot_rows)
    policy = Cleaning(burst=15, burst_seconds=60, duplicates=False)
    out, report = clean(dirty, policy, now=2_000_000_000)
    assert report.counts["event: impossible time"] == len(broken)
    assert set(report.removed.filter(pl.col("table") == "user")["user_id"]) == {
        f"user-{b:05}" for b in bots
    }
    assert out.n_users == market.n_users - 24
    assert out.events["time"].null_count() == 0


def test_odd_users_are_isolated(market: Dataset) -> None:
    """S3-36: 2 % of the users are steady bots; recall at least 90 %, false removal 1 % at most."""
    rng = np.random.default_rng(7)
    bots = rng.choice(market.n_users, size=24, replace=False)
    events = market.events.filter(~pl.col("user").is_in(bots.tolist()))
    item = rng.integers(0, 5, 24 * 150)  # five items, again and again, one a minute
    rows = pl.DataFrame(
        {
            "user": np.repeat(bots, 150),
            "item": item,
            "time": _T + 60 * np.tile(np.arange(150), 24),
            "rating": [None] * len(item),
            "weight": np.ones(len(item)),
        },
        schema_overrides=EVENT_COLUMNS,
    )
    dirty = added(replace(market, events=events), rows)
    _, report = clean(dirty, Cleaning(outliers=0.7), now=2_000_000_000)
    gone = set(report.removed.filter(pl.col("table") == "user")["user_id"])
    planted = {f"user-{b:05}" for b in bots}
    assert len(gone & planted) >= 0.9 * len(planted)
    assert len(gone - planted) <= 0.01 * (market.n_users - len(planted))


def test_burst_counts_both_ends_and_needs_more_than_the_limit() -> None:
    gaps = (30, 31)  # seconds, of user 0 and user 1
    steady = world([(u, n, _T + gaps[u] * n) for u in (0, 1) for n in range(3)])
    out, report = clean(steady, Cleaning(burst=2, burst_seconds=60))
    assert list(out.users["user_id"]) == ["u1", "u2", "u3"]  # 3 events in 60 s; 62 s is slow
    assert report.counts == {
        "event: more than 2 events in 60 s": 3,
        "user: more than 2 events in 60 s": 1,
    }
    assert clean(steady, Cleaning(burst=3, burst_seconds=60))[1].removed.is_empty()


def test_burst_does_not_reach_across_users() -> None:
    data = world([(u, u, _T) for u in range(4)])
    assert clean(data, Cleaning(burst=1))[1].removed.is_empty()


def test_a_log_without_any_time_is_not_impossible() -> None:
    data = world([(0, 1, None), (1, 2, None)])
    assert clean(data, Cleaning(), now=5)[0].n_events == 2
    some = world([(0, 1, None), (1, 2, _T)])
    assert pairs(clean(some, Cleaning())[1], "event") == {("u0", "i1", None)}


def test_twins_hand_over_their_events_and_reviews() -> None:
    titles = ("Red tent, large", "blue kettle", "RED tent (large)", "", "", "green mug")
    reviews = pl.DataFrame({"user": [0, 1], "item": [2, 5], "text": ["good", "bad"]})
    data = replace(world([(0, 2, 5 * _T), (0, 5, _T), (1, 0, _T)], titles=titles), reviews=reviews)
    out, report = clean(data, Cleaning(twins=1.0, impossible_times=False))
    assert list(out.items["item_id"]) == ["i0", "i1", "i3", "i4", "i5"]  # empty texts stay
    ids = out.items["item_id"].to_list()
    assert [ids[i] for i in out.event_items] == ["i5", "i0", "i0"]
    assert out.reviews is not None
    assert [ids[i] for i in out.reviews["item"]] == ["i0", "i5"]
    row = report.removed.row(0, named=True)
    assert (row["table"], row["item_id"], row["kept"], row["row"]) == ("item", "i2", "i0", 2)


def test_kcore_goes_on_until_nothing_is_sparse() -> None:
    # u3 leaves (1 event), so i3 has 1 event and leaves, so u2 has 1 event and leaves
    data = world(
        [(0, 0, 1), (0, 1, 2), (1, 0, 3), (1, 1, 4), (2, 0, 5), (2, 3, 6), (3, 3, 7)],
        titles=("a", "b", "c", "d"),
    )
    out, report = clean(data, Cleaning(kcore=2, impossible_times=False))
    assert list(out.users["user_id"]) == ["u0", "u1"]
    assert list(out.items["item_id"]) == ["i0", "i1"]
    assert out.event_items.tolist() == [0, 1, 0, 1]
    assert pairs(report, "event") == {("u2", "i0", 5), ("u2", "i3", 6), ("u3", "i3", 7)}


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=60), st.integers(1, 4))
def test_kcore_equals_its_slow_twin(rows: list[tuple[int, int]], k: int) -> None:
    data = world([(u, i, n) for n, (u, i) in enumerate(rows)], 8, tuple("abcdefgh"))
    left = [tuple(r) for r in data.events.select("user", "item", "time").iter_rows()]
    users, items = set(range(8)), set(range(8))
    while True:
        few_users = {u for u in users if sum(r[0] == u for r in left) < k}
        few_items = {i for i in items if sum(r[1] == i for r in left) < k}
        if not few_users | few_items:
            break
        users, items = users - few_users, items - few_items
        left = [r for r in left if r[0] in users and r[1] in items]
    policy = Cleaning(kcore=k, impossible_times=False, duplicates=False)
    if not items:
        with pytest.raises(DataError, match="no item"):
            clean(data, policy)
        return
    out, _ = clean(data, policy)
    assert set(out.users["user_id"]) == {f"u{u}" for u in users}
    assert set(out.items["item_id"]) == {f"i{i}" for i in items}
    assert out.events["time"].to_list() == [r[2] for r in left]


def test_no_row_is_lost_without_a_trace(market: Dataset, tmp_path: Path) -> None:
    out, report = clean(market, Cleaning(kcore=5), now=1_690_000_000)
    tables = report.removed.group_by("table").len()
    gone = dict(tables.iter_rows())
    assert out.n_events + gone["event"] == market.n_events
    assert out.n_users + gone["user"] == market.n_users
    assert out.n_items + gone["item"] == market.n_items
    assert not report.removed.select("table", "row").is_duplicated().any()
    report.save(tmp_path / "removed.jsonl")
    rows = [json.loads(n) for n in (tmp_path / "removed.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == report.removed.height
    assert all(None not in row.values() for row in rows)
    event = next(r for r in rows if r["table"] == "event")
    assert market.events["time"][event["row"]] == event["time"]


def test_shingles_and_jaccard_by_hand() -> None:
    assert shingles("The Red-Tent, red", 1) == {"the", "red", "tent"}
    assert shingles("The Red-Tent", 2) == {"the red", "red tent"}
    assert shingles("tent", 3) == {"tent"}
    assert shingles(" ,. ", 1) == frozenset()
    assert jaccard(frozenset("abc"), frozenset("bcd")) == 0.5
    assert jaccard(frozenset(), frozenset()) == 0.0


@given(st.lists(st.text(alphabet="abcd ", max_size=14), max_size=12))
def test_equal_texts_are_found_exactly(texts: list[str]) -> None:
    """At threshold 1 the answer is that of a dictionary of word sets."""
    first: dict[frozenset[str], int] = {}
    want = []
    for n, text in enumerate(texts):
        words = shingles(text, 1)
        want.append(first.setdefault(words, n) if words else n)
    assert near_duplicates(texts, 1.0).tolist() == want


def test_twins_of_twins_are_not_chained() -> None:
    words = list("abcdefghij")
    texts = [" ".join(words), " ".join([*words, "x"]), " ".join([*words, "x", "y"])]
    # 10/11 and 10/12 alike to the first; the third would be 11/12 alike to the second
    assert near_duplicates(texts, 0.9).tolist() == [0, 0, 2]
