"""A guard for reviews: does a text read like the fake ones, or repeat what others wrote?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit

from hardrank.data.labelled import Labelled
from hardrank.detection.reviews import (
    CopiedReviews,
    FittedReviewDetector,
    NgramReviews,
    StyleReviews,
)
from hardrank.detection.reviews.copied import KnownPhrases
from hardrank.errors import BundleError, DataError
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.types import Dropout, Natural, Share, spec

__all__ = ["FittedReviewGuard", "ReviewGuard"]

_VOCABULARY = "vocabulary."


@spec
class ReviewGuard:
    """Hold reviews that a trained detector takes for fake, and copies of public ones.

    A review comes as a `Listing` of the item it is about, its text in `field`; listings without
    that field are none of this guard's business. The detector's threshold is set on real
    reviews that it was not trained on, so that it holds `false_alarms` of such.
    """

    kind: Literal["reviews"] = "reviews"
    detector: Annotated[NgramReviews | StyleReviews, Field(discriminator="kind")] = NgramReviews()
    """What reads a text."""
    field: str = "review"
    """Field of the listing that holds the review."""
    copied: Share = 0.5
    """Share of a review's runs of words found in public reviews above which it is a copy."""
    phrases: CopiedReviews = CopiedReviews()
    """How long such a run is."""
    false_alarms: Share = 0.01
    """Share of real reviews that the detector may hold; of fewer than one in that share no
    such promise can be read, and the threshold lies above all of them."""
    held_out: Dropout = 0.25
    """Share of the texts that set the threshold instead of training; of their groups (items,
    hotels), where they have some: fakes of an item are often written together."""
    seed: Natural = 0
    """Of the choice of those."""

    def fit(self, train: Labelled, *, fake: str) -> "FittedReviewGuard":
        """Learn from texts of class `fake` against all others; those without a label are passed
        over. Raises `DataError` for an unknown class, or when one side is empty."""
        known = train.labelled
        kept, apart = self._parted(known)
        detector = self.detector.fit(known.take(kept), fake=fake)
        real = known.take(apart)
        texts = [
            t for t, c in zip(real.texts, real.labels.tolist(), strict=True)
            if real.names[c] != fake
        ]  # fmt: skip
        if not texts:
            raise DataError("no real review is left to set the threshold", field="held_out")
        scores = np.sort(detector.score(texts).astype(np.float64))
        place = int(np.ceil((len(scores) + 1) * (1 - self.false_alarms))) - 1
        threshold = scores[min(max(place, 0), len(scores) - 1)]
        return FittedReviewGuard(
            spec=self, detector=detector, threshold=float(threshold),
            public=self.phrases.against(()),
        )  # fmt: skip

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> "FittedReviewGuard":
        """The inverse of `FittedReviewGuard.arrays`; call `against` for the public reviews.
        Raises `BundleError` where they do not fit together."""
        if "threshold" not in arrays:
            raise BundleError(f"{self.kind}: the array 'threshold' is missing")
        words = {
            name.removeprefix(_VOCABULARY): array.tolist()
            for name, array in arrays.items()
            if name.startswith(_VOCABULARY)
        }
        try:
            detector = FittedReviewDetector.restore(arrays, words)
        except DataError as error:
            raise BundleError(f"{self.kind}: {error}") from error
        return FittedReviewGuard(
            spec=self, detector=detector, threshold=float(arrays["threshold"][0]),
            public=self.phrases.against(()),
        )  # fmt: skip

    def _parted(self, known: Labelled) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows to train on, and rows to set the threshold."""
        rng = np.random.default_rng(self.seed)
        names, unit = np.unique(known.groups or (), return_inverse=True)
        if len(names) < 2:
            unit = np.arange(len(known))
        order = rng.permutation(unit.max(initial=-1) + 1)
        apart = np.isin(unit, order[: int(len(order) * self.held_out)])
        return np.flatnonzero(~apart), np.flatnonzero(apart)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedReviewGuard:
    """See `ReviewGuard`."""

    spec: ReviewGuard
    detector: FittedReviewDetector
    threshold: float
    """Detector's score above which a review is held."""
    public: KnownPhrases
    """Of reviews that stand already."""

    @property
    def kind(self) -> str:
        return self.spec.kind

    def against(self, public: Iterable[str]) -> "FittedReviewGuard":
        """The same guard beside these public reviews."""
        return replace(self, public=self.spec.phrases.against(public))

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        """The score is a half at the border of the reason that is nearer to it."""
        texts = [listing.fields.get(self.spec.field, "") for listing in listings]
        fake = expit(self.detector.score(texts).astype(np.float64) - self.threshold)
        copied = self.public.score(texts)
        return [
            self._verdict(text, float(f), float(c))
            for text, f, c in zip(texts, fake, copied, strict=True)
        ]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The detector's and the threshold; public reviews are the store's to keep."""
        words = {
            _VOCABULARY + name: np.array(known, dtype=np.str_)
            for name, known in self.detector.vocabularies.items()
        }
        return self.detector.arrays() | words | {"threshold": np.array([self.threshold])}

    def _verdict(self, text: str, fake: float, copied: float) -> Verdict:
        if not text.strip():
            return admit(self.kind)
        where = ((self.spec.field, 0, len(text)),)
        if copied > self.spec.copied:
            reason = f"{copied:.0%} of the review stands in public ones"
            score = 0.5 + 0.5 * copied
            return Verdict("quarantine", self.kind, score, reason, spans=where)
        if fake > 0.5:
            return Verdict(
                "quarantine", self.kind, fake, "it reads like the fake reviews learned from",
                spans=where,
            )  # fmt: skip
        return admit(self.kind, max(fake, 0.5 * copied))
