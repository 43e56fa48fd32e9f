"""Chinese characters that sound alike, look alike, or are one character in two scripts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from hardrank.errors import DataError

__all__ = ["Hanzi", "read"]

_OWN = Path(__file__).with_name("hanzi.tsv")
_REMEDY = "write: character TAB pinyin TAB look-alikes TAB traditional form"


@dataclass(frozen=True, eq=False)
class Hanzi:
    """What a table says. A character that it does not have has no alternatives."""

    readings: dict[str, tuple[str, ...]]
    """Character -> readings with the tone as a digit, the commonest first: `shou3`."""
    glyphs: dict[str, str]
    """Character -> those that look like it."""
    variants: dict[str, str]
    """Simplified -> traditional and traditional -> simplified."""

    @cached_property
    def _sounds(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for character, readings in self.readings.items():
            for reading in readings:
                found.setdefault(reading, []).append(character)
        return found

    def homophones(self, character: str) -> list[str]:
        """Those with a reading of the same syllable; of the same tone first, then in the
        order of the table."""
        found: list[str] = []
        for reading in self._read(character):
            same, base = self._sounds.get(reading, []), reading[:-1]
            others = (self._sounds.get(base + tone, []) for tone in "12345")
            found += [*same, *(c for group in others for c in group)]
        own = {character, self.variants.get(character)}
        return [c for c in dict.fromkeys(found) if c not in own]

    def pinyin(self, character: str) -> list[str]:
        """Readings without tone as they are typed: `shou`, `lv`."""
        bare = (reading[:-1] for reading in self._read(character))
        return list(dict.fromkeys(bare))

    def _read(self, character: str) -> tuple[str, ...]:
        """A traditional character sounds like its simplified one."""
        simple = self.variants.get(character, "")
        return self.readings.get(character) or self.readings.get(simple, ())


@cache
def read(path: Path | None = None) -> Hanzi:
    """The table at `path`, else the built-in one.

    TSV, UTF-8, lines of one character and up to three more columns: readings (pinyin with
    the tone as a digit, separated by commas), look-alike characters, traditional form. Blank
    lines and lines that begin with # say nothing.

    The built-in table holds 1,490 common characters, most of what shop titles are written
    with; rare ones are left as they are. Readings are Hanyu Pinyin (GB/T 16159), forms those
    of Unihan (Unicode Standard Annex 38). Raises `DataError` with file and line.
    """
    source = path or _OWN
    readings, glyphs, variants = {}, {}, dict[str, str]()
    for number, (character, sounds, alike, other) in _rows(source):
        if len(character) != 1:
            raise DataError("not one character", path=source, line=number, remedy=_REMEDY)
        for sound in filter(None, sounds.split(",")):
            if not (sound[:-1].isascii() and sound[:-1].isalpha() and sound[-1] in "12345"):
                raise DataError(f"'{sound}' is no pinyin", path=source, line=number, remedy=_REMEDY)
        readings[character] = tuple(filter(None, sounds.split(",")))
        glyphs[character] = alike
        if other:
            variants[character] = other
            variants.setdefault(other, character)
    return Hanzi(readings, glyphs, variants)


def _rows(source: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        text = source.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", path=source, remedy=_REMEDY) from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            cells = [cell.strip() for cell in line.split("\t")]
            yield number, (cells + [""] * 3)[:4]
