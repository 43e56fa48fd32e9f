"""Every reader of the registry keeps the contract of readers, on the fixture of its format."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hardrank.data import Dataset
from hardrank.data.sources import (
    SOURCES,
    AmazonReviews,
    Columns,
    Goodbooks,
    Marketplace,
    Mind,
    MovieLens,
    OnlineRetail,
    RecBole,
    Sequences,
    Table,
    TallRec,
)
from hardrank.testing import ReaderContract

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Case:
    """Which fixtures a reader gets, and how it is told to read them."""

    made: type
    names: tuple[str, ...]
    """Files or folders of `fixtures`."""
    source: Callable[[Path], Any]


def _chinese(folder: Path) -> Table:
    return Table(
        path=folder / "table" / "log-gbk.csv",
        items=folder / "table" / "items-gbk.csv",
        columns=Columns(user="用户", item="商品", time="时间", rating="评分", event="行为"),
        item_columns={"item_id": "商品", "title": "名称", "description": "描述"},
        separator=";",
        encoding="gbk",
    )


def _sequences(folder: Path) -> Sequences:
    inside = folder / "sequences"
    return Sequences(path=inside / "log.txt", items=inside / "log.items.jsonl")


CASES = {
    "movielens-100k": Case(
        MovieLens, ("movielens-100k",), lambda f: MovieLens(path=f / "movielens-100k")
    ),
    "movielens-1m": Case(
        MovieLens, ("movielens-1m",), lambda f: MovieLens(path=f / "movielens-1m")
    ),
    "movielens-latest": Case(
        MovieLens, ("movielens-latest",), lambda f: MovieLens(path=f / "movielens-latest")
    ),
    "amazon-2018": Case(
        AmazonReviews,
        ("amazon-2018.jsonl",),
        lambda f: AmazonReviews(path=f / "amazon-2018.jsonl"),
    ),
    "amazon-2023": Case(
        AmazonReviews,
        ("amazon-2023.jsonl", "amazon-2023-metadata.jsonl"),
        lambda f: AmazonReviews(
            path=f / "amazon-2023.jsonl", metadata=f / "amazon-2023-metadata.jsonl"
        ),
    ),
    "sequences": Case(Sequences, ("sequences",), _sequences),
    "online-retail": Case(
        OnlineRetail,
        ("online-retail.csv",),
        lambda f: OnlineRetail(path=f / "online-retail.csv"),
    ),
    "mind": Case(Mind, ("mind",), lambda f: Mind(path=f / "mind")),
    "goodbooks": Case(Goodbooks, ("goodbooks",), lambda f: Goodbooks(path=f / "goodbooks")),
    "recbole": Case(RecBole, ("recbole",), lambda f: RecBole(path=f / "recbole")),
    "tallrec": Case(TallRec, ("tallrec.json",), lambda f: TallRec(path=f / "tallrec.json")),
    "table": Case(Table, ("table",), _chinese),
}


@pytest.mark.parametrize("name", CASES)
class TestReaders(ReaderContract):
    @pytest.fixture(autouse=True)
    def _choose(self, name: str) -> None:
        self.case = CASES[name]

    def write(self, folder: Path) -> None:
        for name in self.case.names:
            source = FIXTURES / name
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, folder / name)

    def read(self, folder: Path) -> Dataset:
        data: Dataset = self.case.source(folder).load()
        return data


def test_every_member_of_the_registry_is_here() -> None:
    """All but the generator, which reads no file (`test_marketplace.py`)."""
    assert {case.made for case in CASES.values()} == set(SOURCES) - {Marketplace}
