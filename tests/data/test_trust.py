"""Trust by id: its files, and the rule that makes it of a detector's probabilities."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.data.trust import read_trust, trust_of, trust_rows, write_trust
from hardrank.errors import DataError, SchemaError
from hardrank.testing import dataset

ODD = {"007": 0.25, "ann, 'x'\n\"y\"": 0.0, "张三": 1.0, "🦊": 0.5, "مرحبا": 0.125}
FIVE = dataset(["a"], [[0]] * 5)


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
@pytest.mark.parametrize("what", ["user", "item"])
def test_any_id_comes_back_from_any_format(tmp_path: Path, ending: str, what: str) -> None:
    path = tmp_path / f"trust.{ending}"
    write_trust(path, ODD, what=what)
    assert read_trust(path, what=what) == ODD


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_numbers_are_ids_as_they_are_spelt(tmp_path: Path, ending: str) -> None:
    trust = {"007": 0.25, "7": 1.0, "7.0": 0.5}
    write_trust(tmp_path / f"t.{ending}", trust, what="user")
    assert read_trust(tmp_path / f"t.{ending}", what="user") == trust


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_nobody_in_particular_is_a_file_too(tmp_path: Path, ending: str) -> None:
    write_trust(tmp_path / f"t.{ending}", {}, what="user")
    assert read_trust(tmp_path / f"t.{ending}", what="user") == {}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.csv", "user_id,weight\na,1\na,0\n", r"t\.csv.*field 'user_id': 'a' appears more"),
        ("t.csv", "user_id,weight\na,1.5\n", r"weight of 'a' is 1\.5; use \[0, 1\]"),
        ("t.csv", "user_id,weight\na,often\n", "weight of 'a' is no number"),
        ("t.csv", "user_id,weight\na,nan\n", "weight of 'a' is nan"),
        ("t.csv", "item_id,weight\na,1\n", r"no column 'user_id'; it has: item_id, weight"),
        ("t.csv", "user_id,trust\na,1\n", "no column 'weight'"),
        ("t.csv", "", "cannot be read"),
        ("t.json", '{"a": 1, "a": 0}', "'a' appears more than once"),
        ("t.json", '{"a": "high"}', "weight of 'a' is no number"),
        ("t.json", '{"a": true}', "weight of 'a' is no number"),
        ("t.json", '{"a": NaN}', "weight of 'a' is no number"),
        ("t.json", '[["a", 1]]', "not an object of id: weight"),
        ("t.json", '{"a":\n 1', r"t\.json, line 2: is not JSON"),
        ("t.parquet", "PAR0", "cannot be read"),
        ("t.txt", "a 1", r"unknown format; write \.parquet, \.csv"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, name: str, content: str, problem: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=problem):
        read_trust(tmp_path / name, what="user")


def test_missing_files_and_unknown_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_trust(tmp_path / "t.csv", what="user")
    with pytest.raises(DataError, match="unknown format"):
        write_trust(tmp_path / "t.xlsx", {}, what="user")
    with pytest.raises(SchemaError):
        write_trust(tmp_path / "t.csv", {"a": 1.0}, what="item")
        read_trust(tmp_path / "t.csv", what="user")


def test_unknown_users_weigh_one() -> None:
    rows = trust_rows({"b": 0.5, "gone": 0.0}, ["a", "b", "c"], what="user")
    assert rows.tolist() == [1, 0.5, 1] and rows.dtype == np.float32
    assert trust_rows({}, ["a"], what="user").tolist() == [1]


def test_weights_of_another_dataset_or_range_are_refused() -> None:
    with pytest.raises(DataError, match=r"none of the 2 user ids.*'x'.*such as 'a'"):
        trust_rows({"x": 0.5, "y": 1.0}, ["a"], what="user")
    with pytest.raises(DataError, match=r"item 'a' is 2"):
        trust_rows({"a": 2.0}, ["a"], what="item")
    with pytest.raises(DataError, match=r"item 'a' is nan"):
        trust_rows({"a": float("nan")}, ["a"], what="item")


def test_suspects_are_above_the_mean_and_weigh_one_minus_p() -> None:
    """Mean of the judged four: 0.325."""
    trust = trust_of(FIVE, np.array([0.1, 0.9, 0.2, 0.1, np.nan], np.float32))
    assert list(trust) == ["u0", "u1", "u2", "u3", "u4"]
    assert list(trust.values()) == pytest.approx([1, 0.1, 1, 1, 1])


def test_a_border_can_be_given() -> None:
    fraud = np.array([0.1, 0.9, 0.2, 0.3, 0.6], np.float32)
    with pytest.raises(DataError, match=r"2 of 5 users are above 0\.42.*higher `above`"):
        trust_of(FIVE, fraud)
    assert list(trust_of(FIVE, fraud, above=0.8).values()) == pytest.approx([1, 0.1, 1, 1, 1])


def test_a_third_is_too_many_suspects() -> None:
    six = dataset(["a"], [[0]] * 6)
    with pytest.raises(DataError, match="2 of 6 users"):
        trust_of(six, np.array([0.9, 0.9, 0, 0, 0, 0], np.float32))


def test_nobody_judged_is_nobody_distrusted() -> None:
    assert set(trust_of(FIVE, np.full(5, np.nan, np.float32)).values()) == {1.0}
    assert set(trust_of(FIVE, np.full(5, 0.7, np.float32)).values()) == {1.0}


@pytest.mark.parametrize("wrong", [[0.1] * 4, [0.1, 0.2, 0.3, 0.4, 1.5], [-0.1, 0, 0, 0, 0]])
def test_other_than_probabilities_of_all_users_are_refused(wrong: list[float]) -> None:
    with pytest.raises(DataError, match="expected 5 probabilities"):
        trust_of(FIVE, np.array(wrong, np.float32))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.floats(0, 1))
def test_trust_never_rises_with_suspicion(fraud: list[float], above: float) -> None:
    try:
        trust = list(trust_of(FIVE, np.array(fraud), above=above).values())
    except DataError:
        assert sum(p > above for p in fraud) >= 2
        return
    assert all(0 <= t <= 1 for t in trust)
    order = np.argsort(fraud)
    assert (np.diff(np.array(trust)[order]) <= 0).all()
