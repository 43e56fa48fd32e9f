"""Texts that speak to a machine instead of to a buyer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from hardrank.errors import DataError
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.lesson import Lesson, clean_border, share_above
from hardrank.types import Count, Positive, spec
from hardrank.wording import spans

__all__ = ["FittedInjection", "Injection", "windows"]

Doubles = NDArray[np.float64]
_COLUMNS = 1 << 16
"""Of the hashed n-grams; collisions cost little at this size (Weinberger et al., ICML 2009)."""


def windows(text: str, size: int) -> list[tuple[int, int]]:
    """(start, end) in characters of runs of `size` words that overlap by half and cover the
    text; the whole text when it is shorter, none for a text without words."""
    words = spans(text)
    if not words:
        return []
    step = max(size // 2, 1)
    starts = range(0, max(len(words) - size, 0) + step, step)
    runs = [(words[n][0], words[min(n + size, len(words)) - 1][1]) for n in starts]
    return list(dict.fromkeys(runs))


def hashed(texts: Sequence[str]) -> Any:
    """(N, 65536) sparse: runs of 2 to 4 characters inside words, and words and pairs of words,
    each half of unit length."""
    from scipy import sparse
    from sklearn.feature_extraction.text import HashingVectorizer

    half = _COLUMNS // 2
    texts = [text.encode("utf-8", "replace").decode() for text in texts]  # no lone surrogates
    letters = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), n_features=half)
    words = HashingVectorizer(
        ngram_range=(1, 2), n_features=half, token_pattern=r"\w+|[^\w\s]", lowercase=True
    )
    return sparse.hstack([letters.transform(texts), words.transform(texts)], format="csr")


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedInjection:
    """exp of the log-odds that the worst window of a listing is an order, over the border's."""

    spec: "Injection"
    weights: Doubles
    """(65536,)"""
    bias: float
    threshold: float

    @property
    def kind(self) -> str:
        return self.spec.kind

    def raw(self, listings: Sequence[Listing], shop: Shop) -> Doubles:
        """(N,) odds of the worst window; quarantined is who is above `threshold`."""
        return self._worst(listings)[0]

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        raw, where = self._worst(listings)
        out = []
        for value, share, at in zip(raw, share_above(raw, self.threshold), where, strict=True):
            if value <= self.threshold or at is None:
                out.append(admit(self.kind, share))
            else:
                reason = "reads like an order to a machine"
                out.append(Verdict("quarantine", self.kind, share, reason, spans=(at,)))
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "weights": self.weights, "bias": np.asarray([self.bias]),
            "border": np.asarray([self.threshold]),
        }  # fmt: skip

    def _worst(
        self, listings: Sequence[Listing]
    ) -> tuple[Doubles, list[tuple[str, int, int] | None]]:
        places = [
            (n, (name, *run))
            for n, one in enumerate(listings)
            for name, text in one.fields.items()
            for run in windows(text, self.spec.window)
        ]
        raw, where = np.zeros(len(listings)), [None] * len(listings)
        found: list[tuple[str, int, int] | None] = list(where)
        if not places:
            return raw, found
        pieces = [listings[n].fields[name][start:end] for n, (name, start, end) in places]
        odds = np.exp(np.clip(hashed(pieces) @ self.weights + self.bias, -30, 30))
        for (n, at), value in zip(places, odds.tolist(), strict=True):
            if value > raw[n]:
                raw[n], found[n] = value, at
        return raw, found


@spec
class Injection:
    """Logistic regression on n-grams of characters and words, learned from texts that give
    orders and from clean titles; no list of phrases.

    Learns windows of a few words, so that an order inside a long description is found.
    Texts to learn from exist: BIPIA (Yi et al., KDD 2025, arXiv:2312.14197), strategic text
    sequences (Kumar and Lakkaraju, 2024, arXiv:2404.07981).
    """

    kind: Literal["injection"] = "injection"
    window: Count = 12
    """Words that are judged at once."""
    inverse_penalty: Positive = 10.0
    """The smaller, the smaller the weights: C of scikit-learn's LogisticRegression."""
    false_alarms: Annotated[float, Gt(0), Lt(1)] = 0.001
    """Share of clean listings, held out, and of honest edits of them, that may be stopped."""

    def fit(self, lesson: Lesson) -> FittedInjection:
        """Raises `DataError` for a lesson without orders."""
        if not lesson.orders:
            raise DataError(
                "guard 'injection' needs texts that give orders to learn from",
                remedy="name files of orders, or leave the guard out",
            )
        learned, _ = lesson.rows()
        texts = lesson.texts
        clean = [p for row in learned for p in _cut(texts[row], self.window)]
        orders = [p for text in lesson.orders for p in _cut(text, self.window)]
        weights, bias = self._learned(clean, orders)
        draft = FittedInjection(spec=self, weights=weights, bias=bias, threshold=1.0)
        threshold = clean_border(draft.raw, lesson, self.false_alarms)
        return FittedInjection(spec=self, weights=weights, bias=bias, threshold=threshold)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedInjection:
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        bias, edge = float(arrays["bias"][0]), float(arrays["border"][0])
        return FittedInjection(spec=self, weights=arrays["weights"], bias=bias, threshold=edge)

    def _learned(self, clean: list[str], orders: list[str]) -> tuple[Doubles, float]:
        """Orders inside a title count as orders: half of them follow a clean piece."""
        from sklearn.linear_model import LogisticRegression

        mixed = [
            f"{clean[n % len(clean)]} {order}" for n, order in enumerate(orders) if n % 2 and clean
        ]
        rows = [*clean, *orders, *mixed]
        labels = np.asarray([False] * len(clean) + [True] * (len(orders) + len(mixed)))
        model = LogisticRegression(
            C=self.inverse_penalty, class_weight="balanced", max_iter=200, tol=1e-3
        )
        model.fit(hashed(rows), labels)
        return np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0])


def _cut(text: str, size: int) -> list[str]:
    return [text[start:end] for start, end in windows(text, size)]
