"""A discriminator: a head over a sentence encoder's vectors, learned from mixed attacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from hardrank.guards.base import Listing, Shop, Verdict
from hardrank.guards.encoded import Reach, places, vectors
from hardrank.guards.lesson import Lesson, clean_border, judged, taught
from hardrank.types import Count, Positive, spec

__all__ = ["EncoderHead", "FittedEncoderHead", "head_features"]

Doubles = NDArray[np.float64]
_LOUD = 3.0
"""What the four measures are multiplied by: against hundreds of entries of a vector the penalty
would keep them quiet."""


def head_features(listings: Sequence[Listing], reach: Reach, encoder: str) -> Doubles:
    """(N, 3 D + 4) the text's vector v; v less that of before (0 for a new item); v less the
    mean of its words' vectors; and what these say together: how far v is from before and from
    its words, and how well it reaches the query that it reaches best, and the best ones."""
    texts = [one.text for one in listings]
    before = [one.text_before or one.text for one in listings]
    spelled = [[one.fields[f][a:b] for f, a, b in places(one)] for one in listings]
    flat = [word for words in spelled for word in words]
    found = vectors(encoder, [*texts, *before, *flat])
    n = len(listings)
    now, was, each = found[:n], found[n : 2 * n], found[2 * n :]
    owner = np.repeat(np.arange(n), [len(words) for words in spelled])
    mean = np.zeros_like(now)
    np.add.at(mean, owner, each)
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
    ids = [one.item_id for one in listings]
    best = reach.margins(now, ids).max(axis=1, initial=-2.0)
    measures = np.column_stack(
        [1 - (now * was).sum(axis=1), 1 - (now * mean).sum(axis=1), best,
         reach.score(now, reach.reached(now, ids))]
    )  # fmt: skip
    return np.concatenate([now, now - was, now - mean, _LOUD * measures], axis=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedEncoderHead:
    """exp of the log-odds that an attack wrote a listing."""

    spec: "EncoderHead"
    reach: Reach
    weights: Doubles
    """(3 D + 4,)"""
    bias: float
    threshold: float

    @property
    def kind(self) -> str:
        return self.spec.kind

    def raw(self, listings: Sequence[Listing], shop: Shop) -> Doubles:
        """(N,) odds; quarantined is who is above `threshold`."""
        if not listings:
            return np.zeros(0)
        x = head_features(listings, self.reach, self.spec.encoder)
        return np.asarray(np.exp(np.clip(x @ self.weights + self.bias, -30, 30)))

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        reason = "an encoder reads it as it reads edited texts"
        return judged(self.kind, self.raw(listings, shop), self.threshold, reason)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "weights": self.weights, "bias": np.asarray([self.bias]), **self.reach.arrays(),
            "border": np.asarray([self.threshold]),
        }  # fmt: skip


@spec
class EncoderHead:
    """Logistic regression on what a sentence encoder makes of a text, of the text before, and
    of its words, learned from clean listings, honest edits and attacks of many families, each
    of which weighs the same.

    The discriminator of adversarial and normal inputs over frozen features; Metzen et al.,
    ICLR 2017, put one on inner layers of a network. Hidden characters that the encoder's
    tokenizer drops are invisible to it: the guard `normaliser` sees them.
    """

    kind: Literal["encoder-head"] = "encoder-head"
    encoder: str = "minilm"
    """`minilm` (installed with the package), or a folder with a Hugging Face encoder."""
    queries: Count = 200
    """Popular items that a text may reach."""
    inverse_penalty: Positive = 1.0
    """The smaller, the smaller the weights: C of scikit-learn's LogisticRegression."""
    rows: Count = 2500
    """Most clean listings to learn from."""
    false_alarms: Annotated[float, Gt(0), Lt(1)] = 0.01
    """Share of clean listings, held out, and of honest edits of them, that may be stopped."""

    def fit(self, lesson: Lesson) -> FittedEncoderHead:
        """Raises `DataError` for a lesson without attacked listings, and as the encoder does
        when it cannot be loaded."""
        from sklearn.linear_model import LogisticRegression

        listings, labels, weight = taught(lesson, self.rows)
        reach = Reach.of(lesson.shop, lesson.texts, self.encoder, self.queries)
        x = head_features(listings, reach, self.encoder)
        model = LogisticRegression(C=self.inverse_penalty, max_iter=1000)
        model.fit(x, labels, sample_weight=weight)
        weights, bias = np.asarray(model.coef_[0], np.float64), float(model.intercept_[0])
        draft = FittedEncoderHead(spec=self, reach=reach, weights=weights, bias=bias, threshold=1.0)
        threshold = clean_border(draft.raw, lesson, self.false_alarms)
        return FittedEncoderHead(
            spec=self, reach=reach, weights=weights, bias=bias, threshold=threshold
        )

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedEncoderHead:
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        return FittedEncoderHead(
            spec=self, reach=Reach.restore(arrays), weights=arrays["weights"],
            bias=float(arrays["bias"][0]), threshold=float(arrays["border"][0]),
        )  # fmt: skip
