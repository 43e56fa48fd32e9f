"""S3-02: the data card, with numbers a person can work out, and the check-up."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardrank.data import EVENT_COLUMNS, Dataset
from hardrank.data.card import card, deciles, tied_last_events
from hardrank.data.check import check
from hardrank.data.sources import Goodbooks, Marketplace, MovieLens, Table, guess
from hardrank.errors import DataError

FIXTURES = Path(__file__).parent / "fixtures"


def world(synthetic: bool = False) -> Dataset:
    """Three users; the last two events of u0 tie, u1's do not, u2 has one."""
    rows = [(0, 0, 10, 5.0, 1.0), (0, 1, 20, 4.0, 1.0), (0, 0, 20, 4.0, 0.5),
            (1, 1, 5, 5.0, 1.0), (1, 2, 86405, 1.0, 1.0), (2, 0, 7, 5.0, 1.0)]  # fmt: skip
    return Dataset(
        name="tiny",
        users=pl.DataFrame({"user_id": ["a", "b", "c"], "country": ["X", "X", None]}),
        items=pl.DataFrame({"item_id": ["1", "2", "3", "4"],
                            "title": ["red pen", "red pen", "a|b", ""]}),
        events=pl.DataFrame(rows, schema=EVENT_COLUMNS, orient="row"),
        synthetic=synthetic,
        notes=("2 rows quarantined: log.csv: rating is not a number",),
    )  # fmt: skip


def test_card_says_what_is_there() -> None:
    text = card(world())
    for line in (
        "# Data card: tiny",
        "| users | 3 |",
        "| items | 4 |",
        "| events | 6 |",
        "| distinct user-item pairs | 5 |",
        "| repeated events (same user and item) | 1 |",
        "| density | 41.6667% |",
        "| items without events | 1 |",
        "| users with one event | 1 |",
        "| 2.0 | 1 | 1.2 | 1.5 | 2 | 2.5 | 2.8 | 2.98 | 3 |",
        "| 1 (least active) | 1 | 1 | 1 | 16.7% |",
        "| 3 | 1 | 3 | 3 | 50.0% |",
        "| 1 (least popular) | 1 | 0 | 0 | 0.0% |",
        "| 4 | 1 | 3 | 3 | 50.0% |",
        "| first event | 1970-01-01 00:00 UTC |",
        "| last event | 1970-01-02 00:00 UTC |",
        "| users whose last two events tie | 50.0% |",
        "| 4 | 2 | 33.3% |",
        "| title | 25.0% | 2 | 1 | 6 | 2 | 2 |",
        "| country | 1 | 2 | X (2) |",
        "- 2 rows quarantined: log.csv: rating is not a number",
    ):
        assert line in text, line
    assert f"Fingerprint: `{world().fingerprint}`" in text
    assert "SYNTHETIC" not in text


def test_generated_data_is_marked_on_top() -> None:
    assert "**SYNTHETIC.**" in card(world(synthetic=True)).splitlines()[2]
    assert "SYNTHETIC" in card(Marketplace(users=30, items=60).load())


def test_card_without_times_ratings_or_events() -> None:
    data = Goodbooks(path=FIXTURES / "goodbooks").load()
    assert "No times" in card(data)
    empty = world().where(pl.lit(False))
    text = card(empty)
    assert "No times" in text and "No ratings" in text and "| events | 0 |" in text


def test_deciles_sum_to_everything() -> None:
    amounts = np.random.default_rng(0).zipf(1.5, 997).clip(max=500).astype(np.int64)
    rows = deciles(amounts)
    assert len(rows) == 10
    assert sum(r[0] for r in rows) == 997 and sum(r[3] for r in rows) == amounts.sum()
    assert max(r[0] for r in rows) - min(r[0] for r in rows) <= 1
    assert sum(r[4] for r in rows) == pytest.approx(1)
    assert all(a[2] <= b[1] for a, b in pairwise(rows))


def test_tied_last_events() -> None:
    assert tied_last_events(world()) == 0.5
    assert tied_last_events(Goodbooks(path=FIXTURES / "goodbooks").load()) == 0.0


def test_movielens_ties(data_folder: Path) -> None:
    """Nearly half the last two events of MovieLens 100K are ties; a reader must know."""
    data = MovieLens(path=data_folder / "ml-100k/raw").load()
    assert "| users whose last two events tie | 44.0% |" in card(data)


def test_check_of_good_data_is_ok() -> None:
    found = check(FIXTURES / "movielens-100k")
    assert found.ok
    assert found.lines() == ["movielens-100k: 5 users, 4 items, 20 events; 0 bad rows"]
    assert check(Marketplace(users=30, items=60)).ok


def test_check_of_what_no_reader_fits(tmp_path: Path) -> None:
    found = check(tmp_path)
    assert not found.ok and found.dataset is None
    assert "looked for MovieLens 100K (u.data, u.item)" in found.fatal
    (tmp_path / "x.csv").write_text("colour,shape\nred,round\n")
    assert "kind = 'table'" in check(tmp_path / "x.csv").fatal
    assert "no such file" in check(tmp_path / "none").fatal


def test_check_counts_what_it_does_not_list(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,rating\n" + "u,i,x\n" * 30 + "u,i,3\n")
    lines = check(path).lines(limit=2)
    assert lines == [
        f"{path}, line 2: rating 'x' is not a number",
        f"{path}, line 3: rating 'x' is not a number",
        "28 more: log.csv: rating is not a number",
        "log: 1 users, 1 items, 1 events; 30 bad rows",
    ]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("movielens-1m", "movielens"), ("movielens-latest", "movielens"),
        ("goodbooks", "goodbooks"), ("mind", "mind"), ("recbole", "recbole"),
        ("amazon-2018.jsonl", "amazon-reviews"), ("amazon-2023.jsonl", "amazon-reviews"),
        ("sequences/log.txt", "sequences"), ("sequences/log.tsv", "sequences"),
        ("online-retail.csv", "online-retail"), ("tallrec.json", "tallrec"),
        ("movielens-100k/u.data", "movielens"), ("mind/behaviors.tsv", "mind"),
    ],
)  # fmt: skip
def test_guess(path: str, kind: str) -> None:
    assert guess(FIXTURES / path).kind == kind


def test_guess_of_a_table_names_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("UserID;ProductID;Date;Behavior\n1;2;2020-01-01;buy\n")
    source = guess(path)
    assert isinstance(source, Table)
    assert (source.columns.user, source.columns.item) == ("UserID", "ProductID")
    assert (source.columns.time, source.columns.event) == ("Date", "Behavior")
    assert source.load().n_events == 1
    with pytest.raises(DataError, match="no such file"):
        guess(tmp_path / "gone")
