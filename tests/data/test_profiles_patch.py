"""Fake users with ratings and times: into a log, to JSON and back."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardrank.data import AddProfile, Patch
from hardrank.errors import DataError
from hardrank.testing.logs import taste_log

LOG = taste_log(users=10, items=8, events=3)
LAST = int(LOG.events["time"].max())  # type: ignore[arg-type]
FULL = AddProfile("x", ("i7", "i2"), (5.0, 1.5), (100, 200))
BARE = AddProfile("y", ("i0",))


def test_fake_users_stand_after_the_real_ones() -> None:
    after = LOG.apply(Patch((FULL, BARE)))
    assert after.n_users == 12 and after.users["user_id"].to_list()[10:] == ["x", "y"]
    assert after.events[: LOG.n_events].equals(LOG.events)
    rows = after.events[LOG.n_events :].rows()
    assert rows == [(10, 7, 100, 5.0, 1.0), (10, 2, 200, 1.5, 1.0), (11, 0, LAST, None, 1.0)]
    assert np.diff(after.offsets)[10:].tolist() == [2, 1]
    assert after.items.equals(LOG.items) and LOG.n_users == 10


def test_a_log_without_times_keeps_none() -> None:
    bare = taste_log(users=10, items=8, events=3, ratings=False, times=False)
    added = bare.apply(Patch((BARE,))).events[bare.n_events :]
    assert added.rows() == [(10, 0, None, None, 1.0)]


def test_attributes_of_real_users_are_unknown_of_fake_ones() -> None:
    users = LOG.users.with_columns(country=pl.lit("NZ"))
    log = type(LOG)(name="x", users=users, items=LOG.items, events=LOG.events)
    assert log.apply(Patch((BARE,))).users["country"].to_list() == ["NZ"] * 10 + [None]


def test_json_and_back() -> None:
    patch = Patch((FULL, BARE))
    rows = json.loads(json.dumps(patch.to_json()))
    assert rows == [
        {"kind": "add-profile", "user_id": "x", "item_ids": ["i7", "i2"], "ratings": [5.0, 1.5],
         "times": [100, 200]},
        {"kind": "add-profile", "user_id": "y", "item_ids": ["i0"]},
    ]  # fmt: skip
    assert Patch.from_json(rows) == patch


def test_files_from_before_ratings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text('{"user_id": "y", "item_ids": ["i0"], "kind": "add-profile"}\n', "utf-8")
    assert Patch.load(path) == Patch((BARE,))
    Patch((FULL,)).save(path)
    assert Patch.load(path) == Patch((FULL,))


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (AddProfile("x", ("i0", "i1"), (1.0,)), "'x' has 2 items, 1 ratings and 2 times"),
        (AddProfile("x", ("i0",), None, (1, 2)), "'x' has 1 items, 1 ratings and 2 times"),
        (AddProfile("x", ("i0", "i1"), None, (2, 1)), "the times of profile 'x' fall"),
        (AddProfile("x", ("i0", "what")), "unknown item 'what'"),
        (AddProfile("u3", ("i0",)), "id 'u3' appears more than once"),
    ],
)
def test_what_does_not_fit_is_said(profile: AddProfile, said: str) -> None:
    with pytest.raises(DataError, match=said):
        LOG.apply(Patch((profile,)))


def test_equal_times_are_no_fall() -> None:
    after = LOG.apply(Patch((AddProfile("x", ("i3", "i1"), None, (7, 7)),)))
    assert after.event_items[-2:].tolist() == [3, 1]


def test_only_a_wrong_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"kind": "add-profile", "user_id": "x", "item_ids": [], "stars": []}\n')
    with pytest.raises(DataError, match="line 1: not an edit"):
        Patch.load(path)
