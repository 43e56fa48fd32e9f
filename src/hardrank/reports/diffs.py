"""Word-level difference of two texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Piece", "diff_words", "folded"]

Op = Literal["same", "deleted", "inserted"]
_LONGEST = 600
"""Words compared; what comes after is cut, since a table of lengths squared is kept."""


@dataclass(frozen=True)
class Piece:
    """Neighbouring words with one fate."""

    op: Op
    words: tuple[str, ...]


def diff_words(before: str, after: str) -> tuple[Piece, ...]:
    """The shortest edit by whole words: a longest common subsequence is kept.

    Words are split at white space. Kept and deleted words are `before`, kept and inserted
    words are `after`; of a replaced run, deletions come first. Texts longer than 600 words
    are compared up to there.
    """
    old, new = before.split()[:_LONGEST], after.split()[:_LONGEST]
    ops: list[tuple[Op, str]] = []
    i = j = 0
    length = _common(old, new)
    while i < len(old) or j < len(new):
        if i < len(old) and j < len(new) and old[i] == new[j]:
            ops.append(("same", old[i]))
            i, j = i + 1, j + 1
        elif j == len(new) or (i < len(old) and length[i + 1][j] >= length[i][j + 1]):
            ops.append(("deleted", old[i]))
            i += 1
        else:
            ops.append(("inserted", new[j]))
            j += 1
    return _merged(ops)


def _common(old: Sequence[str], new: Sequence[str]) -> list[list[int]]:
    """`[i][j]`: length of the longest common subsequence of old[i:] and new[j:]."""
    length = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in range(len(old) - 1, -1, -1):
        below, row, word = length[i + 1], length[i], old[i]
        for j in range(len(new) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if word == new[j] else max(below[j], row[j + 1])
    return length


def _merged(ops: list[tuple[Op, str]]) -> tuple[Piece, ...]:
    """Runs of one fate; between kept words all deletions, then all insertions."""
    pieces: list[Piece] = []
    start = 0
    while start < len(ops):
        same = ops[start][0] == "same"
        end = start
        while end < len(ops) and (ops[end][0] == "same") == same:
            end += 1
        for op in ("same",) if same else ("deleted", "inserted"):
            words = tuple(word for kind, word in ops[start:end] if kind == op)
            if words:
                pieces.append(Piece(op, words))  # type: ignore[arg-type]
        start = end
    return tuple(pieces)


def folded(pieces: tuple[Piece, ...], keep: int = 8) -> tuple[Piece, ...]:
    """Long kept runs shortened to `keep` words on each side that touches a change."""
    out = []
    for place, piece in enumerate(pieces):
        if piece.op != "same" or len(piece.words) <= 2 * keep + 1:
            out.append(piece)
            continue
        head = piece.words[:keep] if place > 0 else ()
        tail = piece.words[-keep:] if place < len(pieces) - 1 else ()
        if not head and not tail:
            head = piece.words[: 2 * keep]
        out.append(Piece("same", (*head, "…", *tail)))
    return tuple(out)
