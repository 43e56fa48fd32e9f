"""How far an edited text is from the original: words, characters, cosine of vectors."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["cosine_rows", "edit_distance", "word_share", "words_edited"]


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Levenshtein distance (insert, delete, substitute cost 1) of strings or word lists.

    Bit-parallel: Myers, J. ACM 46(3), 1999, in the form of Hyyro, 2003 (edit distance of
    whole strings). One column of the table is two Python integers of len(a) bits, so the
    cost is len(b) operations on len(a) / 64 machine words.
    """
    if len(a) < len(b):
        a, b = b, a
    if not len(b):
        return len(a)
    where: dict[Hashable, int] = {}
    for place, symbol in enumerate(a):
        where[symbol] = where.get(symbol, 0) | 1 << place
    full, top = (1 << len(a)) - 1, 1 << (len(a) - 1)
    rises, falls, distance = full, 0, len(a)  # vertical +1 / -1 steps of the column
    for symbol in b:
        match = where.get(symbol, 0)
        zero = (((match & rises) + rises) ^ rises) | match | falls
        up = falls | (full & ~(zero | rises))
        down = rises & zero
        distance += bool(up & top) - bool(down & top)
        up, down = (up << 1) | 1, down << 1
        rises = (down | ~(zero | up)) & full
        falls = up & zero & full
    return distance


def words_edited(before: str, after: str) -> int:
    """Fewest whole words to insert, delete or replace; words are split at white space."""
    return edit_distance(before.split(), after.split())


def word_share(before: str, after: str) -> float:
    """`words_edited` over the words of the longer text, in [0, 1]; 0 when both are empty."""
    longer = max(len(before.split()), len(after.split()), 1)
    return words_edited(before, after) / longer


def cosine_rows(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) cosine of each pair of rows of two (N, D) arrays; 0 where a row is zero."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    dots = np.einsum("nd,nd->n", x, y)
    out = np.zeros(len(x))
    np.divide(dots, norms, out=out, where=norms > 0)
    return out
