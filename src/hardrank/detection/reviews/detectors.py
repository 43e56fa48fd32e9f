"""Detectors of fake reviews, before training."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from hardrank.data.labelled import Labelled
from hardrank.detection.reviews.copied import CopiedReviews
from hardrank.detection.reviews.features import (
    STYLE,
    grams,
    letter_grams,
    style,
    tf_idf,
    vocabulary,
    word_grams,
)
from hardrank.detection.reviews.fitted import FittedReviewDetector, standard
from hardrank.detection.reviews.logistic import fit_logistic
from hardrank.errors import DataError
from hardrank.types import Count, Positive, spec

__all__ = ["REVIEW_DETECTORS", "NgramReviews", "ReviewDetectorSpec", "StyleReviews"]

Doubles = NDArray[np.float64]


@spec
class NgramReviews:
    """Which words, pairs of words and runs of letters a text holds; logistic regression.

    Words and pairs with a linear classifier: Ott et al., ACL 2011, section 4.3 (there an SVM).
    Letters are added for misspellings and marks. How a text is written (`StyleReviews`) adds
    nothing beside them on the reviews of Ott et al.
    """

    kind: Literal["ngram-reviews"] = "ngram-reviews"
    words: Count = 20_000
    """Most words and pairs of words known."""
    letters: Count = 20_000
    """Most runs of 3 and 4 letters known."""
    least: Count = 2
    """Training texts that a part must stand in."""
    penalty: Positive = 1e-4
    """Weight of ||w||^2 / 2 beside the mean loss."""

    def fit(self, train: Labelled, *, fake: str) -> FittedReviewDetector:
        """Texts of class `fake` against all others. Raises `DataError` for an unknown class, or
        when one side is empty; texts without a label are passed over."""
        texts, wrong = _sides(train, fake)
        sizes: dict[str, tuple[Callable[[str], list[str]], int]] = {
            "words": (word_grams, self.words), "letters": (letter_grams, self.letters),
        }  # fmt: skip
        vocabularies, idf, blocks = {}, {}, []
        for name, (cut, most) in sizes.items():
            known = vocabulary(texts, cut, least=self.least, most=most)
            counts = grams(texts, cut, {p: n for n, p in enumerate(known)})
            found = np.bincount(counts.indices, minlength=len(known))
            idf[name] = 1 + np.log((1 + len(texts)) / (1 + found))
            vocabularies[name] = tuple(known)
            blocks.append(tf_idf(counts, idf[name]))
        matrix = sparse.csr_matrix(sparse.hstack(blocks))
        weights, bias = fit_logistic(matrix, wrong, penalty=self.penalty)
        return FittedReviewDetector(
            vocabularies=vocabularies, idf=idf, centre=None, spread=None, weights=weights,
            bias=bias,
        )  # fmt: skip


@spec
class StyleReviews:
    """How a text is written, not what it says: twenty numbers and logistic regression.

    Learns no product and no place, so it is what may be asked of texts about other things.
    """

    kind: Literal["style-reviews"] = "style-reviews"
    penalty: Positive = 1e-4
    """Weight of ||w||^2 / 2 beside the mean loss."""
    features: ClassVar[tuple[str, ...]] = STYLE

    def fit(self, train: Labelled, *, fake: str) -> FittedReviewDetector:
        """Texts of class `fake` against all others. Raises as `NgramReviews.fit`."""
        texts, wrong = _sides(train, fake)
        centre, spread, features = _standardised(texts)
        weights, bias = fit_logistic(features, wrong, penalty=self.penalty)
        return FittedReviewDetector(
            vocabularies={}, idf={}, centre=centre, spread=spread, weights=weights, bias=bias
        )


REVIEW_DETECTORS: tuple[type, ...] = (CopiedReviews, NgramReviews, StyleReviews)
"""All but `CopiedReviews` are trained."""
ReviewDetectorSpec = Annotated[
    CopiedReviews | NgramReviews | StyleReviews, Field(discriminator="kind")
]


def _sides(train: Labelled, fake: str) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    if fake not in train.names:
        raise DataError(f"no class '{fake}'; there are: {', '.join(train.names)}", field="fake")
    known = train.labelled
    wrong = known.labels == train.names.index(fake)
    if not 0 < wrong.sum() < len(wrong):
        raise DataError("both fake and real texts are needed", field="fake")
    return known.texts, wrong


def _standardised(texts: tuple[str, ...]) -> tuple[Doubles, Doubles, Doubles]:
    values = style(texts)
    centre, spread = values.mean(axis=0), values.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    return centre, spread, standard(values, centre, spread)
