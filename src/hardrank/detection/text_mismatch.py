"""Users whose items do not read alike, and items that read unlike what their users like."""

from typing import Any, Literal

import numpy as np
from scipy import sparse

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.detection.fits import misfit, surge
from hardrank.detection.parts import Log, Numbers, judged, largest, mean_of, read
from hardrank.types import Count, Floats, spec

__all__ = ["TextMismatch"]


@spec
class TextMismatch:
    """Does an item's text agree with the texts of the user's other items?

    An event's agreement is the cosine between its item's text vector and the mean of the
    user's other ones, less what the item's text has in common with the whole log (so that
    words that all texts share say nothing). It needs no second user, so it also judges an
    item that only fakes have touched, and a stuffed or copied text on an item with honest
    users. A user's score is the mean misfit of his events for items so popular, grown
    with the root of their number, and a third of the largest item score that he has a part in.
    """

    kind: Literal["text-mismatch"] = "text-mismatch"
    encoder: str | None = None
    """`minilm` (installed with the package), a folder with a Hugging Face encoder, or None
    for TF-IDF."""
    fields: tuple[str, ...] = ("title",)
    """Columns of the item table that are read."""
    max_tokens: Count = 64
    """Tokens of an item's text that an encoder reads."""

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,); NaN for users with fewer than two items. Raises `SchemaError` for an unknown
        field."""
        log = read(dataset)
        odd = misfit(log, self._agreement(dataset, log))
        shared = surge(odd, log)
        worst = np.nan_to_num(largest(shared[log.items], log.users, log.n_users))
        own = mean_of(odd, log.users, log.n_users) - 0.5
        return judged(log, own * np.sqrt(log.lengths) + worst / 3)

    def event_scores(self, dataset: Dataset) -> Floats:
        """(E,) in (0, 1); NaN for a user's only item."""
        log = read(dataset)
        found = self._agreement(dataset, log)
        return np.where(np.isnan(found), np.nan, misfit(log, found)).astype(np.float32)

    def item_scores(self, dataset: Dataset) -> Floats:
        """(I,) how far the item's users read something else, in standard errors; NaN for an
        item without events."""
        log = read(dataset)
        found = surge(misfit(log, self._agreement(dataset, log)), log)
        return np.where(log.counts > 0, found, np.nan).astype(np.float32)

    def _agreement(self, dataset: Dataset, log: Log) -> Numbers:
        """(E,) NaN for a user's only item."""
        vectors = self._vectors(dataset.texts(self.fields))
        profiles = log.matrix @ vectors  # (U, D) sums
        whole = np.asarray(log.counts @ vectors).ravel() / max(float(log.counts.sum()), 1.0)
        with_self = _products(vectors, profiles, log)
        alone = np.asarray((_square(vectors)).sum(axis=1)).ravel()[log.items]
        norms = np.sqrt(np.maximum(np.asarray(_square(profiles).sum(axis=1)).ravel(), 0.0))
        rest = np.maximum(norms[log.users] ** 2 - 2 * with_self + alone, 1e-12)
        usual = np.asarray(vectors @ whole).ravel() / max(float(np.linalg.norm(whole)), 1e-12)
        cosine = (with_self - alone) / np.sqrt(rest)
        return np.where(log.lengths[log.users] > 1, cosine - usual[log.items], np.nan)

    def _vectors(self, texts: list[str]) -> Any:
        """(I, D) rows of length 1, or 0 for an empty text."""
        if self.encoder is None:
            return _tfidf(texts)
        from hardrank.encoders import load_encoder

        loaded = load_encoder(self.encoder, max_tokens=self.max_tokens, run=RunContext())
        return loaded.encode(texts).astype(np.float64)


def _tfidf(texts: list[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not any(any(c.isalnum() for c in text) for text in texts):
        return sparse.csr_matrix((len(texts), 1))
    return TfidfVectorizer(sublinear_tf=True, token_pattern=r"\b\w+\b").fit_transform(texts)


def _square(vectors: Any) -> Any:
    return vectors.multiply(vectors) if sparse.issparse(vectors) else vectors * vectors


def _products(vectors: Any, profiles: Any, log: Log) -> Numbers:
    """(E,) item vector times profile sum, in pieces."""
    out = np.empty(len(log.users))
    for start in range(0, len(out), 1 << 16):
        end = start + (1 << 16)
        one, other = vectors[log.items[start:end]], profiles[log.users[start:end]]
        both = one.multiply(other) if sparse.issparse(one) else one * other
        out[start:end] = np.asarray(both.sum(axis=1)).ravel()
    return out
