"""What a classifier has to beat: the commonest class, and a linear model of word counts."""

import numpy as np

from hardrank.data.labelled import LabelledSplit
from hardrank.metrics.classification import accuracy, roc_auc
from hardrank.types import Floats, Ints

__all__ = ["majority", "tfidf_logistic"]

_STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Inverse L2 weights of the logistic regression; the validation texts choose."""


def majority(split: LabelledSplit) -> Floats:
    """(N, 2) probabilities of the test texts: the classes' shares of the labelled
    training texts."""
    shares = np.bincount(split.train.labelled.labels, minlength=2) / len(split.train.labelled)
    return np.tile(shares, (len(split.test), 1)).astype(np.float32)


def tfidf_logistic(split: LabelledSplit) -> Floats:
    """(N, 2) probabilities of the test texts, from logistic regression on TF-IDF of words and
    pairs of words that at least two labelled training texts have (sublinear counts)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    train, valid, test = split.train.labelled, split.valid, split.test
    known = words.fit_transform(train.texts)
    held, asked = words.transform(valid.texts), words.transform(test.texts)
    made = [LogisticRegression(C=c, max_iter=2000).fit(known, train.labels) for c in _STRENGTHS]
    best = max(made, key=lambda m: _quality(m.predict_proba(held), valid.labels))
    return np.asarray(best.predict_proba(asked), dtype=np.float32)


def _quality(probabilities: Floats, labels: Ints) -> tuple[float, float]:
    named = accuracy(labels, probabilities.argmax(axis=1))
    return named, roc_auc(labels == 1, probabilities[:, 1])
