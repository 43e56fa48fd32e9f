"""Files to raw tables: compression, encoding, separators, quoted newlines, line numbers.

Files are read in blocks of whole records, so that a log is never in memory as text.
"""

import codecs
import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from hardrank.data.quarantine import LINE, Quarantine
from hardrank.errors import DataError, SchemaError

__all__ = ["Layout", "blocks", "header", "opened", "require", "table_of", "tables"]

_BLOCK = 1 << 25
_UNIT = "\x1f"
"""Stands for separators of more than one character; no text holds it."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a delimited text file is written."""

    separator: str = ","
    columns: tuple[str, ...] | None = None
    """Names of the columns of a file without header; None when its first line names them."""
    quote: str = '"'
    """Empty where quotes mean themselves."""
    encoding: str = "utf-8"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Bytes of a plain file, a `.gz`, or the one file inside a `.zip`.

    Raises `DataError` when it is not there or the archive is damaged.
    """
    try:
        if path.suffix == ".zip":
            with (
                zipfile.ZipFile(path) as archive,
                archive.open(_only_member(archive, path)) as file,
            ):
                yield file
        else:
            with path.open("rb") as file:
                yield gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file  # type: ignore[misc]
    except FileNotFoundError as error:
        raise DataError("there is no such file", path=path, remedy="check the path") from error
    except IsADirectoryError as error:
        raise DataError("this is a folder, a file is needed", path=path) from error
    except (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DataError(f"damaged archive ({error})", path=path, remedy="fetch it again") from error


def _only_member(archive: zipfile.ZipFile, path: Path) -> str:
    names = [n for n in archive.namelist() if not n.endswith("/") and "__MACOSX" not in n]
    if len(names) != 1:
        raise DataError(
            f"the archive holds {len(names)} files", path=path, remedy="unpack it and give one file"
        )
    return names[0]


def blocks(
    path: Path, encoding: str = "utf-8", quote: str = "", size: int = _BLOCK
) -> Iterator[tuple[int, bytes]]:
    """(number of the first line, UTF-8 bytes) of runs of whole records, about `size` each.

    Raises `DataError` with the line and the encoding to try when a byte does not decode.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    line, rest = 1, b""
    with opened(path) as file:
        while True:
            raw = file.read(size)
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                raise _wrong_encoding(error, path, line + rest.count(b"\n"), encoding) from error
            if line == 1 and not rest:
                text = text.removeprefix("\ufeff")
            rest += text.encode().replace(b"\r\n", b"\n")
            if not raw:
                break
            cut = _cut(rest, quote.encode(), force=len(rest) > 8 * size)
            if cut:
                yield line, rest[:cut]
                line += rest.count(b"\n", 0, cut)
                rest = rest[cut:]
    if rest.strip():
        yield line, rest


def _cut(data: bytes, quote: bytes, *, force: bool) -> int:
    """Just past the last newline that is not inside quotes; 0 for none."""
    end = data.rfind(b"\n")
    if not quote:
        return end + 1
    odd = data.count(quote, 0, end + 1) % 2
    while end > 0 and odd:
        before = data.rfind(b"\n", 0, end)
        odd = (odd + data.count(quote, before + 1, end)) % 2
        end = before
    return data.rfind(b"\n") + 1 if end <= 0 and force else end + 1


def _wrong_encoding(error: UnicodeDecodeError, path: Path, line: int, encoding: str) -> DataError:
    before = error.object[: error.start]
    runs = re.findall(rb"[\x80-\xff]+", error.object[error.start : error.start + 4000])
    # Two-byte Chinese comes in runs of even length; single accented letters do not.
    paired = bool(runs) and all(len(run) % 2 == 0 for run in runs)
    tried = "gbk" if paired and encoding != "gbk" else "latin-1"
    return DataError(
        f"byte 0x{error.object[error.start]:02x} is not {encoding}",
        path=path,
        line=line + before.count(b"\n"),
        remedy=f"set the encoding the file was written in, e.g. encoding = '{tried}'",
    )


def header(path: Path, layout: Layout) -> tuple[str, ...]:
    """The column names: `layout.columns`, or the first line of the file."""
    if layout.columns is not None:
        return layout.columns
    for _, block in blocks(path, layout.encoding, layout.quote, size=1 << 16):
        try:
            first = next(_csv_rows(io.StringIO(block.decode(), newline=""), layout), [])
        except csv.Error as error:
            raise DataError(f"the header cannot be read ({error})", path=path, line=1) from error
        names = tuple(name.strip() for name in first)
        if len(set(names)) != len(names):
            raise SchemaError("two columns have the same name", path=path, line=1)
        return names
    raise DataError("the file is empty", path=path)


def require(names: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    """Raises `SchemaError` that names every wanted column that is not there."""
    missing = [name for name in wanted if name not in names]
    if missing:
        raise SchemaError(
            f"no column {', '.join(repr(m) for m in missing)}",
            path=path,
            field=missing[0],
            remedy=f"it has: {', '.join(names)}",
        )


def tables(path: Path, layout: Layout, bad: Quarantine) -> Iterator[pl.DataFrame]:
    """The file block by block, every column text (empty: null), with a column `line`.

    Rows with too many fields go to `bad`; the caller counts the rest (`Quarantine.sift`).
    """
    names = header(path, layout)
    skip = layout.columns is None
    for line, block in blocks(path, layout.encoding, layout.quote):
        frame = _fast(line, block, names, layout)
        if frame is None:
            frame = _careful(line, block, names, layout, path, bad, skip=skip)
        elif skip:
            frame = frame[1:]
        skip = False
        yield frame.filter(~pl.all_horizontal(pl.col(*names).is_null()))


def table_of(path: Path, layout: Layout, bad: Quarantine) -> pl.DataFrame:
    """The whole file at once, as `tables` gives it. Raises `DataError` when nothing is in it."""
    found = list(tables(path, layout, bad))
    if not found:
        raise DataError("the file is empty", path=path, remedy="copy or download it again")
    return pl.concat(found)


def _fast(line: int, block: bytes, names: Sequence[str], layout: Layout) -> pl.DataFrame | None:
    separator = layout.separator
    if len(separator) > 1:
        block, separator = block.replace(separator.encode(), _UNIT.encode()), _UNIT
    try:
        frame = pl.read_csv(
            block, has_header=False, schema=dict.fromkeys(names, pl.String),
            separator=separator, quote_char=layout.quote or None, infer_schema=False,
        )  # fmt: skip
    except pl.exceptions.PolarsError:
        return None
    return _numbered(frame, line, block)


def _numbered(frame: pl.DataFrame, line: int, block: bytes) -> pl.DataFrame | None:
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if frame.height == lines:
        numbers = pl.int_range(line, line + lines, dtype=pl.UInt32)
    else:
        inside = pl.sum_horizontal(
            pl.col(pl.String).str.count_matches("\n", literal=True).fill_null(0)
        )
        spans = frame.select(n=inside + 1)["n"]
        if spans.sum() != lines:
            return None  # a quote was left open: the careful reader says where
        starts = spans.cum_sum().shift(1, fill_value=0) + line
        numbers = pl.lit(starts.cast(pl.UInt32))
    return frame.with_columns(numbers.alias(LINE))


def _csv_rows(file: io.StringIO, layout: Layout) -> "Iterator[list[str]]":
    if len(layout.separator) > 1:
        return (row.rstrip("\n").split(layout.separator) for row in file)
    if not layout.quote:
        return csv.reader(file, delimiter=layout.separator, quoting=csv.QUOTE_NONE)
    return csv.reader(file, delimiter=layout.separator, quotechar=layout.quote, strict=True)


def _careful(
    line: int,
    block: bytes,
    names: Sequence[str],
    layout: Layout,
    path: Path,
    bad: Quarantine,
    *,
    skip: bool,
) -> pl.DataFrame:
    file = io.StringIO(block.decode(), newline="")
    kept: list[list[str | None]] = []
    numbers: list[int] = []
    at, counted = line, _Counted(file)
    reader = _csv_rows(counted, layout)  # type: ignore[arg-type]
    while True:
        at = line + counted.lines
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise DataError(
                f"cannot be read ({error})", path=path, line=at,
                remedy="close the quoted field, or set quote = '' if quotes mean themselves",
            ) from error  # fmt: skip
        if skip:
            skip = False
        elif len(row) > len(names):
            bad.saw(path, 1)
            bad.put(path, at, f"has {len(row)} fields, {len(names)} expected",
                    row=layout.separator.join(row))  # fmt: skip
        else:
            kept.append([v or None for v in row] + [None] * (len(names) - len(row)))
            numbers.append(at)
    frame = pl.DataFrame(kept, schema=dict.fromkeys(names, pl.String), orient="row")
    return frame.with_columns(pl.Series(LINE, numbers, dtype=pl.UInt32))


class _Counted:
    """Lines of a file, counting those already given."""

    def __init__(self, file: io.StringIO) -> None:
        self.file, self.lines = file, 0

    def __iter__(self) -> "_Counted":
        return self

    def __next__(self) -> str:
        text = next(self.file)
        self.lines += 1
        return text
