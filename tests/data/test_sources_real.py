"""Every reader on the real file of its format, with the published counts (S0-27, S3-60)."""

from pathlib import Path

import pytest

from hardrank.data.sources import (
    AmazonReviews,
    Mind,
    MovieLens,
    OnlineRetail,
    RecBole,
    Sequences,
    TallRec,
    guess,
)


def test_movielens_100k_raw_and_recbole_agree(data_folder: Path) -> None:
    raw = MovieLens(path=data_folder / "ml-100k/raw").load()
    assert (raw.n_users, raw.n_items, raw.n_events) == (943, 1682, 100_000)
    assert raw.notes == ()
    assert raw.users["gender"].value_counts().sort("gender").rows() == [("F", 273), ("M", 670)]
    assert raw.events["time"].min() == 874724710 and raw.events["time"].max() == 893286638
    assert (raw.items["title"] != "").all()
    atomic = RecBole(path=data_folder / "ml-100k/recbole").load()
    assert atomic.events.equals(raw.events)
    assert atomic.users["user_id"].equals(raw.users["user_id"])
    assert atomic.items["title"][0] == "Toy Story"


def test_movielens_latest_small(data_folder: Path) -> None:
    data = MovieLens(path=data_folder / "ml-latest-small/raw").load()
    assert (data.n_users, data.n_items, data.n_events) == (610, 9742, 100_836)
    assert (data.counts > 0).sum() == 9724
    assert (data.items["tags"] != "").sum() > 1500


def test_amazon_beauty_in_both_numberings(data_folder: Path) -> None:
    folder = data_folder / "amazon-beauty"
    items = folder / "derived/items.jsonl"
    data = Sequences(path=folder / "raw/sequential_data.txt", items=items).load()
    assert (data.n_users, data.n_items, data.n_events) == (22_363, 12_101, 198_502)
    assert (data.items["title"] != "").all()
    assert not data.items["title"].str.contains("&amp;").any()
    assert data.items["categories"][0] == "Beauty Makeup Nails Nail Polish"
    published = Sequences(
        path=folder / "raw/s3rec_Beauty.txt", items=items, item_key="p5_item_id"
    ).load()
    assert published.events.equals(data.events)  # the same items in the order of the item file


@pytest.mark.parametrize(
    ("category", "users", "items", "brands"),
    [("Industrial_and_Scientific", 3285, 3686, 3675), ("Office_Products", 3231, 3459, 3454)],
)
def test_amazon_2018_sequences(
    data_folder: Path, category: str, users: int, items: int, brands: int
) -> None:
    folder = data_folder / "amazon-industrial-office"
    log = folder / f"derived/{category}.sequences.tsv"
    data = Sequences(path=log, items=folder / f"derived/{category}.items.jsonl").load()
    assert (data.n_users, data.n_items) == (users, items)
    assert (data.items["brand"] != "").sum() == brands
    raw = Sequences(path=log, items=folder / f"raw/{category}.item.json").load()
    assert raw.events.equals(data.events)
    assert raw.items["title"].equals(data.items["title"])


def test_online_retail(data_folder: Path) -> None:
    data = OnlineRetail(path=data_folder / "online-retail/derived/online_retail.csv.gz").load()
    assert (data.n_users, data.n_items, data.n_events) == (4339, 3665, 397_924)
    assert data.events.select("user", "item").n_unique() == 266_802
    assert data.users["country"].n_unique() == 37
    assert (data.items["title"] != "").all()


def test_amazon_musical_reviews(data_folder: Path) -> None:
    data = AmazonReviews(
        path=data_folder / "amazon-musical-reviews/raw/Musical_Instruments.zip"
    ).load()
    assert (data.n_users, data.n_items, data.n_events) == (1429, 900, 10_261)
    assert data.events["rating"].value_counts().sort("rating")["count"].to_list() == [
        217, 250, 772, 2084, 6938,
    ]  # fmt: skip
    assert data.reviews is not None and data.reviews.height == 10_254
    assert (data.items["title"] != "").sum() > 890


def test_mind(data_folder: Path) -> None:
    """A sample of the news only: what is read elsewhere is added without text, or set aside."""
    folder = data_folder / "mind-sample/raw"
    data = Mind(path=folder, unknown_items="add").load()
    assert data.n_users == 4637
    assert data.items["category"][:2000].null_count() == 0
    assert (data.items["title"][:2000] != "").all()
    assert (data.items["title"][2000:] == "").all()
    known = Mind(path=folder, max_bad=1.0).load()
    assert known.n_items == 2000
    clicks = known.events["time"].drop_nulls()
    assert clicks.len() == 175


@pytest.mark.parametrize(
    ("file", "samples", "yes"),
    [("movie/test", 1000, 528), ("movie/valid", 1000, 658), ("book/test", 2427, 1054),
     ("book/valid", 2427, 1011)],
)  # fmt: skip
def test_tallrec(data_folder: Path, file: str, samples: int, yes: int) -> None:
    data = TallRec(path=data_folder / f"tallrec/raw/{file}.json").load()
    assert data.n_users == samples
    answers = data.events["rating"].to_numpy()[data.offsets[1:] - 1]
    assert answers.sum() == yes
    assert not any("quarantined" in note for note in data.notes)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("ml-100k/raw", "movielens"),
        ("ml-100k/recbole", "recbole"),
        ("ml-latest-small/raw", "movielens"),
        ("amazon-beauty/raw/sequential_data.txt", "sequences"),
        ("amazon-industrial-office/derived/Office_Products.sequences.tsv", "sequences"),
        ("online-retail/derived", "online-retail"),
        ("amazon-musical-reviews/raw", "amazon-reviews"),
        ("mind-sample/raw", "mind"),
        ("tallrec/raw/book/test.json", "tallrec"),
    ],
)
def test_guess(data_folder: Path, path: str, kind: str) -> None:
    assert guess(data_folder / path).kind == kind


def test_guess_finds_the_items_and_the_numbering(data_folder: Path) -> None:
    source = guess(data_folder / "amazon-beauty/raw/s3rec_Beauty.txt")
    assert isinstance(source, Sequences)
    assert source.item_key == "p5_item_id"
    assert source.items is not None and source.items.name == "items.jsonl"
