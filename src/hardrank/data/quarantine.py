"""Bad rows: named by file, line, field and reason, kept aside, never lost."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from hardrank.errors import DataError
from hardrank.files import write_text

__all__ = ["LINE", "BadRow", "Check", "Quarantine"]

LINE = "line"
"""Column of a raw table that holds the line of the file each row began on."""
_HOPELESS = 100_000
"""Stop reading a file that is over the limit once it has that many bad rows."""


@dataclass(frozen=True)
class BadRow:
    """A row that could not be used. In `quarantine.jsonl` each is one JSON object."""

    file: str
    line: int | None
    field: str
    value: str
    problem: str
    row: str
    """The row as it was read."""

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        value = f" {_short(self.value)}" if self.value else ""
        return f"{where}: {self.field}{value} {self.problem}".replace(":  ", ": ")

    @property
    def cause(self) -> str:
        """What it has in common with other bad rows."""
        return f"{Path(self.file).name}: {self.field or 'row'} {self.problem}"


class Check(NamedTuple):
    """`failed` is true for the rows whose `field` has the `problem`."""

    field: str
    failed: pl.Expr
    problem: str


class Quarantine:
    """Collects the bad rows of one load.

    `folder` gets `quarantine.jsonl`; None keeps nothing on disk, the counts are still
    noted. `limit` is the share of a file's rows that may be bad, in [0, 1].
    """

    def __init__(self, folder: Path | None = None, limit: float = 0.1) -> None:
        self.folder, self.limit = folder, limit
        self.rows: list[BadRow] = []
        self._seen: Counter[str] = Counter()
        self._bad: Counter[str] = Counter()

    def saw(self, path: Path, rows: int) -> None:
        """Count rows towards the share of bad ones."""
        self._seen[str(path)] += rows

    def put(
        self,
        path: Path,
        line: int | None,
        problem: str,
        *,
        field: str = "",
        value: Any = None,
        row: Mapping[str, Any] | str = "",
    ) -> None:
        """Keep one bad row. The caller counts it with `saw` too."""
        text = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False, default=str)
        shown = "" if value is None else str(value)
        self.rows.append(BadRow(str(path), line, field, shown, problem, text))
        self._bad[str(path)] += 1
        if self._bad[str(path)] % _HOPELESS == 0:
            self._refuse_over_limit()

    def sift(self, frame: pl.DataFrame, checks: Sequence[Check], path: Path) -> pl.DataFrame:
        """The rows that fail no check; the first failure of each other row is kept."""
        self.saw(path, frame.height)
        return self.sift_seen(frame, checks, path)

    def sift_seen(self, frame: pl.DataFrame, checks: Sequence[Check], path: Path) -> pl.DataFrame:
        """`sift` for rows that were counted before."""
        if not checks or not frame.height:
            return frame
        flags = frame.select(bad=pl.any_horizontal(*(c.failed for c in checks)))["bad"]
        if not flags.any():
            return frame
        which = pl.coalesce(*(pl.when(c.failed).then(pl.lit(n)) for n, c in enumerate(checks)))
        for row in frame.with_columns(_which=which).filter(flags).iter_rows(named=True):
            check, line = checks[row.pop("_which")], row.pop(LINE, None)
            value = row.get(check.field)
            self.put(path, line, check.problem, field=check.field, value=value, row=row)
        return frame.filter(~flags)

    def close(self) -> tuple[str, ...]:
        """Write what was kept and say it in a sentence for each cause.

        Raises `DataError` when a file has more bad rows than the limit allows; the
        quarantine is on disk then as well.
        """
        self._write()
        self._refuse_over_limit(written=True)
        causes = Counter(row.cause for row in self.rows)
        return tuple(f"{_rows(n)} quarantined: {cause}" for cause, n in causes.items())

    def _write(self) -> None:
        if self.folder is None:
            return
        path = self.folder / "quarantine.jsonl"
        if self.rows:
            lines = (json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in self.rows)
            write_text(path, "".join(lines))
        else:
            path.unlink(missing_ok=True)

    def _refuse_over_limit(self, *, written: bool = False) -> None:
        for file, bad in self._bad.items():
            seen = max(self._seen[file], bad)
            if bad > self.limit * seen:
                if not written:
                    self._write()
                first = [row for row in self.rows if row.file == file][:3]
                raise DataError(
                    f"{bad:,} of {seen:,} rows are bad, more than max_bad = {self.limit:g} allows; "
                    + "; ".join(
                        f"line {r.line}: {r.field} {_short(r.value)} {r.problem}" for r in first
                    ),
                    path=file,
                    line=first[0].line,
                    field=first[0].field or None,
                    remedy=_remedy(first[0]),
                )


def _remedy(row: BadRow) -> str:
    if "item file" in row.problem:
        return "add the items to the item file, or set unknown_items = 'add'"
    if "outside 1970" in row.problem:
        return "say what unit or pattern the time is in (time_format)"
    return "mend the file, or raise max_bad if that many may be left out"


def _rows(n: int) -> str:
    return "1 row" if n == 1 else f"{n:,} rows"


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...") if value else ""
