"""Text that a Kneser-Ney model finds probable: ancestral sampling, a word at a time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardrank.language.kneser_ney import KneserNey, fit_kneser_ney
from hardrank.wording import split

__all__ = ["WordSampler"]

_END, _UNKNOWN = 0, 1
_TRIES = 200
"""Draws of one word until it is a known one."""


@dataclass(frozen=True, eq=False)
class WordSampler:
    """Words with their case and marks, as they stand in texts. Built by `fit`."""

    words: tuple[str, ...]
    """(V,) number 0 is the end, 1 any rare word."""
    model: KneserNey

    @classmethod
    def fit(cls, texts: Sequence[str], *, order: int = 3, least: int = 2) -> "WordSampler":
        """order: words of an n-gram, 1 to 3. least: times a word must be seen to be known."""
        said = [split(t) for t in texts]
        counts = Counter(w for ws in said for w in ws)
        known = sorted(w for w, n in counts.items() if n >= least)
        words = ("", "", *known)
        rows = {w: n for n, w in enumerate(words) if w}
        sequences = [[*(rows.get(w, _UNKNOWN) for w in ws), _END] for ws in said]
        return cls(words, fit_kneser_ney(sequences, size=len(words), order=order))

    def write(
        self, length: int, rng: np.random.Generator, weights: NDArray[np.float64] | None = None
    ) -> str:
        """About `length` words: to the first end of a sentence from there on, at most ten more.

        weights: (V,) > 0, by which each word's odds are multiplied; None for the model's own.
        An end that comes before is passed over: the next sentence then begins anew.
        """
        out: list[int] = []
        context = [self.model.size] * (len(self.model.orders) - 1)
        while len(out) < length + 10:
            row = self.draw(context, rng, weights)
            if row == _END:
                if len(out) >= length:
                    break
                context = [self.model.size] * len(context)
                continue
            out.append(row)
            context = [*context[1:], row] if context else []
            if len(out) >= length and self.words[row].endswith((".", "!", "?")):
                break
        return " ".join(self.words[row] for row in out)

    def draw(
        self, context: Sequence[int], rng: np.random.Generator,
        weights: NDArray[np.float64] | None = None,
    ) -> int:  # fmt: skip
        """The next word after `context` (as many rows as the order less one; the model's `size`
        stands before the first word), by the interpolated probabilities without the unknown."""
        for _ in range(_TRIES):
            row = self._draw(context, rng, weights)
            if row != _UNKNOWN:
                return row
        return _END

    def _draw(
        self, context: Sequence[int], rng: np.random.Generator, weights: NDArray[np.float64] | None
    ) -> int:
        """p = (max(c - d, 0) + d kinds p_lower) / total: from the seen words with what their
        counts keep, else from the next lower order."""
        base = self.model.size + 1
        for n in range(len(self.model.orders), 0, -1):
            order = self.model.orders[n - 1]
            key = 0
            for row in context[len(context) - n + 1 :] if n > 1 else ():
                key = key * base + row
            start, end = np.searchsorted(order.keys, [key * base, (key + 1) * base])
            if start == end:
                continue
            rows = order.keys[start:end] - key * base
            counts = order.counts[start:end].astype(np.float64)
            odds = np.maximum(counts - order.discount, 0.0)
            rest = float(counts.sum() - odds.sum())
            if weights is not None:
                odds = odds * weights[rows]
            total = float(odds.sum())
            at = rng.random() * (total + rest)
            if at < total:
                found = int(np.searchsorted(np.cumsum(odds), at, side="right"))
                return int(rows[min(found, len(rows) - 1)])
        return int(rng.integers(0, self.model.size))
