"""Frequency-guided word substitution: does a text mean something else in usual words?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.encoded import Place, encoder_of, places, rewritten, vectors
from hardrank.guards.lesson import Lesson, clean_border, share_above
from hardrank.language.forms import shell
from hardrank.language.neighbours import Neighbours
from hardrank.types import Count, Floats, Share, spec
from hardrank.wording import split

__all__ = ["FittedRareWords", "RareWords"]

Doubles = NDArray[np.float64]
_SHOWN = 3
_LONG = 100
"""Characters of a word."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedRareWords:
    """How far a text moves when its rare words are replaced."""

    spec: "RareWords"
    words: tuple[str, ...]
    """(V,) usual words, lower-case."""
    counts: Doubles
    """(V,) texts of the catalogue that have the word."""
    vectors: Floats
    """(V, D)"""
    threshold: float

    @property
    def kind(self) -> str:
        return self.spec.kind

    def substitutes(self, words: Sequence[str]) -> dict[str, str]:
        """Rare word -> the most frequent of its neighbours; none for a word that is usual, has
        no letter, or has no neighbour."""
        index = {word: n for n, word in enumerate(self.words)}
        cores = {word: _core(word) for word in words}
        rare = [w for w, core in cores.items() if core not in index and _spelled(core)]
        if not rare or not self.words:
            return {}
        near = Neighbours(self.words, self.vectors, encoder_of(self.spec.encoder))
        found = near.of_many(rare, self.spec.neighbours, self.spec.least)

        def seen(word: str) -> float:
            row = index.get(_core(word))  # capitals of some letters do not come back
            return 0.0 if row is None else float(self.counts[row])

        return {
            word: max((other for other, _ in others), key=seen)
            for word, others in zip(rare, found, strict=True)
            if others
        }

    def changes(self, listings: Sequence[Listing]) -> list[dict[Place, str]]:
        """Of each listing, the words that are replaced."""
        at = [{place: _word(one, place) for place in places(one)} for one in listings]
        known = self.substitutes([word for words in at for word in words.values()])
        return [{p: known[w] for p, w in words.items() if w in known} for words in at]

    def raw(self, listings: Sequence[Listing], shop: Shop) -> Doubles:
        """(N,) 1 - cosine of the text and itself in usual words, in [0, 2]."""
        return self._moved(listings, self.changes(listings))

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        changes = self.changes(listings)
        raw = self._moved(listings, changes)
        out = []
        for value, share, found in zip(raw, share_above(raw, self.threshold), changes, strict=True):
            if value <= self.threshold:
                out.append(admit(self.kind, share))
                continue
            some = ", ".join(f"'{word}'" for word in [*found.values()][:_SHOWN])
            reason = f"means something else with usual words for its rare ones: {some}"
            out.append(Verdict("quarantine", self.kind, share, reason, spans=tuple(found)))
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "words": np.asarray(self.words, dtype=np.str_), "word_counts": self.counts,
            "vectors": self.vectors, "border": np.asarray([self.threshold]),
        }  # fmt: skip

    def _moved(self, listings: Sequence[Listing], changes: list[dict[Place, str]]) -> Doubles:
        if not listings:
            return np.zeros(0)
        texts = [one.text for one in listings]
        others = [
            rewritten(one, found) if found else text
            for one, text, found in zip(listings, texts, changes, strict=True)
        ]
        found = vectors(self.spec.encoder, [*texts, *others])
        one, other = found[: len(texts)], found[len(texts) :]
        # equal texts have one vector, but its length is 1 to single precision only
        same = np.asarray([a == b for a, b in zip(texts, others, strict=True)])
        return np.where(same, 0.0, np.maximum(1 - (one * other).sum(axis=1), 0.0))


@spec
class RareWords:
    """Replace rare words by the most frequent of their neighbours; hold a text that moves far.

    FGWS: Mozes et al., EACL 2021, section 3: a word w of frequency phi(w) < delta becomes
    argmax of phi over its neighbours and synonyms, and the score is what the predicted class
    loses. Here there is no class: the score is 1 - cosine of the text's vectors before and
    after; neighbours are those of a sentence encoder, among the catalogue's usual words,
    without a dictionary. It learns from no attack. In a catalogue most names are rare: what
    that costs is in docs/guards.md.
    """

    kind: Literal["rare-words"] = "rare-words"
    encoder: str = "minilm"
    """`minilm` (installed with the package), or a folder with a Hugging Face encoder."""
    usual: Count = 2
    """delta: a word that stands in fewer texts of the catalogue is rare."""
    neighbours: Count = 3
    """Nearest usual words among which the most frequent one is taken."""
    least: Share = 0.0
    """Least cosine of a neighbour."""
    false_alarms: Annotated[float, Gt(0), Lt(1)] = 0.01
    """Share of clean listings, held out, and of honest edits of them, that may be stopped."""

    def fit(self, lesson: Lesson) -> FittedRareWords:
        """From the lesson's catalogue. Raises as the encoder does when it cannot be loaded."""
        texts, (learned, _) = lesson.texts, lesson.rows()
        known: dict[str, int] = {}
        for row in learned.tolist():
            for word in {_core(word) for word in split(texts[row])}:
                known[word] = known.get(word, 0) + 1
        usual = sorted(w for w, n in known.items() if n >= self.usual)
        near = Neighbours.fit(usual, encoder_of(self.encoder))
        draft = FittedRareWords(
            spec=self, words=near.words, vectors=near.vectors, threshold=1.0,
            counts=np.asarray([known[w] for w in near.words], dtype=np.float64),
        )  # fmt: skip
        threshold = clean_border(draft.raw, lesson, self.false_alarms)
        return FittedRareWords(
            spec=self, words=draft.words, vectors=draft.vectors, counts=draft.counts,
            threshold=threshold,
        )  # fmt: skip

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedRareWords:
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        return FittedRareWords(
            spec=self, words=tuple(arrays["words"].tolist()), counts=arrays["word_counts"],
            vectors=arrays["vectors"], threshold=float(arrays["border"][0]),
        )  # fmt: skip


def _word(one: Listing, place: Place) -> str:
    """As much of a word as a tokenizer reads, without lone surrogates."""
    name, start, end = place
    return one.fields[name][start : min(end, start + _LONG)].encode("utf-8", "replace").decode()


def _core(word: str) -> str:
    """As `Neighbours` names it: lower-case, without the marks around it."""
    return shell(word)[1].lower()


def _spelled(core: str) -> bool:
    return any(map(str.isalpha, core))
