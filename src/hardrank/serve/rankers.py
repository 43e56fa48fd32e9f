"""How a model answers over a catalogue that grows while it serves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hardrank.types import Floats, Ints, Scores

__all__ = ["Question", "Ranker", "Rows"]


@dataclass(frozen=True, slots=True)
class Question:
    """One request as a model reads it."""

    history: tuple[int, ...]
    """Rows of the catalogue, oldest first."""
    text: str | None = None
    """What is wanted, in words: read as if it were the newest item of the history."""
    user: int = -1
    """Row of the user in the training log, where the model may answer from it."""


class Ranker(Protocol):
    """A model over the rows of a `Catalogue`. Not safe for threads, except `read`."""

    reads_text: bool
    """Whether a question may have a text."""
    reads_new: bool
    """Whether it can rank an item that it was not trained with."""

    def read(self, fields: Mapping[str, str]) -> Floats | None:
        """What it makes of an item's texts: the slow part of `put`, which changes nothing."""
        ...

    def put(self, row: int, fields: Mapping[str, str], read: Floats | None) -> bool:
        """Row `row` reads so from now on; whether it can be ranked. Rows come in order."""
        ...

    def scores(self, asked: Sequence[Question]) -> Scores:
        """(Q, I) of all rows in a fresh array; -inf where it cannot rank a row."""
        ...

    def states(self, asked: Sequence[Question]) -> Floats | None:
        """(Q, D) whose inner products with `vectors` are the scores; None where scores are
        no inner products."""
        ...

    def vectors(self) -> Floats | None:
        """(I, D) of all rows that it can rank, see `states`."""
        ...

    def units(self, rows: Ints) -> Floats | None:
        """(N, D) item vectors of length 1, for likeness; None where it has no vectors."""
        ...

    def forget(self) -> None:
        """No state of anybody is kept: somebody is to be forgotten."""
        ...


class Rows:
    """A matrix that gains rows: room doubles, so that adding one costs no copy of all."""

    def __init__(self, first: Floats) -> None:
        self._held = np.ascontiguousarray(first, dtype=np.float32)
        self._size = len(first)

    def __len__(self) -> int:
        return self._size

    @property
    def all(self) -> Floats:
        return self._held[: self._size]

    def put(self, row: int, vector: Floats) -> None:
        """Rows between the end and `row` are zero."""
        if row >= len(self._held):
            room = np.zeros((max(2 * len(self._held), row + 64), self._held.shape[1]), np.float32)
            room[: self._size] = self._held[: self._size]
            self._held = room
        self._size = max(self._size, row + 1)
        self._held[row] = vector


def unit(vectors: Floats) -> Floats:
    """(N, D) rows of length 1; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)
