"""Reviews that repeat what others wrote before them: no training, no fake example needed."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from hardrank.data import Dataset
from hardrank.errors import DataError
from hardrank.types import Count, Floats, spec

__all__ = ["CopiedReviews", "KnownPhrases"]

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


@spec
class CopiedReviews:
    """Share of a review's runs of `run` words that stand in an earlier review.

    Duplicates are the surest sign of review spam (Jindal and Liu, WSDM 2008, section 3); runs
    of words find them where some words were changed. Where reviews have times, only older ones
    count as the source, so a copied author is not accused; reviews without a time are older
    than all, and of equal times the one further up in the table is older. Case and marks do
    not count. A text of fewer words than `run` scores 0.
    """

    kind: Literal["copied-reviews"] = "copied-reviews"
    run: Count = 5
    """Words in a row that are no accident."""

    def reviews(self, dataset: Dataset) -> Floats:
        """(R,) in [0, 1], of each row of the reviews. Raises `DataError` for a dataset without
        any."""
        if dataset.reviews is None:
            raise DataError(f"{dataset.name} has no reviews", remedy="choose another detector")
        order = np.arange(dataset.reviews.height)
        if "time" in dataset.reviews.columns:
            first = pl.col("time").fill_null(np.iinfo(np.int64).min)
            times = dataset.reviews.select(first).to_series().to_numpy()
            order = np.argsort(times, kind="stable")
        texts = dataset.reviews["text"].to_list()
        known, out = KnownPhrases(set(), self.run), np.zeros(len(order), dtype=np.float32)
        for row in order.tolist():
            out[row] = known.score([texts[row] or ""])[0]
            known.add([texts[row] or ""])
        return out

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) the mean over each user's reviews; NaN for one who wrote none."""
        return mean_by_user(dataset, self.reviews(dataset))

    def against(self, public: Iterable[str]) -> "KnownPhrases":
        """What compares texts with those of `public`."""
        known = KnownPhrases(set(), self.run)
        known.add(public)
        return known


@dataclass(frozen=True, eq=False)
class KnownPhrases:
    phrases: set[tuple[str, ...]]
    run: int

    def add(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.phrases.update(self._runs(text))

    def score(self, texts: Sequence[str]) -> Floats:
        """(N,) share of the runs of each text that are known, in [0, 1]."""
        runs = [self._runs(text) for text in texts]
        shares = [sum(r in self.phrases for r in rs) / len(rs) if rs else 0.0 for rs in runs]
        return np.array(shares, dtype=np.float32)

    def _runs(self, text: str) -> list[tuple[str, ...]]:
        words = _WORD.findall(text.lower())
        return [tuple(words[n : n + self.run]) for n in range(len(words) - self.run + 1)]


def mean_by_user(dataset: Dataset, scores: Floats) -> Floats:
    """(U,) of scores (R,) of the dataset's reviews; NaN for a user who wrote none."""
    assert dataset.reviews is not None
    users = dataset.reviews["user"].to_numpy()
    total = np.bincount(users, scores.astype(np.float64), minlength=dataset.n_users)
    written = np.bincount(users, minlength=dataset.n_users)
    out = np.full(dataset.n_users, np.nan)
    np.divide(total, written, out=out, where=written > 0)
    return out.astype(np.float32)
