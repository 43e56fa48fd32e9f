"""Which reader fits a path: for `hardrank data check|card PATH`."""

from collections.abc import Callable
from pathlib import Path

from hardrank.data.jsonlines import records
from hardrank.data.quarantine import Quarantine
from hardrank.data.reading import Layout, header, opened
from hardrank.data.sources.amazon_reviews import AmazonReviews
from hardrank.data.sources.goodbooks import Goodbooks
from hardrank.data.sources.mind import Mind
from hardrank.data.sources.movielens import MovieLens
from hardrank.data.sources.online_retail import OnlineRetail
from hardrank.data.sources.recbole import RecBole
from hardrank.data.sources.sequences import Sequences
from hardrank.data.sources.table import Columns, Table
from hardrank.data.sources.tallrec import TallRec
from hardrank.errors import DataError

__all__ = ["FileReader", "guess"]

FileReader = (
    AmazonReviews | Goodbooks | Mind | MovieLens | OnlineRetail | RecBole | Sequences | Table
    | TallRec
)  # fmt: skip

_FOLDERS: tuple[tuple[str, tuple[str, ...], Callable[[Path], FileReader]], ...] = (
    ("MovieLens 100K", ("u.data", "u.item"), lambda p: MovieLens(path=p)),
    ("MovieLens 1M", ("ratings.dat", "movies.dat"), lambda p: MovieLens(path=p)),
    ("MovieLens latest", ("ratings.csv", "movies.csv"), lambda p: MovieLens(path=p)),
    ("Goodbooks", ("ratings.csv", "books.csv"), lambda p: Goodbooks(path=p)),
    ("MIND", ("behaviors.tsv", "news.tsv"), lambda p: Mind(path=p)),
    ("RecBole", ("*.inter",), lambda p: RecBole(path=p)),
)
_ALIASES = {
    "user": ("user_id", "userid", "user", "customer_id", "customerid", "uid", "reviewerid"),
    "item": ("item_id", "itemid", "item", "product_id", "productid", "iid", "movieid", "asin"),
    "time": ("timestamp", "time", "date", "datetime", "event_time", "created_at"),
    "rating": ("rating", "score", "stars", "overall"),
    "event": ("event", "event_type", "behavior", "behaviour", "action"),
    "title": ("title", "item_title", "product_name", "name"),
}


def guess(path: Path) -> FileReader:
    """The reader of a file or folder, told by names of files and by their first line.

    Raises `DataError` that lists what was looked for.
    """
    if not path.exists():
        raise DataError("there is no such file or folder", path=path, remedy="check the path")
    return _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> FileReader:
    for _, files, reader in _FOLDERS:
        if all(any(path.glob(f)) for f in files):
            return reader(path)
    single = [f for f in sorted(path.iterdir()) if f.is_file() and not f.name.startswith(".")]
    readable = [f for f in single if _fits(f)]
    if len(readable) == 1:
        return _file(readable[0])
    wanted = "; ".join(f"{name} ({', '.join(files)})" for name, files, _ in _FOLDERS)
    found = ", ".join(f.name for f in readable) or "none"
    raise DataError(
        f"no known dataset in this folder; looked for {wanted}, or one file alone that holds a "
        f"log (found: {found})",
        path=path,
        remedy="give the path of the log itself, or describe it in [data] with kind = 'table'",
    )


def _fits(path: Path) -> bool:
    try:
        _file(path)
    except (DataError, UnicodeDecodeError):
        return False
    return True


def _file(path: Path) -> FileReader:
    if path.name in ("u.data", "ratings.dat"):
        return MovieLens(path=path.parent)
    if path.suffix == ".inter":
        return RecBole(path=path)
    if path.name == "behaviors.tsv":
        return Mind(path=path.parent)
    if path.suffix == ".xlsx":
        return OnlineRetail(path=path)
    if path.suffix == ".parquet":
        return _table(path, _parquet_names(path))
    with opened(path) as file:
        start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:1] == b"[" and b'"instruction"' in start:
        return TallRec(path=path)
    if start[:1] == b"{":
        return _json(path)
    return _delimited(path, start.split(b"\n", 1)[0])


def _json(path: Path) -> FileReader:
    row = next((row for _, row in records(path, Quarantine(limit=1.0))), {})
    if {"reviewerID", "asin"} <= set(row) or {"user_id", "parent_asin"} <= set(row):
        return AmazonReviews(path=path)
    return _table(path, tuple(row))


def _delimited(path: Path, first: bytes) -> FileReader:
    if first.startswith((b"user_id\titem_ids", b"user\titems")):
        return _sequences(path)
    if len(first.split()) > 1 and first.replace(b" ", b"").strip().isdigit():
        return _sequences(path)
    separator = "\t" if b"\t" in first else ";" if first.count(b";") > first.count(b",") else ","
    encoding = "utf-8" if first.isascii() else "utf-8-sig"
    names = header(path, Layout(separator=separator, encoding=encoding))
    if {"InvoiceNo", "StockCode"} <= set(names):
        return OnlineRetail(path=path)
    return _table(path, names, separator)


def _table(path: Path, names: tuple[str, ...], separator: str = ",") -> Table:
    lowered = {name.lower(): name for name in reversed(names)}
    known = {
        ours: next((lowered[a] for a in aliases if a in lowered), None)
        for ours, aliases in _ALIASES.items()
    }
    if known["user"] is None or known["item"] is None:
        raise DataError(
            f"no reader fits; its columns are {', '.join(names[:12])}; looked for a user "
            f"({', '.join(_ALIASES['user'])}) and an item ({', '.join(_ALIASES['item'])})",
            path=path,
            remedy="describe it in [data] with kind = 'table' and [data.columns]",
        )
    columns = Columns(**{ours: name for ours, name in known.items() if name is not None})
    return Table(path=path, columns=columns, separator=separator)


def _parquet_names(path: Path) -> tuple[str, ...]:
    import polars as pl

    try:
        return tuple(pl.read_parquet_schema(path))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"is no Parquet file ({error})", path=path) from error


def _sequences(path: Path) -> Sequences:
    """With the item file beside it whose ids, under some key, hold all ids of the log."""
    with opened(path) as file:
        used = {i for line in file.read().decode().splitlines()[1:] for i in line.split()[1:]}
    stem = path.name.split(".")[0]
    for folder in (path.parent, path.parent.parent / "derived"):
        for name in (f"{stem}.items.jsonl", "items.jsonl"):
            if key := _key_of(folder / name, used):
                return Sequences(path=path, items=folder / name, item_key=key)
    return Sequences(path=path)


def _key_of(items: Path, used: set[str]) -> str | None:
    rows = [row for _, row in records(items, Quarantine(limit=1.0))] if items.is_file() else []
    for key in rows[0] if rows else ():
        if used <= {str(row.get(key)) for row in rows}:
            return key
    return None
