"""Attacked texts for training: who writes them, and how they outlive a kill."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from hardrank.files import write_json
from hardrank.recommender import Recommender

__all__ = ["AttackedText", "Forge", "forged"]


@dataclass(frozen=True, kw_only=True)
class AttackedText:
    """One listing as an attacker rewrote it."""

    item: int
    """Row in the catalogue."""
    field: str
    text: str
    """The field's new text."""
    attack: str
    """Who wrote it."""


class Forge(Protocol):
    """Attacks the model as it stands, for training. Its `repr` tells all that decides what it
    writes, but for the model."""

    @property
    def every(self) -> int:
        """Epochs from one round of attacks to the next."""
        ...

    def __call__(self, model: Recommender, epoch: int) -> Sequence[AttackedText]:
        """Depends on its arguments alone."""
        ...


def forged(forge: Forge, model: Recommender, epoch: int, folder: Path | None) -> list[AttackedText]:
    """What was forged up to this epoch (from 0), this epoch's round included if it has one.

    Rounds are kept in `folder`: later weights could not write the earlier ones again.
    """
    if epoch % forge.every == 0:
        path = None if folder is None else folder / f"forged-{epoch}.json"
        if path is None or not path.is_file():
            written = list(forge(model, epoch))
            if path is None:
                return written
            write_json(path, [asdict(text) for text in written])
    if folder is None:
        return []
    paths = (folder / f"forged-{e}.json" for e in range(0, epoch + 1, forge.every))
    return [AttackedText(**row) for p in paths for row in json.loads(p.read_text("utf-8"))]
