"""Listings out of a table, and verdicts as lines of JSON."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hardrank.errors import DataError
from hardrank.files import write_text
from hardrank.guards import Listing, Verdict

__all__ = ["read_listings", "write_verdicts"]

_BEFORE = "before."
_OWN = ("item_id", "events", "before", "created")


def read_listings(path: Path) -> list[Listing]:
    """A line of `.jsonl` is an object: `item_id`, texts by name, and, where they are known,
    `events`, `created` and `before` (an object of texts). A `.csv` has the same columns, texts
    of before as `before.title`.

    Raises `DataError`, with file and line, for a row without id or without text.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("there is no such file", path=path, remedy="check the path") from error
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", path=path, remedy="save the file as UTF-8") from error
    rows = _objects(text, path) if path.suffix == ".jsonl" else _table(text, path)
    return [_listing(row, path, line) for line, row in rows]


def write_verdicts(path: Path, listings: Sequence[Listing], verdicts: Sequence[Verdict]) -> None:
    """JSON lines in the order of the listings; atomic."""
    lines = []
    for one, verdict in zip(listings, verdicts, strict=True):
        row: dict[str, Any] = {"item_id": one.item_id, **vars(verdict)}
        row["fields"] = None if verdict.fields is None else dict(verdict.fields)
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def _objects(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"not JSON ({error})", path=path, line=number) from error
        if not isinstance(row, dict):
            raise DataError("not an object", path=path, line=number)
        yield number, row


def _table(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    for row in rows:
        if None in row or None in row.values():
            raise DataError("more or fewer cells than columns", path=path, line=rows.line_num)
        before = {k.removeprefix(_BEFORE): v for k, v in row.items() if k.startswith(_BEFORE)}
        plain: dict[str, Any] = {k: v for k, v in row.items() if not k.startswith(_BEFORE)}
        yield rows.line_num, plain | ({"before": before} if any(before.values()) else {})


def _listing(row: dict[str, Any], path: Path, line: int) -> Listing:
    fields = {k: v for k, v in row.items() if k not in _OWN and isinstance(v, str)}
    if not row.get("item_id"):
        raise DataError("no id", path=path, line=line, field="item_id")
    if not fields:
        raise DataError("no text", path=path, line=line, remedy="give a column such as title")
    try:
        events = int(row.get("events") or 0)
        created = int(row["created"]) if row.get("created") else None
        before = {str(k): str(v) for k, v in row["before"].items()} if row.get("before") else None
    except (ValueError, AttributeError) as error:
        raise DataError(f"not a listing ({error})", path=path, line=line) from error
    return Listing(str(row["item_id"]), fields, before, events, created)
