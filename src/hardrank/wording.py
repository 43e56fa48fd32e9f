"""What a word is: one rule for budgets, edits and gradients."""

import re

__all__ = ["spans", "split"]

_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Kana and Han characters: written without blanks, each counts as a word of its own."""
_WORD = re.compile(rf"[{_ALONE}]|[^\s{_ALONE}]+")


def spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each word: what blanks separate, and each Han or kana character alone.

    With characters alone a Chinese title of twelve characters has twelve words, so that a
    budget of three words means as much there as it does in English.
    """
    return [match.span() for match in _WORD.finditer(text)]


def split(text: str) -> list[str]:
    """The words of `spans`; equal to `text.split()` where there is no Han or kana."""
    return _WORD.findall(text)
