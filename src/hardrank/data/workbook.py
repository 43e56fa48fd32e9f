"""The first sheet of an Excel workbook as a raw table, with the standard library alone.

ECMA-376 part 1: a workbook is a zip; `xl/sharedStrings.xml` holds the texts, a cell of type
`s` the number of its text. Dates are plain numbers: days since 1899-12-30.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import polars as pl

from hardrank.data.quarantine import LINE
from hardrank.errors import DataError

__all__ = ["sheet", "sheet_header"]

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_ROWS = 1 << 17
_SHEET = "xl/worksheets/sheet1.xml"


def sheet_header(path: Path) -> tuple[str, ...]:
    """The texts of the first row. Raises `DataError` when the file is no workbook."""
    for _, cells in _rows(path):
        return tuple((cells.get(n) or "").strip() for n in range(max(cells, default=-1) + 1))
    raise DataError("the sheet is empty", path=path)


def sheet(path: Path) -> Iterator[pl.DataFrame]:
    """The rows below the header, every cell as text (empty: null), and `line`, the number
    of the row in the sheet."""
    names = sheet_header(path)
    schema = {**dict.fromkeys(names, pl.String()), LINE: pl.UInt32()}
    kept: list[tuple[str | int | None, ...]] = []
    for line, cells in _rows(path):
        if line > 1:
            kept.append((*(cells.get(n) or None for n in range(len(names))), line))
        if len(kept) == _ROWS:
            yield pl.DataFrame(kept, schema=schema, orient="row")
            kept.clear()
    if kept:
        yield pl.DataFrame(kept, schema=schema, orient="row")


def _rows(path: Path) -> Iterator[tuple[int, dict[int, str]]]:
    """(number, cells by column) of each row."""
    try:
        with zipfile.ZipFile(path) as book:
            texts = _shared(book)
            with book.open(_SHEET) as file:
                for _, element in ElementTree.iterparse(file):
                    if element.tag == _MAIN + "row":
                        yield int(element.get("r", "0")), _cells(element, texts)
                        element.clear()
    except FileNotFoundError as error:
        raise DataError("there is no such file", path=path, remedy="check the path") from error
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError) as error:
        raise DataError(f"is no Excel workbook ({error})", path=path) from error


def _shared(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    texts = []
    with book.open("xl/sharedStrings.xml") as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag == _MAIN + "si":
                texts.append("".join(t.text or "" for t in element.iter(_MAIN + "t")))
                element.clear()
    return texts


def _cells(row: ElementTree.Element, texts: list[str]) -> dict[int, str]:
    out = {}
    for cell in row:
        value = cell.find(_MAIN + "v")
        if cell.get("t") == "inlineStr":
            text = "".join(t.text or "" for t in cell.iter(_MAIN + "t"))
        elif value is None or value.text is None:
            continue
        else:
            text = texts[int(value.text)] if cell.get("t") == "s" else value.text
        out[_column(cell.get("r", "A1"))] = text
    return out


def _column(reference: str) -> int:
    """0 for A, 26 for AA."""
    number = 0
    for letter in re.sub(r"\d", "", reference):
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
