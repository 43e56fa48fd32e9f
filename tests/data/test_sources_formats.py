"""S3-60, S3-51: every reader on a small file of its format, with everything it should hold."""

import gzip
import zipfile
from pathlib import Path

import pytest

from hardrank.data import Dataset
from hardrank.data.sources import (
    SOURCES,
    AmazonReviews,
    Goodbooks,
    Mind,
    MovieLens,
    OnlineRetail,
    RecBole,
    Sequences,
    TallRec,
)
from hardrank.errors import DataError, SchemaError

FIXTURES = Path(__file__).parent / "fixtures"


def history(data: Dataset, user: str) -> list[str]:
    queries = data.histories()
    ids = data.items["item_id"].to_list()
    return [ids[i] for i in queries.history(data.user_rows[user])]


def test_kinds_are_unique_and_frozen() -> None:
    kinds = [source.__dataclass_fields__["kind"].default for source in SOURCES]
    assert len(set(kinds)) == len(kinds) == 10


def test_movielens_100k() -> None:
    data = MovieLens(path=FIXTURES / "movielens-100k").load()
    assert data.name == "movielens-100k"
    assert (data.n_users, data.n_items, data.n_events) == (5, 4, 20)
    assert data.users["user_id"].to_list() == ["3", "1", "2", "5", "4"]  # first appearance
    assert data.items.row(0) == ("1", "Amélie's Café (1995)", "1995", "Animation Comedy")
    assert data.items["genres"].to_list()[2] == ""
    assert data.users.row(0) == ("3", "M", 23, "writer")
    # Times fall with the item number in the file: sorted by time, histories are reversed.
    assert history(data, "3") == ["4", "3", "2", "1"]
    assert data.events["rating"].to_list()[:4] == [3.0, 5.0, 2.0, 4.0]


def test_movielens_1m() -> None:
    data = MovieLens(path=FIXTURES / "movielens-1m").load()
    assert data.name == "movielens-1m"
    assert data.items.row(0) == ("1", "Été, L' (1995)", "1995", "Animation Children's Comedy")
    assert data.users.rows() == [
        ("1", "F", 1, "K-12 student"),
        ("2", "M", 56, "self-employed"),
    ]
    assert history(data, "1") == ["1", "3", "2"]


def test_movielens_latest_with_tags() -> None:
    data = MovieLens(path=FIXTURES / "movielens-latest").load()
    assert data.items.columns == ["item_id", "title", "year", "genres", "tags"]
    assert data.items.row(0) == (
        "1", "Golden Gate, The (1996)", "1996", "Action Thriller", "bridge fog & sea",
    )  # fmt: skip
    assert data.items.row(1) == ("2", "Ночь (1995)", "1995", "", "")
    assert history(data, "7") == ["3", "1"]
    assert data.events["rating"].to_list() == [0.5, 4.0, 4.5, 3.0]


def test_movielens_without_files_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"u\.data, ratings\.dat, ratings\.csv"):
        MovieLens(path=tmp_path).load()


def test_amazon_2018_without_metadata() -> None:
    data = AmazonReviews(path=FIXTURES / "amazon-2018.jsonl").load()
    assert (data.n_users, data.n_items, data.n_events) == (5, 4, 20)
    assert data.items.rows() == [
        ("B000", "guitar stand sturdy"),
        ("B001", "bright guitar strings tone"),
        ("B002", ""),  # "Five Stars" says nothing about the item
        ("B003", "broken pedal tuner"),
    ]
    assert data.reviews is not None
    assert data.reviews.height == 19  # one has no text
    assert data.reviews.columns == ["user", "item", "rating", "time", "text", "summary"]
    assert data.reviews["text"][0] == "Text number 0 with an accent é"
    assert "text" not in data.events.columns
    assert any("held-out" in note for note in data.notes)


def test_amazon_2014_metadata_is_python_and_may_be_gzipped(tmp_path: Path) -> None:
    packed = tmp_path / "meta.json.gz"
    packed.write_bytes(gzip.compress((FIXTURES / "amazon-2014-metadata.json").read_bytes()))
    source = AmazonReviews(path=FIXTURES / "amazon-2018.jsonl", metadata=packed)
    data = source.load()
    assert data.n_items == 4  # the one that nobody reviewed is left out
    first = dict(zip(data.items.columns, data.items.row(0), strict=True))
    assert first == {
        "item_id": "B000", "title": "Guitar Stand & Bag", "brand": "Ardent",
        "categories": "Instruments Stands Audio", "description": "It's sturdy",
    }  # fmt: skip
    assert data.items["title"].to_list() == ["Guitar Stand & Bag", "Steel Strings", "",
                                             "Tuner Pedal"]  # fmt: skip
    whole = AmazonReviews(path=source.path, metadata=packed, catalogue="all").load()
    assert whole.items["item_id"].to_list()[-1] == "B999"


def test_amazon_2014_metadata_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "meta.json"
    trap.write_text("{'asin': __import__('os').getcwd()}\n{'asin': 'B000', 'title': 'Stand'}\n")
    source = AmazonReviews(
        path=FIXTURES / "amazon-2018.jsonl", metadata=trap, max_bad=1.0, catalogue="all"
    )
    data = source.load()
    assert data.items["item_id"].to_list() == ["B000"]
    assert any("meta.json: row is not JSON" in note for note in data.notes)


def test_amazon_2023_times_are_milliseconds() -> None:
    data = AmazonReviews(
        path=FIXTURES / "amazon-2023.jsonl", metadata=FIXTURES / "amazon-2023-metadata.jsonl"
    ).load()
    assert data.events["time"].min() == 1588687728
    assert data.items["item_id"].to_list() == ["P0", "P1", "P2"]
    first = dict(zip(data.items.columns, data.items.row(0), strict=True))
    assert first["title"] == "Cream 0"
    assert first["features"] == "Soft Gentle & mild"
    assert first["description"] == "Line one. Line two."
    assert data.items["brand"].to_list() == ["Ardent", "", "Bolt"]
    assert data.reviews is not None and data.reviews["summary"][0] == "Title 0"


def test_amazon_inside_a_zip(tmp_path: Path) -> None:
    packed = tmp_path / "reviews.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(FIXTURES / "amazon-2018.jsonl", "deep/reviews.json")
        archive.writestr("__MACOSX/._reviews.json", b"\x00")
    plain = AmazonReviews(path=FIXTURES / "amazon-2018.jsonl").load()
    assert AmazonReviews(path=packed).load().fingerprint == plain.fingerprint


def test_sequences_in_all_three_spellings_are_the_same_data() -> None:
    folder = FIXTURES / "sequences"
    items = folder / "log.items.jsonl"
    data = Sequences(path=folder / "log.txt", items=items).load()
    assert (data.n_users, data.n_items, data.n_events) == (3, 4, 7)
    assert history(data, "7") == ["3", "1", "2"]
    assert history(data, "4") == ["2", "2", "5"]
    assert data.events["time"].null_count() == 7
    # Users are numbered by first appearance; the pairs begin 7, 4, 9 as well.
    for other in ("log.tsv", "pairs.txt"):
        same = Sequences(path=folder / other, items=items).load()
        assert same.fingerprint == data.fingerprint


def test_sequences_item_texts_are_flat_and_unescaped() -> None:
    folder = FIXTURES / "sequences"
    items = Sequences(path=folder / "log.txt", items=folder / "log.items.jsonl").load().items
    assert items["item_id"].to_list() == ["1", "2", "3", "5"]  # order of the item file
    assert items["title"].to_list() == ['Red "Deep" Polish', "Soap", "", "[Broken"]
    assert items["categories"].to_list() == ["Beauty Nails Gifts", "", "", ""]
    assert items["description"].to_list() == ["", "", "Part one. Part two.", ""]


def test_sequences_with_another_numbering(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("7 52 50\n")
    items = FIXTURES / "sequences" / "log.items.jsonl"
    data = Sequences(path=log, items=items, item_key="other_id").load()
    assert data.items["item_id"].to_list() == ["50", "51", "52", "53"]
    assert data.texts()[0] == 'Red "Deep" Polish'
    with pytest.raises(SchemaError, match=r"no item has the key 'asin'.*item_id, title"):
        Sequences(path=log, items=items, item_key="asin").load()


def test_sequences_items_as_one_object(tmp_path: Path) -> None:
    items = tmp_path / "items.json"
    items.write_text('{"1": {"title": "A", "description": "[\'x\', \'y\']"}, "2": {"title": "B"}}')
    log = tmp_path / "log.txt"
    log.write_text("u 2 1\n")
    data = Sequences(path=log, items=items).load()
    assert data.items.rows() == [("1", "A", "x y"), ("2", "B", "")]
    assert history(data, "u") == ["2", "1"]


def test_online_retail() -> None:
    data = OnlineRetail(path=FIXTURES / "online-retail.csv").load()
    assert data.notes == (
        "1 cancellations left out",
        "1 rows without customer left out",
        "1 rows whose quantity is not positive left out",
    )
    assert data.items.rows() == [("85123A", "WHITE HANGING HEART"), ("22139", "RETRO TEA SET")]
    assert dict(data.users.rows()) == {
        "17850": "United Kingdom", "13047": "France", "12583": "France",
    }  # fmt: skip
    assert history(data, "13047") == ["85123A", "85123A"]
    assert data.events["time"][0] == 1291191960  # 2010-12-01 08:26 UTC


def test_online_retail_with_american_dates_and_customers_as_floats(tmp_path: Path) -> None:
    text = (FIXTURES / "online-retail.csv").read_text()
    text = text.replace("2010-12-0", "12/").replace(" 08:26", "/2010 8:26")
    text = text.replace(" 11:52", "/2010 11:52").replace(" 09:41", "/2010 9:41")
    path = tmp_path / "retail.csv"
    path.write_text(text.replace(",17850,", ",17850.0,"))
    same = OnlineRetail(path=FIXTURES / "online-retail.csv").load()
    assert OnlineRetail(path=path).load().fingerprint == same.fingerprint


def test_online_retail_workbook_is_the_same_data(tmp_path: Path) -> None:
    path = tmp_path / "retail.xlsx"
    _workbook(path, (FIXTURES / "online-retail.csv"))
    same = OnlineRetail(path=FIXTURES / "online-retail.csv").load()
    assert OnlineRetail(path=path).load().fingerprint == same.fingerprint


def _workbook(path: Path, table: Path) -> None:
    """What a spreadsheet program writes: texts shared, dates as days, numbers as numbers."""
    import csv
    from datetime import UTC, datetime
    from xml.sax.saxutils import escape

    texts: list[str] = []
    rows = []
    with table.open(newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            cells = []
            for letter, value in zip("ABCDEFGH", row, strict=True):
                place = f'r="{letter}{number}"'
                if number > 1 and letter == "E":
                    moment = datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
                    cells.append(f"<c {place}><v>{moment / 86400 + 25569!r}</v></c>")
                elif value.lstrip("-").replace(".", "", 1).isdigit():
                    cells.append(f"<c {place}><v>{value}</v></c>")
                elif value:
                    cells.append(f'<c {place} t="s"><v>{len(texts)}</v></c>')
                    texts.append(value)
            rows.append(f'<row r="{number}">{"".join(cells)}</row>')
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    shared = "".join(f"<si><t>{escape(t)}</t></si>" for t in texts)
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("xl/sharedStrings.xml", f"<sst {space}>{shared}</sst>")
        book.writestr(
            "xl/worksheets/sheet1.xml",
            f"<worksheet {space}><sheetData>{''.join(rows)}</sheetData></worksheet>",
        )


def test_mind() -> None:
    data = Mind(path=FIXTURES / "mind").load()
    assert data.items.columns == ["item_id", "title", "abstract", "category", "subcategory"]
    assert data.items["title"].to_list() == ['A "quoted" title', "Second title", "Third & last"]
    assert data.items["abstract"].to_list() == ["An abstract.", "", "More."]
    # History first (the longest of the user's, without time), then clicks by time.
    assert history(data, "U1") == ["N1", "N2", "N2", "N3"]
    times = data.events["time"].to_list()
    assert times[:2] == [None, None]
    assert times[2:4] == [1573462800, 1573568086]
    assert history(data, "U2") == ["N2", "N3"]
    assert "3 news shown and not clicked left out" in data.notes


def test_goodbooks_both_editions() -> None:
    data = Goodbooks(path=FIXTURES / "goodbooks").load()
    assert data.items.rows()[0] == (
        "1", "The Games (The Games, #1)", "Ann Author, Bo Writer", "2008", "eng",
    )  # fmt: skip
    assert data.items["title"].to_list()[1] == 'Said "No"'
    assert data.items["year"].to_list() == ["2008", "", "-750"]
    assert history(data, "11") == ["2", "1", "3"]
    first = Goodbooks(path=FIXTURES / "goodbooks-first").load()
    assert first.items["title"].to_list() == ["First", "Second"]
    assert history(first, "5") == ["1", "2"]


def test_recbole() -> None:
    data = RecBole(path=FIXTURES / "recbole").load()
    assert data.items.rows() == [
        ("i1", 'A "Toy" Story', "Animation Comedy"),
        ("i2", "Never Seen", ""),
        ("i3", "Heat", "Action"),
    ]
    assert data.users.rows() == [("u2", "53", "F"), ("u1", "24", "M")]
    assert history(data, "u2") == ["i3", "i1"]
    assert RecBole(path=FIXTURES / "recbole" / "toy.inter").load().fingerprint == data.fingerprint


def test_tallrec() -> None:
    data = TallRec(path=FIXTURES / "tallrec.json").load()
    assert data.n_users == 3
    assert history(data, "tallrec/1") == [
        "Golden Gate, The (1996)", "Heat (1995)", "Night Train (1994)", "Solaris (1972)",
    ]  # fmt: skip
    assert data.events["rating"].to_list() == [1, 1, 0, 1, 0, 0, 1, 1, 0]
    assert history(data, "tallrec/2") == ["Heat (1995)", "Golden Gate, The (1996)"]
    books = data.items.filter(data.items["author"] != "")
    assert books.select("title", "author").rows() == [
        ('The "Big" Book, Part 1', "Ann Author"), ("Sea", "Bo Writer"), ("Peach, A", "Cy Scribe"),
    ]  # fmt: skip


def test_ties_in_time_keep_the_order_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "ml"
    folder.mkdir()
    for name in ("u.item", "u.user"):
        (folder / name).write_bytes((FIXTURES / "movielens-100k" / name).read_bytes())
    order = ["2", "4", "1", "3"]
    (folder / "u.data").write_text("".join(f"1\t{i}\t3\t880000000\n" for i in order))
    assert history(MovieLens(path=folder).load(), "1") == order
