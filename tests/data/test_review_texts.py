"""Edits that add reviews, and reviews as a text field of items."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from hardrank.data import AddProfile, AddReview, Dataset, Patch
from hardrank.data.review_texts import training_reviews, with_review_field
from hardrank.errors import DataError
from hardrank.testing.logs import taste_log
from hardrank.testing.reviews import reviewed_log


def _small(**columns: list[object]) -> Dataset:
    data = taste_log(users=6, items=6, events=2)
    kinds = {"user": pl.Int32(), "item": pl.Int32(), "time": pl.Int64(), "rating": pl.Float32()}
    table = pl.DataFrame(columns, schema_overrides={n: t for n, t in kinds.items() if n in columns})
    return replace(data, reviews=table)


def test_a_new_reviewer_becomes_a_user_without_events() -> None:
    data = reviewed_log()
    edits = (
        AddReview("u0", "i1", "known"),
        AddReview("x", "i1", "one", rating=5.0, time=7),
        AddReview("x", "i2", "two"),
    )
    after = data.apply(Patch(edits))
    assert data.reviews is not None and after.reviews is not None
    assert after.users["user_id"].to_list() == [*data.users["user_id"], "x"]
    assert after.events.equals(data.events)
    assert after.reviews[: data.reviews.height].equals(data.reviews)
    assert after.reviews[-3:].select("user", "item", "rating", "time", "text").rows() == [
        (0, 1, None, None, "known"),
        (data.n_users, 1, 5.0, 7, "one"),
        (data.n_users, 2, None, None, "two"),
    ]
    assert after.fingerprint != data.fingerprint


def test_a_profile_may_write_a_review_of_its_own() -> None:
    data = reviewed_log()
    patch = Patch((AddReview("x", "i1", "fine"), AddProfile("x", ("i1",), ratings=(5.0,))))
    after = data.apply(patch)
    assert after.n_users == data.n_users + 1
    assert after.reviews is not None and after.reviews["user"][-1] == data.n_users


def test_a_log_without_reviews_gets_a_table() -> None:
    after = taste_log().apply(Patch((AddReview("u1", "i2", "fine", rating=4.0),)))
    assert after.reviews is not None
    assert after.reviews.rows() == [(1, 2, "fine", 4.0, None)]


def test_other_text_columns_stay_empty_and_missing_ones_are_refused() -> None:
    data = _small(user=[0], item=[0], text=["a"], summary=["s"])
    after = data.apply(Patch((AddReview("u1", "i2", "b"),)))
    assert after.reviews is not None and after.reviews.rows()[-1] == (1, 2, "b", "")
    with pytest.raises(DataError, match="reviews have a rating, the data's have none"):
        data.apply(Patch((AddReview("u1", "i2", "b", rating=1.0),)))
    with pytest.raises(DataError, match="reviews item 'nothing'"):
        data.apply(Patch((AddReview("u1", "nothing", "b"),)))


def test_reviews_survive_the_file(tmp_path: Path) -> None:
    patch = Patch((AddReview("u", "i", "a\u2028b", rating=4.5, time=9), AddReview("v", "i", "c")))
    patch.save(tmp_path / "patch.jsonl")
    assert Patch.load(tmp_path / "patch.jsonl") == patch


def test_the_field_holds_the_newest_reviews_cut() -> None:
    data = _small(
        user=[0, 1, 2, 3, 4],
        item=[0, 0, 0, 0, 2],
        time=[5, 9, 9, None, 1],
        text=["a b c d", "e f", "g", "old", ""],
    )
    found = with_review_field(data, "said", most=3, words=3).items["said"].to_list()
    assert found == ["g e f a b c", "", "", "", "", ""], "equal times: the lower row is newer"
    every = with_review_field(data, most=9, words=9).items["reviews"][0]
    assert every == "g e f a b c d old"


def test_the_field_is_made_anew_after_a_patch() -> None:
    data = with_review_field(reviewed_log(), most=2, words=50)
    last = int(data.events["time"].max())  # type: ignore[arg-type]
    after = with_review_field(
        data.apply(Patch((AddReview("x", "i3", "brand new words", 5.0, last + 1),))),
        most=2, words=50,
    )  # fmt: skip
    assert str(after.items["reviews"][3]).startswith("brand new words ")
    others = [n for n in range(data.n_items) if n != 3]
    assert after.items["reviews"].gather(others).equals(data.items["reviews"].gather(others))


def test_wrong_fields_are_refused() -> None:
    with pytest.raises(DataError, match="has no reviews"):
        with_review_field(taste_log())
    for wrong in ({"name": "item_id"}, {"most": 0}, {"words": 0}):
        with pytest.raises(DataError, match="a name of its own"):
            with_review_field(reviewed_log(), **wrong)  # type: ignore[arg-type]


def test_reviews_of_held_out_events_are_left_out() -> None:
    data = reviewed_log()
    train = data.where(pl.col("time") < int(data.events["time"].median()))  # type: ignore[arg-type]
    kept = training_reviews(train).reviews
    assert kept is not None and 0 < kept.height == train.n_events < data.n_events
    assert set(kept.select("user", "item").rows()) == set(
        train.events.select("user", "item").rows()
    )
