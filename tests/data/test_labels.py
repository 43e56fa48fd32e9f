"""Label policies: what a rating and a kind of event say (S3-35)."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hardrank.data import EVENT_COLUMNS, Dataset
from hardrank.data.labels import GRADES, LabelPolicy, apply
from hardrank.errors import DataError


def world(rows: list[tuple[int, int, float | None, str | None]], kinds: bool = True) -> Dataset:
    """Rows (user, item, rating, event), one second apart."""
    events = pl.DataFrame(
        [(u, i, n, r, 1.0, k) for n, (u, i, r, k) in enumerate(rows)],
        schema={**EVENT_COLUMNS, "event": pl.Utf8()},
        orient="row",
    ).sort("user", "time")
    return Dataset(
        name="toy",
        users=pl.DataFrame({"user_id": ["ann", "bob"]}),
        items=pl.DataFrame({"item_id": ["x", "y", "z"], "title": ["", "", ""]}),
        events=events if kinds else events.drop("event"),
    )


def rows(data: Dataset, *columns: str) -> list[tuple[Any, ...]]:
    return list(data.events.select(columns).iter_rows())


def test_view_then_buy_becomes_one_once() -> None:
    """S3-35"""
    data = world([(0, 0, None, "view"), (0, 0, None, "buy"), (0, 0, None, "view")])
    for evidence in ("graded", "literal"):
        out = apply(LabelPolicy(evidence=evidence), data)
        assert rows(out, "user", "item", "time", "weight") == [(0, 0, 1, 1.0)]


def test_graded_evidence_by_kind() -> None:
    """S3-35: view < click < comment < share < cart < buy."""
    assert list(GRADES) == ["view", "click", "comment", "share", "cart", "buy"]
    assert list(GRADES.values()) == sorted(GRADES.values())
    data = world([(0, 0, None, "view"), (0, 1, None, "cart"), (1, 1, None, "buy")])
    out = apply(LabelPolicy(), data)
    assert [round(w, 6) for w in out.events["weight"]] == [0.1, 0.6, 1.0]
    assert out.events.schema["weight"] == pl.Float32


def test_the_literal_rule_keeps_purchases_only() -> None:
    """S3-35: buy = 1, browse = 0, the rule taken at its word."""
    data = world([(0, 0, None, "view"), (0, 1, None, "buy"), (1, 2, None, "cart")])
    out = apply(LabelPolicy(evidence="literal"), data)
    assert rows(out, "user", "item", "weight") == [(0, 1, 1.0)]


def test_all_kinds_alike_keeps_the_first_of_a_pair() -> None:
    data = world([(0, 0, None, "view"), (0, 0, None, "buy"), (1, 2, None, "click")])
    out = apply(LabelPolicy(evidence="all"), data)
    assert rows(out, "item", "time", "weight") == [(0, 0, 1.0), (2, 2, 1.0)]


def test_an_event_without_a_kind_keeps_its_weight() -> None:
    out = apply(LabelPolicy(), world([(0, 0, None, None), (0, 0, None, "view")]))
    assert rows(out, "time", "weight") == [(0, 1.0)]


def test_of_contradicting_ratings_the_latest_holds() -> None:
    """S3-35, explicit feedback."""
    data = world([(0, 0, 5.0, None), (0, 0, 2.0, None), (0, 1, 1.0, None), (0, 1, 4.0, None)],
                 kinds=False)  # fmt: skip
    out = apply(LabelPolicy(positive=4), data)
    assert rows(out, "item", "time", "rating") == [(1, 3, 4.0)]
    assert out.notes == (
        "2 ratings removed because the user rated the item again later.",
        "A rating of 4 or more is positive; 1 removed.",
    )


def test_without_a_threshold_every_rating_counts() -> None:
    data = world([(0, 0, 1.0, None), (1, 0, 5.0, None)], kinds=False)
    assert apply(LabelPolicy(), data).fingerprint == data.fingerprint


def test_unrated_events_are_not_touched_by_the_threshold() -> None:
    data = world([(0, 0, None, None), (0, 0, None, None), (0, 1, 3.0, None)], kinds=False)
    out = apply(LabelPolicy(positive=4), data)
    assert rows(out, "item", "rating") == [(0, None), (0, None)]


def test_the_policy_is_written_into_the_data_card() -> None:
    """S3-35"""
    out = apply(LabelPolicy(), world([(0, 0, None, "view"), (0, 0, None, "buy")]))
    assert out.notes == (
        "Evidence by kind of event (graded): view 0.1, click 0.2, comment 0.4, share 0.5, "
        "cart 0.6, buy 1; 0 events of weight 0 removed.",
        "One event for each user and item, the strongest, then the earliest: 1 removed.",
    )


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(DataError, match=r"'event'.*unknown kind of event 'stare'.*buy"):
        apply(LabelPolicy(), world([(0, 0, None, "stare")]))
    own = LabelPolicy(grades={"stare": 0.3})
    assert apply(own, world([(0, 0, None, "stare")])).events["weight"][0] == pytest.approx(0.3)


def test_grades_are_shares() -> None:
    with pytest.raises(ValidationError):
        LabelPolicy(grades={"view": 1.5})


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1), st.integers(0, 2), st.none(), st.sampled_from([*GRADES, None])
        ),
        max_size=30,
    )
)
def test_strongest_wins_equals_its_slow_twin(events: list[tuple[int, int, None, str]]) -> None:
    out = apply(LabelPolicy(), world(list(events)))
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for n, (user, item, _, kind) in enumerate(events):
        weight = 1.0 if kind is None else GRADES[kind]
        if (user, item) not in best or weight > best[user, item][0]:
            best[user, item] = (weight, n)
    want = sorted((user, n, item, weight) for (user, item), (weight, n) in best.items())
    got = rows(out, "user", "time", "item", "weight")
    assert [g[:3] for g in got] == [w[:3] for w in want]
    assert [g[3] for g in got] == pytest.approx([w[3] for w in want])
