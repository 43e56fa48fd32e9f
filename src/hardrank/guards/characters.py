"""Characters that are not what they look like, undone one by one.

Each rule looks at a text and says which characters should read otherwise; none touches what
its script needs: joiners of Arabic, Indic scripts and emoji, direction marks beside letters
that run from right to left, wide forms beside Chinese, Japanese or Korean. Facts are those of
Unicode Standard Annex 9 (direction), 15 (normal forms) and Technical Standard 39 (scripts).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from hardrank.language.confusables import READ_AS

__all__ = ["Mended", "mended"]

Change = tuple[int, str]
"""(character of the text, what stands there instead)"""

_OVERRIDES = "\u202d\u202e"
_OPENS, _CLOSES = "\u202a\u202b\u2066\u2067\u2068", "\u202c\u2069"
_MARKS = "\u200e\u200f\u061c"
_BIDI = _OVERRIDES + _OPENS + _CLOSES + _MARKS
_FILLERS = "\u115f\u1160\u3164\uffa0"
_BLACK_FLAG, _KEYCAP = "\U0001f3f4", "\u20e3"
_EAST = re.compile("[\u1100-\u11ff\u3001-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]")
_JOINING = re.compile("[\u0600-\u0dff\u1000-\u109f\u1780-\u18af\ua840-\uabff\ufb50-\ufefc]")
_NO_BLANKS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_SUSPECT = re.compile(
    "[^\t\n\r -~\u00a0-\u00ac\u00ae-\u00ff\u3001-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
"""Texts without such a character have nothing to mend."""
_WORD = re.compile(r"[^\W\d_]+")
_MOST_MARKS = 2
"""Combining marks on one Latin, Greek or Cyrillic letter; no language composes more."""
_FOLDED = {"<font>", "<circle>", "<square>", "<super>", "<sub>", "<wide>"}
_FEMININE, _MASCULINE = "\u00aa", "\u00ba"


@dataclass(frozen=True)
class Mended:
    """A text as it reads, and where that differs from what was written."""

    text: str
    changed: frozenset[int]
    """Characters of the original that were replaced, left out, or shown in another order."""

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """(start, end) runs of `changed`, in order."""
        found: list[list[int]] = []
        for at in sorted(self.changed):
            if found and found[-1][1] == at:
                found[-1][1] = at + 1
            else:
                found.append([at, at + 1])
        return tuple((start, end) for start, end in found)


def mended(text: str) -> Mended:
    """The text as a reader takes it; equal to it where nothing is hidden in it.

    Composed at the end (NFC), which changes how characters are stored and not how they read.
    """
    if not _SUSPECT.search(text) and unicodedata.is_normalized("NFC", text):
        return Mended(text, frozenset())
    pieces = list(text)
    turned = frozenset(_turned(text))
    for rule in (_directions, _invisible, _piled, _folded):
        for at, piece in rule(text):
            pieces[at] = piece
    for at, piece in _twins(pieces):
        pieces[at] = piece
    changed = frozenset(n for n, piece in enumerate(pieces) if piece != text[n])
    return Mended(unicodedata.normalize("NFC", "".join(pieces)), changed | turned)


def _right_to_left(text: str) -> bool:
    letters = (c for c in text if c not in _BIDI)
    return any(unicodedata.bidirectional(c) in ("R", "AL") for c in letters)


def _turned(text: str) -> Iterator[int]:
    """Characters under an override: they are shown in another order than they are stored."""
    under = False
    for at, c in enumerate(text):
        under = (under or c in _OVERRIDES) and c not in _CLOSES
        if under:
            yield at


def _directions(text: str) -> Iterator[Change]:
    """Overrides never; other controls only in texts with letters that run to the left."""
    if not any(c in _BIDI for c in text):
        return
    keeps = _right_to_left(text) and not any(c in _OVERRIDES for c in text)
    opened = sum(c in _OPENS for c in text)
    balanced = opened == sum(c in _CLOSES for c in text)
    for at, c in enumerate(text):
        if c in _BIDI and not (keeps and (c in _MARKS or balanced)):
            yield at, ""


def _invisible(text: str) -> Iterator[Change]:
    for at, c in enumerate(text):
        if c in _BIDI or " " <= c <= "~":
            continue
        kind = unicodedata.category(c)
        if kind == "Cs":
            yield at, "\ufffd"
        elif kind == "Cc":
            if c not in "\t\n\r\x85":
                yield at, ""
        elif (c in _FILLERS or kind == "Cf" or _selector(c)) and not _needed(text, at):
            yield at, ""


def _selector(c: str) -> bool:
    return "\ufe00" <= c <= "\ufe0f" or "\U000e0100" <= c <= "\U000e01ef"


def _needed(text: str, at: int) -> bool:
    """Whether the script or the emoji beside an invisible character reads it."""
    c, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if c == "\u200d" and _pictured(before) and _pictured(after):
        return True
    if c in "\u200c\u200d":
        return bool(_JOINING.match(before))
    if c == "\u200b":
        return bool(_NO_BLANKS.match(before) and _NO_BLANKS.match(after))
    if "\U000e0020" <= c <= "\U000e007f":
        return bool(re.search(f"{_BLACK_FLAG}[\U000e0020-\U000e007e]{{0,6}}$", text[:at]))
    if "\U000e0100" <= c <= "\U000e01ef":
        return bool(_EAST.match(before))
    if _selector(c):
        drawn = bool(before) and not before.isspace() and not before.isalnum()
        return drawn or after == _KEYCAP
    if c in "\u115f\u1160":
        return "\u1100" <= (after or before or " ") <= "\u11ff"
    return c in "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u08e2"


def _pictured(c: str) -> bool:
    return bool(c) and (unicodedata.category(c) in ("So", "Sk") or c in "\ufe0f\u2640\u2642")


def _piled(text: str) -> Iterator[Change]:
    """Marks heaped on a letter whose script has no more than two."""
    base, marks = "", 0
    for at, c in enumerate(text):
        if unicodedata.category(c) not in ("Mn", "Me"):
            base, marks = c, 0
            continue
        marks += 1
        if marks > _MOST_MARKS and _script(base) in ("LATIN", "GREEK", "CYRILLIC", ""):
            yield at, ""


def _folded(text: str) -> Iterator[Change]:
    east = bool(_EAST.search(text))
    for at, c in enumerate(text):
        plain = _plain(c)
        if plain and not (east and unicodedata.decomposition(c).startswith("<wide>")):
            yield at, plain


@lru_cache(maxsize=1 << 16)
def _plain(c: str) -> str:
    """The ASCII character that this one is a form of; '' for most. A raised or circled digit
    means something of its own and is none."""
    if c <= "~" or c in (_FEMININE, _MASCULINE):
        return ""
    form = unicodedata.decomposition(c).split(" ")[0]
    plain = unicodedata.normalize("NFKC", c)
    if form not in _FOLDED or len(plain) != 1 or not "!" <= plain <= "~":
        return ""
    return plain if plain.isalpha() or form in ("<font>", "<wide>") else ""


def _twins(pieces: list[str]) -> Iterator[Change]:
    """Letters of another script inside a word, and whole words of them in a Latin text."""
    joined, owners = "".join(pieces), [n for n, piece in enumerate(pieces) for _ in piece]
    words = [(m.start(), m.group()) for m in _WORD.finditer(joined)]
    real = {_script(c) for _, word in words for c in word if c not in READ_AS}
    for start, word in words:
        for offset, letter in _reading(word, real):
            yield owners[start + offset], letter


def _reading(word: str, real: set[str]) -> Iterator[Change]:
    """real: scripts of which the text has letters that no Latin one looks like."""
    if word.isascii():
        return
    scripts = [_script(c) for c in word]
    latin = [n for n, s in enumerate(scripts) if s == "LATIN"]
    twins = [n for n, c in enumerate(word) if c in READ_AS and scripts[n] != "LATIN"]
    small = [n for n in latin if word[n] in READ_AS]
    if len(small) > 1 or (small and len(small) < len(latin)):
        yield from ((n, READ_AS[word[n]]) for n in small)
    others = len(word) - len(latin) - len(twins)
    if twins and not others and (latin or (len(word) > 1 and _stray(scripts, real))):
        yield from ((n, READ_AS[word[n]]) for n in twins)
    elif latin and set(scripts) == {"LATIN", "CYRILLIC"}:
        back = [(n, _CYRILLIC.get(word[n])) for n in latin]
        if all(letter for _, letter in back):
            yield from ((n, letter) for n, letter in back if letter)


def _stray(scripts: list[str], real: set[str]) -> bool:
    """A word of twins alone, in a text that is Latin and otherwise not of the word's script."""
    return "LATIN" in real and not real & set(scripts)


@lru_cache(maxsize=1 << 16)
def _script(c: str) -> str:
    """First word of the character's name, which for letters is their script."""
    return unicodedata.name(c, "").split(" ")[0]


_CYRILLIC = {letter: twin for twin, letter in READ_AS.items() if _script(twin) == "CYRILLIC"}
"""Latin letter -> its Cyrillic twin."""
