"""A thesaurus from an Open English WordNet on disk."""

import functools
import gzip
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hardrank.errors import DataError, Unsupported
from hardrank.language.forms import Form, inflect, lemmas, like, shell

__all__ = ["PartOfSpeech", "Thesaurus", "find_wordnet"]

PartOfSpeech = Literal["n", "v", "a", "r"]
"""Noun, verb, adjective (with its satellites), adverb."""

_COLUMNS = ("synset", "pos", "members", "hypernyms")
_FOLDER = "open-english-wordnet"
_HOW = (
    "download the XML (WN-LMF) release of the Open English WordNet from https://en-word.net "
    f"into {_FOLDER}/ in the folder that HARDRANK_DATA names"
)
_POS_OF: dict[Form, tuple[str, ...]] = {
    "plural": ("n",),
    "third": ("v",),
    "ing": ("v",),
    "ed": ("v",),
}


@dataclass(frozen=True, slots=True)
class _Synset:
    pos: str
    members: tuple[str, ...]
    hypernyms: tuple[str, ...]


_Members = Callable[[_Synset], Iterable[str]]


@dataclass(frozen=True, eq=False)
class Thesaurus:
    """Synonym sets, found by word. Built by `load`.

    Words are asked for as they stand in a text: marks around them and their case are kept
    ("(Blue)," -> "(Bluish),"), and an inflected word gets inflected answers ("lotions" ->
    "creams"). A word is looked up as it is and as a form of each base word it may be; the
    readings as it is come first.
    """

    synsets: dict[str, _Synset]
    senses: dict[str, tuple[str, ...]]
    """Ids of the synsets of each lower-case member, in file order."""

    @classmethod
    def load(cls, path: Path | str) -> "Thesaurus":
        """Read once per process and file.

        path: a TSV (plain or .gz) with the columns synset, pos (n, v, a, s or r), members and
            hypernyms (synset ids), several divided by `|`; or a WN-LMF file (.xml or .xml.gz)
            as the Open English WordNet is published, which takes some seconds.
        Raises `DataError` naming line and field of a bad row, `Unsupported` if there is no file.
        """
        path = Path(path)
        if not path.is_file():
            raise Unsupported(f"no WordNet at {path}; {_HOW}")
        return _load(path.resolve(), path.stat().st_mtime_ns)

    def synonyms(self, word: str, pos: PartOfSpeech | None = None) -> tuple[str, ...]:
        """Other members of the synsets of `word`, single words first, then those that share
        more synsets with it, then those with more senses of their own (common words have
        more: Zipf, 1945), then in file order. Empty for a word that is not known."""
        return self._answers(word, pos, lambda s: s.members)

    def hypernyms(self, word: str, pos: PartOfSpeech | None = None) -> tuple[str, ...]:
        """Members of the synsets one step more general ("shampoo" -> "soap"), in the same
        order. Adjectives and adverbs have none."""
        return self._answers(
            word, pos, lambda s: (m for up in s.hypernyms for m in self.synsets[up].members)
        )

    def __contains__(self, word: str) -> bool:
        """Whether the word, as it is or as a form of another, has a synset."""
        return any(True for _ in self._readings(shell(word)[1].lower(), None))

    def _answers(self, word: str, pos: PartOfSpeech | None, members: _Members) -> tuple[str, ...]:
        before, core, after = shell(word)
        asked = core.lower()
        out: dict[str, None] = {}
        for base, form, found in self._readings(asked, pos):
            for member in self._ranked([members(s) for s in found]):
                made = inflect(member, form)
                if member.lower() != base and made.lower() != asked:
                    out.setdefault(before + like(made, core) + after)
        return tuple(sorted(out, key=lambda m: " " in m))  # stable: single words first

    def _readings(
        self, word: str, pos: PartOfSpeech | None
    ) -> Iterator[tuple[str, Form, list[_Synset]]]:
        """(base form, form, its synsets of that part of speech)."""
        seen: set[tuple[str, Form]] = set()
        for base, form in ((word, "base"), *lemmas(word)):
            wanted = {pos} if pos else set("nvar")
            found = [
                s
                for s in (self.synsets[i] for i in self.senses.get(base, ()))
                if _plain(s.pos) in wanted.intersection(_POS_OF.get(form, tuple("nvar")))
            ]
            if found and (base, form) not in seen:
                seen.add((base, form))
                yield base, form, found

    def _ranked(self, sets: list[Iterable[str]]) -> list[str]:
        shared: dict[str, int] = {}
        for members in sets:
            for member in dict.fromkeys(members):
                shared[member] = shared.get(member, 0) + 1
        return sorted(shared, key=lambda m: (-shared[m], -len(self.senses[m.lower()])))


def find_wordnet() -> Path:
    """`open-english-wordnet/synsets.tsv.gz`, or an XML release beside it, in the folder that
    `HARDRANK_DATA` names, else in `data` or `../shared/data`.

    Raises `Unsupported` with where to get it.
    """
    named = os.environ.get("HARDRANK_DATA")
    for place in [Path(named)] if named else [Path("data"), Path("../shared/data")]:
        for pattern in ("synsets.tsv.gz", "synsets.tsv", "*.xml.gz", "*.xml"):
            for path in sorted((place / _FOLDER).glob(pattern)):
                return path
    raise Unsupported(f"no WordNet data; {_HOW}")


def _plain(pos: str) -> str:
    return "a" if pos == "s" else pos


@functools.cache
def _load(path: Path, _changed: int) -> Thesaurus:
    if path.name.removesuffix(".gz").endswith(".xml"):
        from hardrank.language.wordnet_lmf import read_lmf

        rows: Iterable[tuple[int, list[str]]] = read_lmf(path)
    else:
        rows = _rows(path)
    synsets: dict[str, _Synset] = {}
    lines: dict[str, int] = {}
    for line, (name, pos, members, hypernyms) in rows:
        if pos not in ("n", "v", "a", "s", "r"):
            raise DataError(
                f"is '{pos}', not one of n, v, a, s, r", path=path, line=line, field="pos"
            )
        if name in synsets:
            raise DataError(
                f"'{name}' stands in line {lines[name]} too", path=path, line=line, field="synset"
            )
        split = tuple(members.split("|"))
        if not all(m.strip() for m in split):
            raise DataError("has an empty member", path=path, line=line, field="members")
        synsets[name] = _Synset(pos, split, tuple(filter(None, hypernyms.split("|"))))
        lines[name] = line
    _check_hypernyms(synsets, lines, path)
    senses: dict[str, list[str]] = {}
    for name, synset in synsets.items():
        for member in dict.fromkeys(m.lower() for m in synset.members):
            senses.setdefault(member, []).append(name)
    return Thesaurus(synsets, {m: tuple(ids) for m, ids in senses.items()})


def _check_hypernyms(synsets: dict[str, _Synset], lines: dict[str, int], path: Path) -> None:
    for name, synset in synsets.items():
        for up in synset.hypernyms:
            if up not in synsets:
                raise DataError(
                    f"'{up}' is no synset of this file",
                    path=path, line=lines[name], field="hypernyms",
                )  # fmt: skip


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, four fields) of each row of a TSV with the right header."""
    opened = gzip.open if path.suffix == ".gz" else open
    line = 0
    try:
        with opened(path, "rt", encoding="utf-8", newline="\n") as file:
            for line, text in enumerate(file, 1):
                fields = text.rstrip("\r\n").split("\t")
                if line == 1:
                    _check_header(fields, path)
                elif len(fields) != len(_COLUMNS):
                    raise DataError(
                        f"has {len(fields)} fields, not {len(_COLUMNS)}", path=path, line=line
                    )
                else:
                    yield line, fields
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot be read: {error}", path=path, line=line + 1, remedy="download it again"
        ) from error
    if line == 0:
        raise DataError("is empty", path=path, remedy="download it again")


def _check_header(fields: list[str], path: Path) -> None:
    if tuple(fields) != _COLUMNS:
        raise DataError(
            f"the columns are {', '.join(fields)}",
            path=path, line=1, remedy=f"they must be {', '.join(_COLUMNS)}, divided by tabs",
        )  # fmt: skip
