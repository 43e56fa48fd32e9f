"""Words near a word in the space of a sentence encoder: synonyms without a dictionary."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hardrank.context import RunContext
from hardrank.language.forms import like, shell
from hardrank.recommender import best
from hardrank.types import Floats, Share

__all__ = ["Encoder", "Near", "Neighbours"]

Near = list[tuple[str, float]]
"""Words and their cosines, nearest first."""
_BATCH = 512
"""Words compared with the whole vocabulary at once: 4 BATCH V bytes."""


class Encoder(Protocol):
    """What is asked of an encoder; a `hardrank.encoders.TextEncoder` has it."""

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> Floats:
        """(N, D), rows of length 1."""
        ...


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Nearest words of a vocabulary by cosine, as TextFooler finds its candidates.

    Jin et al., AAAI 2020, arXiv:1907.11932, section 3 (there: counter-fitted word vectors,
    50 neighbours, cosine of at least 0.7). Here each word is encoded as a text of its own,
    so any encoder on disk will do. Such an encoder must not be the victim's where an
    attacker is not to know the victim.
    """

    words: tuple[str, ...]
    """(V,) lower-case, distinct."""
    vectors: Floats
    """(V, D), rows of length 1."""
    encoder: Encoder

    @classmethod
    def fit(
        cls,
        words: Sequence[str],
        encoder: str | Encoder = "minilm",
        *,
        run: RunContext | None = None,
    ) -> "Neighbours":
        """Encode each distinct word once; the encoder's cache on disk keeps the vectors.

        words: the vocabulary, in any case and with repeats; marks around words are dropped,
            and so is what has no letter.
        encoder: `minilm`, a folder or a hub id (`hardrank.encoders.load_encoder`, which
            raises for what it cannot load), or an encoder.
        """
        if isinstance(encoder, str):
            from hardrank.encoders import load_encoder

            encoder = load_encoder(encoder, max_tokens=16, run=run or RunContext())
        cores = (shell(w)[1].lower() for w in words)
        distinct = tuple(dict.fromkeys(c for c in cores if any(map(str.isalpha, c))))
        return cls(distinct, encoder.encode(distinct), encoder)

    def of(self, word: str, k: int, least: Share = 0.5) -> Near:
        """At most `k` words with a cosine of at least `least`, ties in vocabulary order.

        The word itself is left out; marks and case are those of `word`.
        """
        return self.of_many([word], k, least)[0]

    def of_many(self, words: Sequence[str], k: int, least: Share = 0.5) -> list[Near]:
        """`of` for many words, in batches of one matrix product each. Words that are not in
        the vocabulary are encoded together."""
        cores = [shell(w)[1] for w in words]
        if k < 1 or not self.words or not cores:
            return [[] for _ in words]
        asked = self.encoder.encode([c.lower() for c in cores], keep=False)
        out: list[Near] = []
        for start in range(0, len(cores), _BATCH):
            cosines = asked[start : start + _BATCH] @ self.vectors.T  # (B, V)
            # One more than asked for, as the nearest is often the word itself.
            top = best(cosines, k + 1)
            values = np.take_along_axis(cosines, top, axis=1)
            for at, (rows, near) in enumerate(zip(top, values, strict=True), start):
                out.append(self._named(words[at], rows.tolist(), near.tolist(), least)[:k])
        return out

    def _named(self, word: str, rows: list[int], cosines: list[float], least: float) -> Near:
        before, core, after = shell(word)
        return [
            (before + like(self.words[row], core) + after, min(1.0, cosine))
            for row, cosine in zip(rows, cosines, strict=True)
            if cosine >= least and self.words[row] != core.lower()
        ]
