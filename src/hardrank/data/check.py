"""Is this data usable? Every bad row by file, line and field, and what to do about it."""

import json
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from hardrank.data.dataset import Dataset
from hardrank.data.quarantine import BadRow
from hardrank.data.sources import Marketplace, Source, guess
from hardrank.errors import DataError

__all__ = ["Checkup", "check"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkup:
    """What a check found."""

    source: Source | None
    """The reader that was used; None when no reader fits."""
    dataset: Dataset | None
    """What can be read; None when nothing can."""
    rows: tuple[BadRow, ...] = ()
    """Every row that had to be set aside."""
    fatal: str = ""
    """Why the data cannot be read at all; empty when it can."""

    @property
    def ok(self) -> bool:
        """Nothing wrong: neither a bad row nor a fatal mistake."""
        return not self.rows and not self.fatal

    def lines(self, limit: int = 20) -> list[str]:
        """For people: the mistakes (at most `limit` rows in full, the rest counted by cause),
        then a summary."""
        out = [self.fatal] if self.fatal else []
        out += [str(row) for row in self.rows[:limit]]
        rest = Counter(row.cause for row in self.rows[limit:])
        out += [f"{n:,} more: {cause}" for cause, n in rest.items()]
        if self.dataset is not None:
            d = self.dataset
            out.append(
                f"{d.name}: {d.n_users:,} users, {d.n_items:,} items, {d.n_events:,} events; "
                f"{len(self.rows):,} bad rows"
            )
        return out


def check(what: Path | Source) -> Checkup:
    """Read all of it, whatever the share of bad rows, and report. Never raises for bad data."""
    try:
        source = guess(what) if isinstance(what, Path) else what
    except DataError as error:
        return Checkup(source=None, dataset=None, fatal=str(error))
    if isinstance(source, Marketplace):
        return Checkup(source=source, dataset=source.load())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fatal, dataset = "", None
        try:
            dataset = replace(source, quarantine=folder, max_bad=1.0).load()
        except DataError as error:
            fatal = str(error)
        return Checkup(source=source, dataset=dataset, rows=_kept(folder), fatal=fatal)


def _kept(folder: Path) -> tuple[BadRow, ...]:
    path = folder / "quarantine.jsonl"
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8") as file:
        return tuple(BadRow(**json.loads(line)) for line in file)
