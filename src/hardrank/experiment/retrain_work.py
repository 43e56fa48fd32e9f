"""The folder beside a challenger's bundle: one retraining at a time, and where it began."""

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardrank.errors import ConfigError
from hardrank.files import write_json

__all__ = ["alone", "began_with", "begin", "free", "work_folder"]

_BEGAN, _LOCK = "began.json", ".lock"


def work_folder(out: Path) -> Path:
    """Beside the bundle: checkpoints, matches, quarantined users."""
    return out.with_name(f"{out.name}.retraining")


def free(out: Path) -> None:
    if out.exists():
        raise ConfigError("retrain", [f"--out: {out} is there already; choose another name"])


@contextlib.contextmanager
def alone(out: Path) -> Iterator[Path]:
    """The work folder of `out`, which nobody else works in until the block ends. The system
    lets go of the lock when the process dies, so none is left behind; the file of it stays.

    Raises `ConfigError` where another retraining is at it, or `out` is taken.
    """
    free(out)
    work = work_folder(out)
    work.mkdir(parents=True, exist_ok=True)
    with (work / _LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            wrong = f"--out: another retraining is writing to {out}; wait, or choose another name"
            raise ConfigError("retrain", [wrong]) from error
        free(out)  # another one may have ended just before
        yield work


def begin(work: Path, key: str, until: int) -> None:
    """Training of this retraining begins with the store's events up to that number."""
    write_json(work / _BEGAN, {"key": key, "until": until})


def began_with(work: Path, key: str) -> int | None:
    """The number that `begin` wrote for this key; None if it did not."""
    path = work / _BEGAN
    if not path.is_file():
        return None
    begun: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return int(begun["until"]) if begun["key"] == key else None
