"""What an edited text betrays: how it reads in the language of one catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from hardrank.data import render
from hardrank.guards.alike import Popular, word_sets
from hardrank.guards.base import Listing, Shop
from hardrank.guards.characters import mended
from hardrank.guards.runs import Runs
from hardrank.language.ngram import NgramLM
from hardrank.types import Ints
from hardrank.wording import split

__all__ = ["NAMES", "TextReader"]

Doubles = NDArray[np.float64]
_SIZE = 32
"""Of word vectors."""
_POPULAR = 500
_RUNS = 2000
"""Popular texts whose words in a row are known."""
NAMES = (
    "surprise", "surprise of words", "spelling", "strangest word", "strangest three words",
    "unknown words", "rarest words", "usual words", "words", "length of words", "repetition",
    "words that agree", "word that disagrees",
    "capitals", "digits", "marks", "other alphabets", "disguised characters",
    "like a popular text", "holds a popular text", "norm", "nearest other item",
    "words in a row of another text", "another text inside", "row of another text gained",
    "another text gained", "popular text gained", "rarity of new words", "unknown new words",
    "new words that disagree",
    "new words", "surprise gained", "words gained", "moved",
)  # fmt: skip
"""F features, in the order of columns. The last ten compare with the text of before and are 0
for a new item."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TextReader:
    """A language model of a catalogue and word vectors from which words share its texts.

    Word vectors: truncated SVD of the (texts, words) table weighted by inverse document
    frequency (Deerwester et al., JASIS 1990); a text is the mean of its words' vectors.
    """

    fields: tuple[str, ...]
    lm: NgramLM
    index: Mapping[str, int]
    """V words that have a vector."""
    vectors: Doubles
    """(V, D) of unit length times the word's weight in a text."""
    counts: Doubles
    """(V,) texts that have the word, as a logarithm."""
    _shops: "WeakKeyDictionary[Shop, tuple[Popular, Doubles, Runs]]" = field(
        default_factory=WeakKeyDictionary
    )

    @classmethod
    def fit(cls, texts: Sequence[str], fields: tuple[str, ...]) -> "TextReader":
        """From clean texts, which should not be those that a classifier learns from."""
        sets = word_sets(texts)
        known: dict[str, int] = {}
        for words in sets:
            for word in words:
                known[word] = known.get(word, 0) + 1
        names = sorted(w for w, n in known.items() if n > 1)
        index = {name: n for n, name in enumerate(names)}
        seen = np.asarray([known[name] for name in names], dtype=np.float64)
        return cls(
            fields=fields, lm=NgramLM.fit(texts), index=index,
            vectors=_word_vectors(sets, index, seen), counts=np.log1p(seen),
        )  # fmt: skip

    def features(self, listings: Sequence[Listing], shop: Shop) -> Doubles:
        """(N, F)"""
        texts = [one.text for one in listings]
        before = [one.text_before or one.text for one in listings]
        own = [shop.rows.get(one.item_id, -1) for one in listings]
        now, was = self._surprises(texts), self._surprises(before)
        likes, vectors = self._among(texts, own, shop)
        old = self._text_vectors(before)
        copied = self._copied(texts, before, own, shop, likes[:, 1])
        return np.column_stack(
            [now, self._words(texts), _marks(texts), likes, copied,
             self._added(texts, before, old), _changes(texts, before),
             now[:, 0] - was[:, 0], _longer(texts, before), 1 - (vectors * old).sum(1)]
        )  # fmt: skip

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, by name."""
        return {
            "fields": np.asarray(self.fields, dtype=np.str_),
            "index": np.asarray(list(self.index), dtype=np.str_),
            "vectors": self.vectors, "word_counts": self.counts,
            **{f"lm.{name}": value for name, value in self.lm.arrays().items()},
        }  # fmt: skip

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> "TextReader":
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        own = {n.removeprefix("lm."): v for n, v in arrays.items() if n.startswith("lm.")}
        return cls(
            fields=tuple(arrays["fields"].tolist()), lm=NgramLM.restore(own),
            index={name: n for n, name in enumerate(arrays["index"].tolist())},
            vectors=arrays["vectors"], counts=arrays["word_counts"],
        )  # fmt: skip

    def _surprises(self, texts: Sequence[str]) -> Doubles:
        """(N, 5) of the whole text, of its words, of unknown words' letters; of the strangest
        word and the strangest three in a row. Nats a word."""
        words = [split(text.lower()) for text in texts]
        rows = [[*(self.lm.words.get(w, 1) for w in ws), 0] for ws in words]
        lengths = np.asarray([len(row) for row in rows])
        logs = -self.lm.model.log_probs(self.lm.model.windows(rows))
        parts = np.split(logs, np.cumsum(lengths)[:-1]) if len(rows) else []
        plain = np.asarray([part.sum() for part in parts])
        whole = np.minimum(-self.lm.log_probs(texts), 1e6)
        return np.column_stack(
            [whole / lengths, plain / lengths, (whole - plain) / lengths,
             [part.max() for part in parts], [_strangest(part, 3) for part in parts]]
        )  # fmt: skip

    def _words(self, texts: Sequence[str]) -> Doubles:
        """(N, 8) share of unknown words; rarest and mean usualness; count, length, repetition;
        mean and least agreement."""
        out = np.zeros((len(texts), 8))
        for n, (text, words) in enumerate(zip(texts, word_sets(texts), strict=True)):
            rows = [self.index[w] for w in words if w in self.index]
            usual = self.counts[rows] if rows else np.zeros(1)
            every = split(text)
            agree, least = self._agreement(rows)
            out[n] = (
                1 - len(rows) / max(len(words), 1), usual.min(), usual.mean(),
                np.log1p(len(every)), np.mean([len(w) for w in every] or [0]),
                1 - len(words) / max(len(every), 1), agree, least,
            )  # fmt: skip
        return out

    def _agreement(self, rows: list[int]) -> tuple[float, float]:
        """Mean and least cosine of each word with the other words of its text."""
        if len(rows) < 2:
            return 0.0, 0.0
        vectors = self.vectors[rows]
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        others = vectors.sum(axis=0) - vectors
        others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-12)
        cosines = (unit * others).sum(axis=1)
        return float(cosines.mean()), float(cosines.min())

    def _among(self, texts: Sequence[str], own: list[int], shop: Shop) -> tuple[Doubles, Doubles]:
        """(N, 4) likeness to and containment of popular texts, norm, nearest other item's
        cosine; and (N, D) unit vectors of the texts."""
        popular, items, _ = self._shop(shop)
        raw = self._means(texts)
        norm = np.linalg.norm(raw, axis=1)
        unit = raw / np.maximum(norm, 1e-12)[:, None]
        nearest = np.zeros(len(texts))
        for start in range(0, len(texts), 512):
            part = slice(start, start + 512)
            cosines = unit[part] @ items.T
            rows = np.asarray(own[part])
            mine = np.flatnonzero(rows >= 0)
            cosines[mine, rows[mine]] = -1.0
            nearest[part] = cosines.max(axis=1)
        (like, _), (held, _) = popular.compared(texts, own)
        return np.column_stack([like, held, norm, nearest]), unit

    def _copied(
        self, texts: Sequence[str], before: Sequence[str], own: list[int], shop: Shop, held: Doubles
    ) -> Doubles:
        """(N, 5) longest run of another text's words, longest other text that stands there
        whole, what both gained, and what the containment of one popular text gained.
        held: (N,) containment of a popular text now."""
        popular, _, runs = self._shop(shop)
        now = np.log1p(runs.lengths(texts, own))
        gained = np.zeros((len(texts), 3))
        moved = [n for n, (a, b) in enumerate(zip(texts, before, strict=True)) if a != b]
        old, rows = [before[n] for n in moved], [own[n] for n in moved]
        gained[moved, :2] = now[moved] - np.log1p(runs.lengths(old, rows))
        gained[moved, 2] = held[moved] - popular.compared(old, rows)[1][0]
        return np.column_stack([now, gained])

    def _added(self, texts: Sequence[str], before: Sequence[str], old: Doubles) -> Doubles:
        """(N, 3) of the words that were not there: how rare, share that is unknown, distance
        from the text of before. 0 where there are none. old: (N, D) unit vectors of before."""
        out = np.zeros((len(texts), 3))
        for n, (now, was) in enumerate(zip(word_sets(texts), word_sets(before), strict=True)):
            new = sorted(set(now) - set(was))
            if not new:
                continue
            rows = [self.index[w] for w in new if w in self.index]
            top = float(self.counts.max(initial=0.0))
            rarity = (top * len(new) - self.counts[rows].sum()) / len(new)
            mean = self.vectors[rows].sum(axis=0) if rows else np.zeros(old.shape[1])
            length = float(np.linalg.norm(mean))
            near = float(mean @ old[n]) / length if length > 0 else 0.0
            out[n] = rarity, 1 - len(rows) / len(new), 1 - near
        return out

    def _shop(self, shop: Shop) -> tuple[Popular, Doubles, Runs]:
        if shop not in self._shops:
            texts = render(shop.items, self.fields)
            popular = Popular.of(texts, shop.counts, _POPULAR)
            runs = Runs.of(Popular.of(texts, shop.counts, _RUNS))
            self._shops[shop] = popular, self._text_vectors(texts), runs
        return self._shops[shop]

    def _text_vectors(self, texts: Sequence[str]) -> Doubles:
        raw = self._means(texts)
        unit: Doubles = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)
        return unit

    def _means(self, texts: Sequence[str]) -> Doubles:
        from scipy import sparse

        rows = [[self.index[w] for w in ws if w in self.index] for ws in word_sets(texts)]
        ends = np.cumsum([0, *map(len, rows)])
        flat = np.asarray([r for row in rows for r in row], dtype=np.int64)
        shares = np.repeat(1 / np.maximum(np.diff(ends), 1), np.diff(ends))
        table = sparse.csr_array((shares, flat, ends), shape=(len(texts), len(self.index)))
        return np.asarray(table @ self.vectors)


def _word_vectors(
    sets: Sequence[Sequence[str]], index: Mapping[str, int], seen: Doubles
) -> Doubles:
    """(V, D)"""
    from scipy import sparse
    from scipy.sparse.linalg import svds

    if not len(index):
        return np.zeros((0, 1))
    rows = [[index[w] for w in words if w in index] for words in sets]
    ends = np.cumsum([0, *map(len, rows)])
    flat: Ints = np.asarray([r for row in rows for r in row], dtype=np.int64)
    weight = np.log((1 + len(sets)) / (1 + seen)) + 1
    table = sparse.csr_array((weight[flat], flat, ends), shape=(len(sets), len(index)))
    size = min(_SIZE, min(table.shape) - 1)
    if size < 1:
        return weight[:, None]
    start = np.random.default_rng(0).normal(size=min(table.shape))  # part of the method
    _, strength, words = svds(table, k=size, v0=start)
    vectors = words.T * strength
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit * weight[:, None])


def _marks(texts: Sequence[str]) -> Doubles:
    """(N, 5) shares of capitals, digits, marks, characters beyond ASCII, disguised ones."""
    out = np.zeros((len(texts), 5))
    for n, text in enumerate(texts):
        out[n] = (
            sum(c.isupper() for c in text), sum(c.isdigit() for c in text),
            sum(not c.isalnum() and not c.isspace() for c in text),
            sum(c > "\x7f" for c in text), len(mended(text).changed),
        )  # fmt: skip
    return np.asarray(out / np.maximum([len(t) for t in texts], 1)[:, None])


def _strangest(surprise: Doubles, size: int) -> float:
    sums = np.convolve(surprise, np.ones(min(size, len(surprise))), mode="valid")
    return float(sums.max() / min(size, len(surprise)))


def _changes(texts: Sequence[str], before: Sequence[str]) -> Doubles:
    """(N,) share of the words that were not there before."""
    pairs = zip(word_sets(texts), word_sets(before), strict=True)
    return np.asarray([len(set(a) - set(b)) / max(len(a), 1) for a, b in pairs])


def _longer(texts: Sequence[str], before: Sequence[str]) -> Doubles:
    """(N,) log ratio of the numbers of words."""
    pairs = zip(texts, before, strict=True)
    return np.asarray([np.log1p(len(split(a))) - np.log1p(len(split(b))) for a, b in pairs])
