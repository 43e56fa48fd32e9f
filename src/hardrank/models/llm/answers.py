"""Reading a language model's answers, however it put them."""

import difflib
import re
from collections.abc import Sequence

__all__ = ["read_liking", "read_order"]

_BRACKETED = re.compile(r"[\[(（【]\s*(\d{1,4})\s*[\])）】]")
_RUN = re.compile(r"\d{1,4}(?:(?:\s*(?:,|，|、|;|>|→|->|\band\b|\bthen\b)\s*|\s+)\d{1,4})*")
_BULLET = re.compile(r"^\s*(?:[-*•]|[\[(]?\d{1,4}[\])]?[.:)、．]?)\s*")
_LEADING = re.compile(r"^\s*[-*•]?\s*[\[(]?(\d{1,4})\b")
_LIKE = 0.8
"""Least share of equal characters for a title that was not copied exactly."""


def read_order(answer: str, candidates: Sequence[str]) -> list[int]:
    """Rows of the candidates in the order of the answer, each once; those it does not
    mention are missing, and numbers that nobody has are left out. Empty where nothing in it
    names a candidate.

    Understood, in this order: numbers in brackets, a line for each title, one run of
    numbers, lines that begin with a number. Candidates are numbered from 1.
    """
    count, lines = len(candidates), [line for line in answer.splitlines() if line.strip()]
    bracketed = _rows(_BRACKETED.findall(answer), count)
    if len(bracketed) >= min(2, count):
        return bracketed
    titled = _titled(lines, candidates)
    if len(titled) >= max(1, min(len(lines), count) / 2):
        return titled
    runs = [_rows(re.findall(r"\d+", run), count) for run in _RUN.findall(answer)]
    longest = max(runs, key=len, default=[])
    leading = _rows([m[1] for line in lines if (m := _LEADING.match(line))], count)
    return max(longest, leading, bracketed, key=len)


def read_liking(answer: str) -> float | None:
    """1 for yes, 0 for no, a share for a number of 0 to 100; None for anything else."""
    said = answer.strip().strip("\"'*`.,! ").casefold()
    if re.match(r"(?:yes|true)\b|是|会|喜欢", said):
        return 1.0
    if re.match(r"(?:no|not|false)\b|否|不", said):
        return 0.0
    number = re.match(r"(\d{1,3}(?:\.\d+)?)\s*(?:%|/\s*100|$)", said)
    return min(1.0, float(number[1]) / 100) if number else None


def _rows(numbers: Sequence[str], count: int) -> list[int]:
    rows = (int(number) - 1 for number in numbers)
    return list(dict.fromkeys(row for row in rows if 0 <= row < count))


def _titled(lines: Sequence[str], candidates: Sequence[str]) -> list[int]:
    known = [_plain(text) for text in candidates]
    found = (_named(line, known) for line in lines)
    return list(dict.fromkeys(row for row in found if row is not None))


def _plain(text: str) -> str:
    return " ".join(text.casefold().strip(" \t«»\"'*`.,").split())


def _named(line: str, known: Sequence[str]) -> int | None:
    """Row of the title that the line is, nearly; the one that its number says among those."""
    title, leading = _plain(_BULLET.sub("", line)), _LEADING.match(line)
    if len(title) < 2:
        return None
    if title in known:
        return known.index(title)
    close = difflib.get_close_matches(title, known, n=len(known), cutoff=_LIKE)
    row = int(leading[1]) - 1 if leading else -1
    if 0 <= row < len(known) and known[row] in close:
        return row
    return known.index(close[0]) if close else None
