"""Finding fake reviews by their text."""

from hardrank.detection.reviews.copied import CopiedReviews
from hardrank.detection.reviews.detectors import (
    REVIEW_DETECTORS,
    NgramReviews,
    ReviewDetectorSpec,
    StyleReviews,
)
from hardrank.detection.reviews.features import STYLE
from hardrank.detection.reviews.fitted import FittedReviewDetector

__all__ = [
    "REVIEW_DETECTORS",
    "STYLE",
    "CopiedReviews",
    "FittedReviewDetector",
    "NgramReviews",
    "ReviewDetectorSpec",
    "StyleReviews",
]
