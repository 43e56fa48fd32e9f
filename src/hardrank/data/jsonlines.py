"""JSON lines to raw tables or objects; lines that are no object are set aside."""

import ast
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from hardrank.data.quarantine import LINE, Quarantine
from hardrank.data.reading import blocks

__all__ = ["json_rows", "records"]


def json_rows(
    path: Path, wanted: Sequence[str], bad: Quarantine, encoding: str = "utf-8"
) -> Iterator[pl.DataFrame]:
    """JSON lines block by block: the `wanted` keys as text (absent: null), and `line`.

    Lines that are no JSON object go to `bad`.
    """
    schema = dict.fromkeys(wanted, pl.String)
    for line, block in blocks(path, encoding):
        try:
            frame = pl.read_ndjson(block, schema=schema)
        except pl.exceptions.PolarsError:
            frame = None
        if frame is None or frame.height != block.count(b"\n") + (not block.endswith(b"\n")):
            yield _json_careful(line, block, schema, path, bad)
        else:
            yield frame.with_row_index(LINE, offset=line)


def _json_careful(
    line: int, block: bytes, schema: dict[str, Any], path: Path, bad: Quarantine
) -> pl.DataFrame:
    rows, numbers = [], []
    for at, record in _parsed(line, block, path, bad, python=False):
        rows.append([_as_text(record.get(name)) for name in schema])
        numbers.append(at)
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(pl.Series(LINE, numbers, dtype=pl.UInt32))


def records(
    path: Path, bad: Quarantine, encoding: str = "utf-8", *, python: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of each line of a JSON lines file; with `python`, Python literals too."""
    for line, block in blocks(path, encoding):
        yield from _parsed(line, block, path, bad, python=python)


def _parsed(
    line: int, block: bytes, path: Path, bad: Quarantine, *, python: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    for at, text in enumerate(block.decode().split("\n"), line):
        if not text.strip():
            continue
        try:
            value = _literal(text) if python else json.loads(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            bad.saw(path, 1)
            bad.put(path, at, f"is not JSON ({error})", row=text)
            continue
        if isinstance(value, dict):
            yield at, value
        else:
            bad.saw(path, 1)
            bad.put(path, at, "is not a JSON object", row=text)


def _literal(text: str) -> Any:
    """JSON, or a Python literal (never evaluated) as in the Amazon metadata of 2014."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return ast.literal_eval(text)


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
