"""S3-34: bad rows are named by file, line, field and reason; good rows survive."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hardrank.data import Dataset
from hardrank.data.check import check
from hardrank.data.sources import (
    AmazonReviews,
    Columns,
    Goodbooks,
    Mind,
    MovieLens,
    OnlineRetail,
    RecBole,
    Sequences,
    Table,
    TallRec,
)
from hardrank.errors import DataError, SchemaError

FIXTURES = Path(__file__).parent / "fixtures"
ROWS = [f"u{n % 4},i{n % 5},{n % 5 + 1},{1_600_000_000 + n}" for n in range(40)]
COLUMNS = Columns(user="user", item="item", rating="rating", time="time")


def log(folder: Path, *, rows: list[str] = ROWS, head: str = "user,item,rating,time") -> Path:
    path = folder / "log.csv"
    path.write_text("\n".join([head, *rows]) + "\n", "utf-8")
    return path


def spoilt(folder: Path, row: str, at: int = 15) -> Path:
    """A log whose line `at + 2` is `row` (line 1 is the header)."""
    return log(folder, rows=[*ROWS[:at], row, *ROWS[at + 1 :]])


def load(path: Path, **options: Any) -> Dataset:
    return Table(path=path, columns=COLUMNS, **options).load()


@pytest.mark.parametrize(
    ("row", "field", "value", "problem"),
    [
        ("u1,i1,x,1600000000", "rating", "x", "is not a number"),
        ("u1,i1,NaN,1600000000", "rating", "NaN", "is not finite"),
        ("u1,i1,inf,1600000000", "rating", "inf", "is not finite"),
        ("u1,i1,1e400,1600000000", "rating", "1e400", "is not finite"),
        ("u1,i1,3,soon", "time", "soon", "is not a time (seconds)"),
        ("u1,i1,3,-5", "time", "-5", "is a time outside 1970..2100"),
        ("u1,i1,3,NaN", "time", "NaN", "is a time outside 1970..2100"),
        ("u1,i1,3,1600000000000", "time", "1600000000000", "is a time outside 1970..2100"),
        ("u1,i1,3,1e300", "time", "1e300", "is a time outside 1970..2100"),
        (",i1,3,1600000000", "user", "", "is missing"),
        ("u1, ,3,1600000000", "item", " ", "is missing"),
        ("u1", "item", "", "is missing"),
        ("u1,i1,3,1600000000,9", "", "", "has 5 fields, 4 expected"),
        ('u1,"i1\nx",no,1600000000', "rating", "no", "is not a number"),
    ],
)
def test_a_bad_row_is_named_and_kept_aside(
    tmp_path: Path, row: str, field: str, value: str, problem: str
) -> None:
    path = spoilt(tmp_path, row)
    data = load(path, quarantine=tmp_path / "aside")
    assert data.n_events == 39
    kept = (tmp_path / "aside" / "quarantine.jsonl").read_text("utf-8").splitlines()
    assert len(kept) == 1
    bad = json.loads(kept[0])
    assert bad["file"] == str(path)
    assert (bad["line"], bad["field"], bad["value"], bad["problem"]) == (17, field, value, problem)
    assert data.notes == (f"1 row quarantined: log.csv: {field or 'row'} {problem}",)


def test_lines_after_a_quoted_newline_are_counted_right(tmp_path: Path) -> None:
    rows = [*ROWS]
    rows[3] = 'u1,"i\n1",3,1600000000'  # spans two lines
    rows[20] = "u1,i1,x,1600000000"
    found = check(Table(path=log(tmp_path, rows=rows), columns=COLUMNS))
    assert [row.line for row in found.rows] == [23]
    assert found.dataset is not None and "i\n1" in found.dataset.item_rows


def test_a_good_file_leaves_no_quarantine_behind(tmp_path: Path) -> None:
    load(spoilt(tmp_path, "u1,i1,x,1"), quarantine=tmp_path)
    assert (tmp_path / "quarantine.jsonl").exists()
    assert load(log(tmp_path), quarantine=tmp_path).notes == ()
    assert not (tmp_path / "quarantine.jsonl").exists()


def test_too_many_bad_rows_refuse_the_file_and_still_keep_them(tmp_path: Path) -> None:
    rows = [r.replace(",1600", ",x1600") if n % 5 == 0 else r for n, r in enumerate(ROWS)]
    path = log(tmp_path, rows=rows)
    with pytest.raises(DataError, match=r"line 2, .*8 of 40 rows are bad.*max_bad = 0\.1"):
        load(path, quarantine=tmp_path)
    assert len((tmp_path / "quarantine.jsonl").read_text().splitlines()) == 8
    assert load(path, max_bad=0.2).n_events == 32


def test_missing_column(tmp_path: Path) -> None:
    path = log(tmp_path, head="user,item,stars,time")
    with pytest.raises(SchemaError, match=r"no column 'rating'; it has: user, item, stars, time"):
        load(path)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="two columns have the same name"):
        load(log(tmp_path, head="user,item,item,time"))


@pytest.mark.parametrize(
    ("written", "tried", "text"), [("latin-1", "latin-1", "Café"), ("gbk", "gbk", "茶杯")]
)
def test_wrong_encoding_names_the_line_and_the_option(
    tmp_path: Path, written: str, tried: str, text: str
) -> None:
    rows = [*ROWS]
    rows[7] = f"u1,{text},3,1600000000"
    path = tmp_path / "log.csv"
    path.write_bytes("\n".join(["user,item,rating,time", *rows]).encode(written))
    with pytest.raises(DataError, match=rf"log\.csv, line 9: .*is not utf-8.*encoding = '{tried}'"):
        load(path)
    assert text in load(path, encoding=written).item_rows


def test_unknown_encoding_is_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="unknown encoding 'utf-9'"):
        Table(path=Path("log.csv"), encoding="utf-9")


def test_open_quote_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"log\.csv, line 17: cannot be read"):
        load(spoilt(tmp_path, 'u1,"i1,3,1600000000'))


@pytest.mark.parametrize("line", ['{"reviewerID": "A1", "asin":', "[1, 2]", "nonsense", "3"])
def test_broken_json_line(tmp_path: Path, line: str) -> None:
    lines = (FIXTURES / "amazon-2018.jsonl").read_text("utf-8").splitlines()
    path = tmp_path / "reviews.json"
    path.write_text("\n".join([*lines[:12], line, *lines[12:]]), "utf-8")
    found = check(AmazonReviews(path=path))
    assert found.dataset is not None and found.dataset.n_events == 20
    assert [(row.line, row.row) for row in found.rows] == [(13, line)]
    assert "is not" in found.rows[0].problem


def test_a_careful_read_gives_the_same_data_as_a_fast_one(tmp_path: Path) -> None:
    text = (FIXTURES / "amazon-2018.jsonl").read_text("utf-8")
    path = tmp_path / "amazon-2018.jsonl"
    path.write_text(text + "{broken\n", "utf-8")
    fast = AmazonReviews(path=FIXTURES / "amazon-2018.jsonl").load()
    assert AmazonReviews(path=path).load().fingerprint == fast.fingerprint


def test_json_without_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "reviews.json"
    path.write_text('{"reviewerID": "A", "asin": "B", "unixReviewTime": 5}\n')
    with pytest.raises(SchemaError, match=r"no key 'overall'; it has: reviewerID, asin"):
        AmazonReviews(path=path).load()
    path.write_text('{"who": 1}\n')
    with pytest.raises(SchemaError, match="no Amazon review: keys are who"):
        AmazonReviews(path=path).load()


def test_repeated_id_in_the_item_file_keeps_the_first(tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\n" + "".join(f"i{n},T{n}\n" for n in range(12)) + "i3,Other\n")
    found = check(Table(path=log(tmp_path), columns=COLUMNS, items=items))
    assert found.dataset is not None and found.dataset.n_items == 12
    assert found.dataset.items["title"][3] == "T3"
    assert str(found.rows[0]) == (
        f"{items}, line 14: item_id 'i3' appears again; the first row is kept"
    )


def test_empty_catalogue(tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\n")
    with pytest.raises(DataError, match=r"items\.csv: the catalogue is empty"):
        load(log(tmp_path), items=items, max_bad=1.0)
    with pytest.raises(DataError, match="the catalogue is empty"):
        load(log(tmp_path, rows=[]))
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(DataError, match="empty"):
        load(empty)


def test_unknown_item_in_the_log(tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\n" + "".join(f"i{n},T{n}\n" for n in range(5)))
    path = spoilt(tmp_path, "u1,mystery,3,1600000000")
    found = check(Table(path=path, columns=COLUMNS, items=items))
    assert found.lines()[0] == f"{path}, line 17: item_id 'mystery' is not in the item file"
    assert not found.ok
    added = load(path, items=items, unknown_items="add")
    assert added.n_events == 40
    assert added.items.row(-1) == ("mystery", "")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("item_id,title\ni0,A\n")
    with pytest.raises(DataError, match=r"unknown_items = 'add'"):
        load(path, items=wrong)


def test_a_user_with_one_event_stays(tmp_path: Path) -> None:
    data = load(log(tmp_path, rows=[*ROWS, "single,i1,3,1600000100"]))
    assert data.offsets[-1] - data.offsets[-2] == 1
    assert data.users["user_id"][-1] == "single"


@pytest.mark.parametrize(
    ("make", "file"),
    [
        (MovieLens, "movielens-100k/u.data"),
        (MovieLens, "movielens-1m/ratings.dat"),
        (MovieLens, "movielens-latest/ratings.csv"),
        (Goodbooks, "goodbooks/ratings.csv"),
        (Mind, "mind/behaviors.tsv"),
        (RecBole, "recbole/toy.inter"),
        (OnlineRetail, "online-retail.csv"),
        (AmazonReviews, "amazon-2018.jsonl"),
        (AmazonReviews, "amazon-2023.jsonl"),
        (Sequences, "sequences/log.txt"),
    ],
)
def test_every_reader_names_a_broken_last_line(tmp_path: Path, make: Any, file: str) -> None:
    """A cut-off download: the last row ends in its middle."""
    source = FIXTURES / file
    folder = tmp_path / "data"
    if source.parent == FIXTURES:
        folder.mkdir()
        shutil.copy(source, folder)
    else:
        shutil.copytree(source.parent, folder)
    path = folder / source.name
    with path.open("ab") as stream:
        stream.write(b"{" if b"{" in source.read_bytes() else b"cut")
    whole = make(path=source if source.parent == FIXTURES or make is Sequences else source.parent)
    cut = make(path=path if source.parent == FIXTURES or make is Sequences else folder)
    found = check(cut)
    assert found.fatal == ""
    assert len(found.rows) == 1
    assert found.rows[0].line == source.read_bytes().count(b"\n") + 1
    assert found.dataset is not None
    assert found.dataset.fingerprint == whole.load().fingerprint


def test_tallrec_samples(tmp_path: Path) -> None:
    text = (FIXTURES / "tallrec.json").read_text("utf-8")
    path = tmp_path / "tallrec.json"
    path.write_text(text.replace('"output": "No."', '"output": "Maybe."', 1), "utf-8")
    found = check(TallRec(path=path))
    assert [(row.line, row.problem) for row in found.rows] == [
        (7, "has an output that is neither Yes. nor No.")
    ]
    path.write_text(text[:-40], "utf-8")
    assert "is not JSON" in check(TallRec(path=path)).fatal
    path.write_text('{"instruction": ""}')
    with pytest.raises(SchemaError, match="a JSON array of samples is needed"):
        TallRec(path=path).load()


def test_missing_file_and_damaged_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: there is no such file"):
        Table(path=tmp_path / "no.csv").load()
    broken = tmp_path / "log.csv.gz"
    broken.write_bytes(b"\x1f\x8b\x08\x00 not really")
    with pytest.raises(DataError, match=r"log\.csv\.gz: damaged archive"):
        Table(path=broken).load()
    with pytest.raises(DataError, match=r"is no Excel workbook"):
        workbook = tmp_path / "retail.xlsx"
        workbook.write_bytes(b"PK nothing")
        OnlineRetail(path=workbook).load()
