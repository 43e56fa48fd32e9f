"""A judge of meaning that is nobody's encoder: latent semantic analysis of the catalogue."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hardrank.wording import split

__all__ = ["LatentJudge"]

_TINY = 1e-9
"""Length below which a vector has no direction but rounding."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LatentJudge:
    """Cosine of texts in the latent space of the catalogue, cut to [0, 1]; 1 for equal texts.

    Deerwester et al., JASIS 41(6), 1990: TF-IDF of words, truncated singular value
    decomposition X ~ U S V', and words compared as rows of V S. Words that stand in the same
    company are near, so a synonym costs less than a stranger does, which `CharacterJudge`
    cannot see. Fitted on the catalogue's original texts alone, it depends on no victim.

    Unlike there, each row is scaled to length 1 before the words of a text are added up: in
    V S a rare word is short, and an attacker could add any number of them unseen.

    Words are those of `hardrank.wording`, lower-cased, without marks at their ends. Term
    frequency is 1 + ln(count); the weight of a word is ln((1 + texts) / (1 + texts that have
    it)) + 1. A word that is not known is spelled: it points where its character n-grams do,
    each the mean of the known words that have it, so that a misspelling stays near its word,
    and weighs as much as the rarest. A word of no known n-gram is near itself alone.
    """

    words: Mapping[str, int]
    """Row of each word in `vectors`."""
    vectors: NDArray[np.float64]
    """(V, D) what a word adds to a text, once; its length is its weight."""
    grams: Mapping[str, int]
    """Row of each character n-gram in `gram_vectors`."""
    gram_vectors: NDArray[np.float64]
    """(G, D)"""
    rare: float
    """Weight of a word that is not known."""
    sizes: tuple[int, ...] = (3, 4, 5)
    """Lengths of n-grams, marks of beginning and end included."""

    @classmethod
    def fit(
        cls,
        texts: Iterable[str],
        *,
        size: int = 128,
        sizes: tuple[int, ...] = (3, 4, 5),
        seed: int = 0,
    ) -> "LatentJudge":
        """From one text an item, best title and description together.

        size: D, latent dimensions; all there are in a catalogue with fewer words or texts.
        Equal texts and seed give an equal judge on the same machine.
        """
        counts = [Counter(_words(text)) for text in texts]
        words = {w: row for row, w in enumerate(sorted({w for c in counts for w in c}))}
        table, weights = _table(counts, words)
        directions = _unit(_term_vectors(table, size, seed))
        grams, gram_vectors = _spelling(words, directions, sizes)
        return cls(
            words=words, vectors=weights[:, None] * directions, grams=grams,
            gram_vectors=gram_vectors, rare=float(np.log(1 + len(counts)) + 1), sizes=sizes,
        )  # fmt: skip

    def __call__(self, before: str | Sequence[str], after: Sequence[str]) -> NDArray[np.float64]:
        """(N,) similarity of each pair; one `before` is compared with each of `after`."""
        old = [before] * len(after) if isinstance(before, str) else list(before)
        if len(old) != len(after):
            raise ValueError(f"{len(old)} texts before, {len(after)} after")
        made = {text: self._read(text) for text in dict.fromkeys([*old, *after])}
        return np.array(
            [1.0 if a == b else _cosine(made[a], made[b]) for a, b in zip(old, after, strict=True)],
            dtype=np.float64,
        )

    def _read(self, text: str) -> "_Reading":
        latent, private = np.zeros(self.vectors.shape[1]), {}
        for word, count in Counter(_words(text)).items():
            vector = self._direction(word)
            if vector is None:
                private[word] = (1 + math.log(count)) * self.rare
            else:
                latent += (1 + math.log(count)) * vector
        squares = float(latent @ latent) + sum(v * v for v in private.values())
        return _Reading(latent, private, math.sqrt(squares))

    def _direction(self, word: str) -> NDArray[np.float64] | None:
        row = self.words.get(word)
        if row is not None:
            return self.vectors[row] if self.vectors[row].any() else None
        rows = [self.grams[g] for g in _grams(word, self.sizes) if g in self.grams]
        mean = self.gram_vectors[rows].sum(axis=0)
        length = float(np.linalg.norm(mean))
        return self.rare * mean / length if length > _TINY else None


@dataclass(frozen=True, eq=False)
class _Reading:
    latent: NDArray[np.float64]
    """(D,)"""
    private: Mapping[str, float]
    """Words that have no place in the latent space: each is a dimension of its own."""
    length: float


def _words(text: str) -> list[str]:
    """Marks alone, as emoji are, stay words."""
    lowered = split(text.lower())
    return [w.strip("".join(c for c in w if not c.isalnum())) or w for w in lowered]


def _grams(word: str, sizes: tuple[int, ...]) -> list[str]:
    padded = f" {word} "
    return [padded[i : i + n] for n in sizes for i in range(len(padded) - n + 1)]


def _table(
    counts: Sequence[Mapping[str, int]], words: Mapping[str, int]
) -> tuple[sparse.csr_array, NDArray[np.float64]]:
    """(N, V) TF-IDF with rows of length 1, and the (V,) weights of the words."""
    starts = np.cumsum([0, *map(len, counts)])
    columns = np.array([words[w] for c in counts for w in c], dtype=np.int64)
    values = 1 + np.log(np.array([n for c in counts for n in c.values()], dtype=np.float64))
    seen = np.bincount(columns, minlength=len(words))
    weights = np.log((1 + len(counts)) / (1 + seen)) + 1
    values *= weights[columns]
    owners = np.repeat(np.arange(len(counts)), np.diff(starts))
    norms = np.sqrt(np.bincount(owners, weights=values**2, minlength=len(counts)))
    values /= norms[owners]
    return sparse.csr_array((values, columns, starts), shape=(len(counts), len(words))), weights


def _term_vectors(table: Any, size: int, seed: int) -> NDArray[np.float64]:
    """(V, D) V S of the first singular vectors; exact where the table is small."""
    if min(table.shape) <= size:
        _, values, rows = np.linalg.svd(table.toarray(), full_matrices=False)
    else:
        from sklearn.decomposition import TruncatedSVD

        solver = TruncatedSVD(size, algorithm="arpack", random_state=seed).fit(table)
        values, rows = solver.singular_values_, solver.components_
    return np.asarray(rows.T * values)


def _spelling(
    words: Mapping[str, int], directions: NDArray[np.float64], sizes: tuple[int, ...]
) -> tuple[dict[str, int], NDArray[np.float64]]:
    """(G, D) mean direction of the words that have each n-gram."""
    owned = [sorted(set(_grams(word, sizes))) for word in words]
    grams = {g: row for row, g in enumerate(sorted({g for gs in owned for g in gs}))}
    rows = np.array([grams[g] for gs in owned for g in gs], dtype=np.int64)
    columns = np.repeat(np.arange(len(words)), [len(gs) for gs in owned])
    having = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(grams), len(words)))
    return grams, (having @ directions) / np.maximum(having.sum(axis=1), 1)[:, None]


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows scaled to length 1; those of words outside the space stay (nearly) zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > _TINY, rows / np.maximum(lengths, _TINY), 0.0)


def _cosine(a: _Reading, b: _Reading) -> float:
    dot = float(a.latent @ b.latent)
    dot += sum(v * b.private.get(word, 0.0) for word, v in a.private.items())
    norm = a.length * b.length
    return min(1.0, max(0.0, dot / norm)) if norm > 0 else 0.0
