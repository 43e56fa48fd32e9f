"""Every number of a run, computed again from its samples: altered ones come out."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl

from hardrank.audits.measure import recompute
from hardrank.audits.samples import load
from hardrank.errors import DataError, HardrankError
from hardrank.findings import Finding

__all__ = ["TOLERANCE", "Mismatch", "mismatches", "read_findings", "verify"]

TOLERANCE = 1e-9
_NUMBERS = ("value", "low", "high", "n", "seeds", "per_seed")


@dataclass(frozen=True)
class Mismatch:
    """Finding `number` (from 0) says `stated` for `part`; the samples say `found`."""

    number: int
    finding: str
    part: str
    stated: Any
    found: Any

    def __str__(self) -> str:
        return (
            f"finding {self.number} ({self.finding}): "
            f"{self.part} is {self.stated}, recomputed {self.found}"
        )


def verify(run_folder: Path) -> list[Mismatch]:
    """Re-read `findings.json` and `samples.parquet`; [] when every number is the samples'.

    Raises `DataError` when a file is missing or is not what it should be.
    """
    for name in ("findings.json", "samples.parquet"):
        if not (run_folder / name).is_file():
            raise DataError(
                "no such file", path=run_folder / name, remedy="give the folder of a finished run"
            )
    findings = read_findings(run_folder / "findings.json")
    return mismatches(findings, load(run_folder / "samples.parquet"))


def mismatches(findings: Iterable[Finding], samples: pl.DataFrame) -> list[Mismatch]:
    """Where findings and samples disagree by more than `TOLERANCE`."""
    out = []
    for number, finding in enumerate(findings):
        name = f"{finding.subject} {finding.trial} {finding.metric} {finding.group}"
        try:
            found = recompute(samples, finding)
        except (ValueError, HardrankError, pl.exceptions.PolarsError) as error:
            out.append(Mismatch(number, name, "formula", finding.formula, str(error)))
            continue
        for part in _NUMBERS:
            stated, again = getattr(finding, part), getattr(found, part)
            if not _agree(stated, again):
                out.append(Mismatch(number, name, part, stated, again))
    return out


def read_findings(path: Path) -> list[Finding]:
    """From a JSON list of findings, or an object with such a list under `findings`."""
    try:
        stored = json.loads(path.read_text("utf-8"))
        rows = stored["findings"] if isinstance(stored, dict) else stored
        return [_finding(row) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"not a list of findings ({error})", path=path) from error


def _finding(row: dict[str, Any]) -> Finding:
    known = {f.name for f in fields(Finding)}
    made = {name: value for name, value in row.items() if name in known}
    for name in ("seeds", "per_seed"):
        made[name] = tuple(made.get(name, ()))
    return Finding(**made)


def _agree(stated: Any, found: Any) -> bool:
    if isinstance(stated, tuple):
        return len(stated) == len(found) and all(map(_agree, stated, found))
    if stated is None or found is None:
        return stated is found
    return bool(abs(stated - found) <= TOLERANCE)
