"""A model of a victim that an attacker fits to the answers: every word adds its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.draft import Draft
from hardrank.language.forms import shell
from hardrank.wording import split

__all__ = ["Additive", "Change", "change", "difference"]

Doubles = NDArray[np.float64]
Change = tuple[tuple[str, int], ...]
"""(word, how many more of it), words in alphabetical order, none with 0: what an edit means to
a victim that reads a bag of words without case."""


@lru_cache(maxsize=65536)
def _cores(filling: str) -> tuple[str, ...]:
    return tuple(shell(word)[1].lower() for word in split(filling))


def change(draft: Draft) -> Change:
    """What the touched slots add and take away."""
    counts: dict[str, int] = {}
    for slot in draft.touched:
        _count(counts, draft.original[slot], draft.words[slot])
    return _sorted(counts)


@lru_cache(maxsize=65536)
def difference(before: str, after: str) -> Change:
    """What one filling instead of another adds and takes away."""
    counts: dict[str, int] = {}
    _count(counts, before, after)
    return _sorted(counts)


def _count(counts: dict[str, int], before: str, after: str) -> None:
    for word in _cores(after):
        counts[word] = counts.get(word, 0) + 1
    for word in _cores(before):
        counts[word] = counts.get(word, 0) - 1


def _sorted(counts: dict[str, int]) -> Change:
    return tuple(sorted((word, n) for word, n in counts.items() if n))


@dataclass(frozen=True, eq=False)
class Additive:
    """Ridge regression of E users' margins on changes: margins = before + change . effects.

    One answer shows what a word does to every user of the panel, so that a few answers tell
    which words to put together, whoever each of them won. A word that was never asked about
    is taken to do nothing.
    """

    columns: dict[str, int]
    effects: Doubles
    """(C, E) of one word more of each."""

    @classmethod
    def fit(cls, changes: Sequence[Change], shifts: Doubles, penalty: float) -> "Additive":
        """shifts: (N, E) by how much each of N changes moved the margins. In the dual form,
        (X X' + penalty I)^-1, as there are fewer answers than words."""
        words = dict.fromkeys(word for c in changes for word, _ in c)
        columns = {word: n for n, word in enumerate(words)}
        x = _matrix(changes, columns)
        kernel = x @ x.T + penalty * np.eye(len(x))
        return cls(columns, x.T @ np.linalg.solve(kernel, shifts))

    def __call__(self, changes: Sequence[Change]) -> Doubles:
        """(N, E) the shifts that are expected."""
        return _matrix(changes, self.columns) @ self.effects


def _matrix(changes: Sequence[Change], columns: dict[str, int]) -> Doubles:
    x = np.zeros((len(changes), len(columns)))
    for row, made in enumerate(changes):
        for word, n in made:
            if word in columns:
                x[row, columns[word]] = n
    return x
