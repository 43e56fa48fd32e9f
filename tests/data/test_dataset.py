"""The nouns: Dataset, Queries and Patch, with slow twins."""

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.data import (
    EVENT_COLUMNS,
    AddProfile,
    Dataset,
    Holdout,
    InsertEvent,
    Patch,
    Queries,
    RewriteItem,
    Slate,
    render,
)
from hardrank.errors import DataError, SchemaError


def events(*rows: tuple[int, int, int]) -> pl.DataFrame:
    full = [(u, i, t, None, 1.0) for u, i, t in rows]
    return pl.DataFrame(full, schema=EVENT_COLUMNS, orient="row")


def toy(**changes: Any) -> Dataset:
    parts: dict[str, Any] = {
        "name": "toy",
        "users": pl.DataFrame({"user_id": ["ann", "bob", "cem"]}),
        "items": pl.DataFrame(
            {
                "item_id": ["a", "b", "c", "d"],
                "title": ["Tent", "Mug", None, "Mat"],
                "brand": ["X", "", "Y", None],
            }
        ),
        "events": events((0, 0, 1), (0, 1, 2), (2, 3, 5)),
    }
    return Dataset(**{**parts, **changes})


# Dataset


def test_views_of_a_small_world() -> None:
    data = toy()
    assert (data.n_users, data.n_items, data.n_events) == (3, 4, 3)
    assert data.offsets.tolist() == [0, 2, 2, 3]
    assert data.counts.tolist() == [1, 1, 0, 1]
    assert data.user_rows == {"ann": 0, "bob": 1, "cem": 2}
    assert data.item_rows["d"] == 3
    histories = data.histories()
    assert [histories.history(u).tolist() for u in range(3)] == [[0, 1], [], [3]]


def test_nothing_changes_in_place() -> None:
    data = toy()
    before = data.fingerprint
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"  # type: ignore[misc]
    data.where(pl.col("user") == 0)
    data.noted("something")
    data.apply(
        Patch((RewriteItem("a", "Gun"), InsertEvent("bob", "a", 0), AddProfile("z", ("b",))))
    )
    assert toy().fingerprint == data.fingerprint == before
    assert data.notes == ()


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"users": pl.DataFrame({"id": ["ann"]})}, SchemaError, "no column 'user_id'"),
        ({"items": pl.DataFrame({"title": ["x"]})}, SchemaError, "no column 'item_id'"),
        ({"users": pl.DataFrame({"user_id": ["x", "y", "x"]})}, DataError, "id 'x' appears more"),
        ({"items": pl.DataFrame({"item_id": ["q", "q"]})}, DataError, "id 'q' appears more"),
        (
            {"items": pl.DataFrame(schema={"item_id": pl.Utf8(), "title": pl.Utf8()})},
            DataError,
            "toy: the catalogue is empty; check the item file",
        ),
        ({"events": events((0, 0, 1)).drop("weight")}, SchemaError, "column 'weight'"),
        (
            {"events": events((0, 0, 1)).with_columns(pl.col("time").cast(pl.Int32))},
            SchemaError,
            "column 'time' of Int64",
        ),
        ({"events": events((0, 4, 1))}, DataError, "the item table does not have"),
        ({"events": events((3, 0, 1))}, DataError, "the user table does not have"),
        ({"events": events((-1, 0, 1))}, DataError, "the user table does not have"),
        ({"events": events((1, 0, 1), (0, 0, 1))}, DataError, "not sorted by user"),
    ],
)
def test_a_wrong_world_is_refused(
    changes: dict[str, Any], error: type[DataError], match: str
) -> None:
    with pytest.raises(error, match=match):
        toy(**changes)


def test_a_world_without_events_stands() -> None:
    data = toy(events=events())
    assert data.offsets.tolist() == [0, 0, 0, 0]
    assert data.counts.tolist() == [0, 0, 0, 0]


def test_texts_join_the_fields_that_are_there() -> None:
    assert toy().texts(("title", "brand")) == ["Tent . X", "Mug", "Y", "Mat"]
    assert toy().texts() == ["Tent", "Mug", "", "Mat"]
    with pytest.raises(SchemaError, match="no field 'colour'; it has: item_id, title, brand"):
        render(toy().items, ("colour",))


def test_where_and_noted() -> None:
    data = toy().where(pl.col("time") > 1).noted("One.", "Two.")
    assert data.event_items.tolist() == [1, 3]
    assert (data.n_users, data.n_items) == (3, 4)
    assert data.notes == ("One.", "Two.")


# Fingerprint


def test_equal_data_equal_fingerprint() -> None:
    data = toy()
    assert data.fingerprint == toy(name="other", notes=("Said.",)).fingerprint
    turned = replace(data, items=data.items.select("brand", "title", "item_id"))
    assert turned.fingerprint == data.fingerprint  # the order of columns says nothing
    assert len(data.fingerprint) == 64


def _set(table: str, column: str, row: int, value: Any) -> Callable[[Dataset], Dataset]:
    def change(data: Dataset) -> Dataset:
        frame: pl.DataFrame = getattr(data, table)
        values = frame[column].to_list()
        values[row] = value
        made = frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))
        return replace(data, **{table: made})

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("users", "user_id", 0, "eve"),
        _set("items", "title", 0, "tent"),
        _set("items", "title", 2, ""),  # null is not the empty text
        _set("items", "brand", 1, None),
        _set("events", "item", 2, 0),
        _set("events", "time", 1, 3),
        _set("events", "time", 1, None),
        _set("events", "rating", 0, 0.0),  # nor is 0 unknown
        _set("events", "weight", 0, 0.5),
        lambda d: replace(d, events=d.events[:2]),
        lambda d: replace(d, users=d.users.with_columns(group=pl.lit("a"))),
        lambda d: replace(d, items=d.items.rename({"brand": "maker"})),
        lambda d: replace(d, reviews=pl.DataFrame({"user": [0], "item": [0], "text": ["ok"]})),
    ],
)
def test_any_change_changes_the_fingerprint(change: Callable[[Dataset], Dataset]) -> None:
    assert change(toy()).fingerprint != toy().fingerprint


def test_text_that_moves_between_cells_changes_the_fingerprint() -> None:
    def made(*titles: str) -> str:
        items = pl.DataFrame({"item_id": ["a", "b"], "title": titles})
        return toy(items=items, events=events()).fingerprint

    assert made("ab", "c") != made("a", "bc")
    assert made("a\x1fb", "c") != made("a", "b\x1fc")


def test_fingerprint_covers_lists_and_booleans() -> None:
    def made(tags: list[list[str]], sold: list[bool]) -> str:
        items = pl.DataFrame({"item_id": ["a", "b"], "tags": tags, "sold": sold})
        return toy(items=items, events=events()).fingerprint

    base = made([["x", "y"], []], [True, False])
    assert base == made([["x", "y"], []], [True, False])
    assert base != made([["x"], ["y"]], [True, False])
    assert base != made([["x", "y"], []], [False, False])


# Patches

ids = st.sampled_from("abcd")
edits = st.one_of(
    st.builds(RewriteItem, ids, st.text(max_size=8), st.sampled_from(["title", "brand"])),
    st.builds(InsertEvent, st.sampled_from(["ann", "bob", "cem"]), ids, st.integers(0, 5)),
)


@given(st.lists(edits, max_size=6), st.lists(st.lists(ids, max_size=3), max_size=3))
def test_patches_go_through_json(some: list[Any], profiles: list[list[str]]) -> None:
    added = tuple(AddProfile(f"fake-{n}", tuple(p)) for n, p in enumerate(profiles))
    patch = Patch((*some, *added))
    assert Patch.from_json(patch.to_json()) == patch


def test_patches_go_through_files(tmp_path: Path) -> None:
    texts = ("Zelt «neu»", "line\nbreak", "line\u2028separator", '"quoted"', "")
    patch = Patch((*(RewriteItem("a", t) for t in texts), AddProfile("z", ("a", "b"))))
    patch.save(tmp_path / "p.jsonl")
    assert Patch.load(tmp_path / "p.jsonl") == patch


@pytest.mark.parametrize(
    "line", ["{", '{"kind": "bomb"}', '{"item_id": "a"}', '{"kind": "rewrite-item", "x": 1}', "7"]
)
def test_a_line_that_is_no_edit_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"kind": "rewrite-item", "item_id": "a", "text": "t"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"p\.jsonl, line 2: not an edit"):
        Patch.load(path)


def test_patches_add_up_and_the_last_rewrite_counts() -> None:
    both = Patch((RewriteItem("a", "1"),)) + Patch((RewriteItem("a", "2"),))
    assert len(both) == 2
    assert both.rewrites() == {"a": RewriteItem("a", "2")}
    assert toy().apply(both).texts()[0] == "2"


def test_the_empty_patch_changes_nothing() -> None:
    assert toy().apply(Patch()).fingerprint == toy().fingerprint


def test_rewrites_touch_one_cell() -> None:
    out = toy().apply(Patch((RewriteItem("b", "Cup"), RewriteItem("c", "Z", "brand"))))
    assert out.items["title"].to_list() == ["Tent", "Cup", None, "Mat"]
    assert out.items["brand"].to_list() == ["X", "", "Z", None]
    assert out.events.equals(toy().events)


@pytest.mark.parametrize(
    ("position", "want"), [(0, [2, 0, 1]), (1, [0, 2, 1]), (2, [0, 1, 2]), (9, [0, 1, 2])]
)
def test_inserts_stand_at_their_position(position: int, want: list[int]) -> None:
    out = toy().apply(Patch((InsertEvent("ann", "c", position),)))
    assert out.histories().history(0).tolist() == want
    assert out.histories().history(2).tolist() == [3]
    times = out.events["time"].to_list()[:3]
    assert times == sorted(times)


def test_an_insert_into_an_empty_history() -> None:
    out = toy().apply(Patch((InsertEvent("bob", "c", 0),)))
    assert [out.histories().history(u).tolist() for u in range(3)] == [[0, 1], [2], [3]]


def test_profiles_are_new_users_at_the_end() -> None:
    out = toy().apply(Patch((AddProfile("f1", ("d", "a")), AddProfile("f2", ()))))
    assert out.users["user_id"].to_list() == ["ann", "bob", "cem", "f1", "f2"]
    assert [out.histories().history(u).tolist() for u in (2, 3, 4)] == [[3], [3, 0], []]
    assert out.events["time"].to_list()[-2:] == [5, 5]


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (RewriteItem("zz", "t"), "rewrites item 'zz'"),
        (RewriteItem("a", "t", "colour"), "no field 'colour'"),
        (InsertEvent("nobody", "a", 0), "'nobody' or 'a'"),
        (InsertEvent("ann", "zz", 0), "'ann' or 'zz'"),
        (AddProfile("f", ("a", "zz")), "unknown item 'zz'"),
        (AddProfile("ann", ("a",)), "id 'ann' appears more than once"),
    ],
)
def test_a_patch_of_another_world_is_refused(edit: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        toy().apply(Patch((edit,)))


# Queries

histories = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6)


@given(histories, st.data())
def test_take_equals_its_slow_twin(some: list[list[int]], draw: st.DataObject) -> None:
    queries = Queries.of(some, range(100, 100 + len(some)))
    rows = draw.draw(st.lists(st.integers(0, len(some) - 1), max_size=8)) if some else []
    out = queries.take(np.array(rows, dtype=np.int64))
    assert [out.history(n).tolist() for n in range(len(out))] == [some[r] for r in rows]
    assert out.users.tolist() == [100 + r for r in rows]
    assert (
        out.fingerprint == Queries.of([some[r] for r in rows], [100 + r for r in rows]).fingerprint
    )


@given(histories, st.integers(1, 8))
def test_padded_equals_its_slow_twin(some: list[list[int]], length: int) -> None:
    out = Queries.of(some).padded(length, -7)
    assert out.shape == (len(some), length)
    for row, history in zip(out.tolist(), some, strict=True):
        last = history[-length:]
        assert row == last + [-7] * (length - len(last))


@given(histories)
def test_owners_and_lengths_equal_their_slow_twins(some: list[list[int]]) -> None:
    queries = Queries.of(some)
    assert queries.lengths.tolist() == [len(h) for h in some]
    assert queries.owners.tolist() == [n for n, h in enumerate(some) for _ in h]
    assert queries.users.tolist() == [-1] * len(some)


def test_fingerprints_of_queries_tell_where_a_history_ends() -> None:
    assert Queries.of([[1], [2]]).fingerprint != Queries.of([[1, 2], []]).fingerprint
    assert Queries.of([[1]]).fingerprint == Queries.of([[1]]).fingerprint
    assert Queries.of([[1]], [3]).fingerprint != Queries.of([[1]]).fingerprint


def test_holdouts_and_slates() -> None:
    held = Holdout(queries=Queries.of([[1], [2, 3], []]), targets=np.array([7, 8, 9]))
    out = held.take(np.array([1, 0]))
    assert out.targets.tolist() == [8, 7]
    assert out.queries.history(0).tolist() == [2, 3]
    assert len(held) == 3
    assert len(Slate(items=np.array([4, 4]), texts=("x", "y"))) == 2
