"""One attack on one target: the patch and what it cost, kept as a line of JSON."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hardrank.data import Patch
from hardrank.errors import DataError
from hardrank.threats.model import ThreatModel

__all__ = ["Match", "MatchKey", "MatchLog"]

_THREAT: TypeAdapter[ThreatModel] = TypeAdapter(ThreatModel)


@dataclass(frozen=True, kw_only=True)
class MatchKey:
    """What makes two matches the same: equal keys give equal patches."""

    attack: str
    threat: ThreatModel
    target: str
    seed: int
    victim: str


@dataclass(frozen=True, kw_only=True)
class Match:
    """What the referee saw."""

    attack: str
    """Label: the kind, and the hyperparameters that are not the default ones."""
    threat: ThreatModel
    target: str
    """Item id."""
    patch: Patch
    """Empty when the attack found nothing better than the text that stands there."""
    queries: int = 0
    """Versions of the listing submitted and observed."""
    words: int = 0
    """Words inserted, deleted or replaced."""
    word_share: float = 0.0
    """`words` over the number of words of the longer of both texts, in [0, 1]."""
    characters: int = 0
    """Characters inserted, deleted or replaced."""
    events: int = 0
    """Events of a history inserted, replaced or moved, or of fake users."""
    profiles: int = 0
    """Fake users added; `events` counts theirs."""
    similarity: float | None = None
    """The judge's similarity of both texts; None without a judge."""
    seconds: float = 0.0
    seed: int = 0
    victim: str = ""
    """First digits of the digest of the victim's arrays and catalogue."""
    error: str | None = None
    """Why the attack could not be mounted (then the patch is empty); None if it was."""

    @property
    def key(self) -> MatchKey:
        return MatchKey(
            attack=self.attack, threat=self.threat, target=self.target, seed=self.seed,
            victim=self.victim,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        row["threat"] = _THREAT.dump_python(self.threat, mode="json", exclude_none=True)
        row["patch"] = self.patch.to_json()
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Match":
        """Raises `ValueError`, `TypeError` or `KeyError` on a row that is no match."""
        threat = _THREAT.validate_python(row["threat"])
        return cls(**{**row, "threat": threat, "patch": Patch.from_json(row["patch"])})


@dataclass(frozen=True)
class MatchLog:
    """Matches as JSON lines, appended one by one. A line is there whole or not at all:
    what a killed process left of its last line is dropped by the next reader or writer."""

    path: Path

    def __iter__(self) -> Iterator[Match]:
        """Raises `DataError` with file and line on a whole line that is no match."""
        if not self.path.exists():
            return
        lines = self.path.read_bytes().split(b"\n")[:-1]
        for number, line in enumerate(lines, 1):
            try:
                yield Match.from_json(json.loads(line))
            except (ValueError, TypeError, KeyError, ValidationError) as error:
                raise DataError(
                    f"not a match ({error})", path=self.path, line=number,
                    remedy="remove the line to have that match played again",
                ) from error  # fmt: skip

    def load(self) -> dict[MatchKey, Match]:
        """All finished matches by key; the last of equal keys."""
        return {match.key: match for match in self}

    def append(self, match: Match) -> None:
        """Add one line and wait until it is on disk."""
        line = json.dumps(match.to_json(), ensure_ascii=False, sort_keys=True, allow_nan=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            _drop_unfinished(file.fileno())
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _drop_unfinished(handle: int) -> None:
    """Cut the file after its last line end."""
    size = end = os.fstat(handle).st_size
    while end:
        start = max(0, end - 65536)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(handle, end)
