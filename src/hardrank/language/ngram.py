"""How usual a text is in one catalogue: a word n-gram model with a spelling model below it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardrank.language.kneser_ney import KneserNey, fit_kneser_ney
from hardrank.wording import split

__all__ = ["END", "UNKNOWN", "NgramLM"]

END, UNKNOWN = "</s>", "<unk>"
_MARKS = (END, UNKNOWN)
_WORDS = 2_000_000
"""Most words known: (V + 1) ** 3 has to fit 63 bits."""
_SPELLING = 4
"""Order of the spelling model, in characters."""
_HIGHEST = 700.0
"""Natural log of the largest perplexity: the next powers of e are no 64-bit numbers."""
_UNICODE = 0x110000
"""Code points: an unknown character is any of them, with equal probability."""


@dataclass(frozen=True, eq=False)
class NgramLM:
    """Interpolated Kneser-Ney of words (`hardrank.language.kneser_ney`), built by `fit`.

    Words are those of `hardrank.wording`, in lower case. Words seen fewer than `least` times
    are unknown while it learns, so that it knows how probable an unknown word is at each
    place. An unknown word then costs its spelling too: p(w | h) = p(unknown | h) p(letters),
    by a Kneser-Ney model of the characters of the unknown words of the catalogue (of all its
    words, where none is unknown). A misspelled word is therefore dear, and any text at all
    has a probability.
    """

    words: Mapping[str, int]
    """Number of each of the V symbols: the end, the unknown word, then known words."""
    letters: Mapping[str, int]
    model: KneserNey
    spelling: KneserNey

    @classmethod
    def fit(cls, texts: Iterable[str], *, order: int = 3, least: int = 2) -> "NgramLM":
        """From a catalogue's original texts.

        order: words of an n-gram, 1 to 3. least: times a word must be seen to be known.
        """
        if not 1 <= order <= 3:
            raise ValueError(f"order is {order}, must be 1 to 3")
        split_texts = [_words(text) for text in texts]
        counts = Counter(word for words in split_texts for word in words)
        known = sorted((w for w, n in counts.items() if n >= least), key=lambda w: (-counts[w], w))
        words = {name: row for row, name in enumerate((*_MARKS, *known[:_WORDS]))}
        rows = [[*(words.get(w, 1) for w in ws), 0] for ws in split_texts]
        model = fit_kneser_ney(rows, size=len(words), order=order)
        strange = sorted(w for w in counts if w not in words) or sorted(counts)
        letters, spelling = _learn_spelling(strange, sorted({c for w in counts for c in w}))
        return cls(words, letters, model, spelling)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, by name; texts as arrays of text."""
        out: dict[str, NDArray[Any]] = {
            "words": np.asarray(list(self.words), dtype=np.str_),
            "letters": np.asarray([f"{c}." for c in self.letters], dtype=np.str_),
        }
        out |= {f"model.{name}": value for name, value in self.model.arrays().items()}
        return out | {f"spelling.{n}": value for n, value in self.spelling.arrays().items()}

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> "NgramLM":
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        words = {name: row for row, name in enumerate(arrays["words"].tolist())}
        letters = {name[:-1]: row for row, name in enumerate(arrays["letters"].tolist())}
        model, spelling = (
            KneserNey.restore(
                {n.removeprefix(part): v for n, v in arrays.items() if n.startswith(part)}
            )
            for part in ("model.", "spelling.")
        )
        return cls(words, letters, model, spelling)

    def log_prob(self, text: str) -> float:
        """Natural log of the probability of the words of `text` and its end."""
        return float(self.log_probs([text])[0])

    def log_probs(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) `log_prob` of each text."""
        return self._sums([_words(text) for text in texts])

    def perplexity(self, text: str) -> float:
        """exp of -log_prob over the number of words, the end being one."""
        return float(self.perplexities([text])[0])

    def perplexities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) `perplexity` of each text, at most e^700."""
        return np.asarray(np.exp(np.minimum(self._surprise(texts), _HIGHEST)))

    def perplexity_ratio(
        self, before: str | Sequence[str], after: Sequence[str]
    ) -> NDArray[np.float64]:
        """(N,) perplexity after over before, in e^-700 to e^700; above 1 where an edit made a
        text stranger. One `before` is compared with each of `after`."""
        old = [before] if isinstance(before, str) else before
        if not isinstance(before, str) and len(old) != len(after):
            raise ValueError(f"{len(old)} texts before, {len(after)} after")
        gain = self._surprise(after) - self._surprise(old)
        return np.asarray(np.exp(np.clip(gain, -_HIGHEST, _HIGHEST)))

    def distribution(self, context: Sequence[str]) -> dict[str, float]:
        """p of each known word, `UNKNOWN` and `END` after the words of `context`, which are
        taken to begin a text; sums to 1."""
        head = [self.words.get(w.lower(), 1) for w in context]
        grams = self.model.windows([[*head, row] for row in self.words.values()])
        last = grams[len(head) :: len(head) + 1]
        return dict(zip(self.words, np.exp(self.model.log_probs(last)).tolist(), strict=True))

    def _surprise(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) mean of -ln p over the words of each text and its end."""
        words = [_words(text) for text in texts]
        lengths = np.array([len(ws) + 1 for ws in words], dtype=np.float64)
        return np.negative(self._sums(words)) / lengths

    def _sums(self, texts: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        rows = [[*(self.words.get(w, 1) for w in words), 0] for words in texts]
        logs = self.model.log_probs(self.model.windows(rows))
        out = _sum_by([len(r) for r in rows], logs)
        strange = [[w for w in words if w not in self.words] for words in texts]
        spelled = dict.fromkeys(w for ws in strange for w in ws)
        cost = dict(zip(spelled, self._spelled(list(spelled)).tolist(), strict=True))
        return out + np.array([sum(cost[w] for w in ws) for ws in strange], dtype=np.float64)

    def _spelled(self, words: Sequence[str]) -> NDArray[np.float64]:
        """(N,) log-probability of the characters of each word and its end."""
        rows = [_spell(word, self.letters) for word in words]
        logs = self.spelling.log_probs(self.spelling.windows(rows))
        foreign = np.array([row.count(1) for row in rows], dtype=np.float64)
        return np.asarray(_sum_by([len(r) for r in rows], logs) - foreign * np.log(_UNICODE))


def _learn_spelling(
    words: Sequence[str], alphabet: Sequence[str]
) -> tuple[dict[str, int], KneserNey]:
    """What is not in the alphabet gets the share of the lowest order for what was not seen."""
    letters = {name: row for row, name in enumerate((*_MARKS, *alphabet))}
    rows = [_spell(word, letters) for word in words]
    return letters, fit_kneser_ney(rows, size=len(letters), order=_SPELLING)


def _spell(word: str, letters: Mapping[str, int]) -> list[int]:
    return [*(letters.get(c, 1) for c in word), 0]


def _words(text: str) -> list[str]:
    """A text may spell the marks; it must not become one of them by that."""
    return [w if w not in _MARKS else f"{w} " for w in split(text.lower())]


def _sum_by(lengths: Sequence[int], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) sums of consecutive stretches of `values`."""
    owners = np.repeat(np.arange(len(lengths)), lengths)
    sums = np.bincount(owners, weights=values, minlength=len(lengths))
    return sums.astype(np.float64)  # of nothing, counts are whole numbers
