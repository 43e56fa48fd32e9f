"""WordNet as it is published: WN-LMF, the XML of the Global WordNet Association."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from hardrank.errors import DataError

__all__ = ["read_lmf"]


def read_lmf(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number, [synset, pos, members, hypernyms]) of each synset, fields as in the TSV form.

    Source: WN-LMF 1.3, https://globalwordnet.github.io/schemas. Members are in the order of
    the attribute `members`, else of the entries. The number counts synsets, as elements of
    XML have no lines. Raises `DataError` for what is no WN-LMF.
    """
    words: dict[str, str] = {}
    listed: dict[str, list[str]] = {}
    number = 0
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            for _, element in ElementTree.iterparse(file):
                if element.tag == "LexicalEntry":
                    _note(element, words, listed)
                    element.clear()
                elif element.tag == "Synset":
                    number += 1
                    yield number, _row(element, words, listed)
                    element.clear()
    except (OSError, EOFError, ElementTree.ParseError, KeyError) as error:
        raise DataError(
            f"is no WN-LMF after {number} synsets ({error!r})", path=path,
            remedy="download it again",
        ) from error  # fmt: skip
    if number == 0:
        raise DataError("has no synset", path=path, remedy="give a WN-LMF release")


def _note(entry: ElementTree.Element, words: dict[str, str], listed: dict[str, list[str]]) -> None:
    lemma = entry.find("Lemma")
    if lemma is None:
        raise KeyError("Lemma")
    words[entry.attrib["id"]] = lemma.attrib["writtenForm"]
    for sense in entry.iter("Sense"):
        listed.setdefault(sense.attrib["synset"], []).append(entry.attrib["id"])


def _row(
    synset: ElementTree.Element, words: dict[str, str], listed: dict[str, list[str]]
) -> list[str]:
    name = synset.attrib["id"]
    entries = [e for e in synset.get("members", "").split() if e in words] or listed.get(name, [])
    up = [
        relation.attrib["target"]
        for relation in synset.iter("SynsetRelation")
        if relation.attrib["relType"] in ("hypernym", "instance_hypernym")
    ]
    members = "|".join(dict.fromkeys(words[e] for e in entries))
    return [name, synset.attrib["partOfSpeech"], members, "|".join(up)]
