"""Several detectors as one."""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from hardrank.data import Dataset
from hardrank.data.filtering import Detector
from hardrank.detection.bursts import Bursts
from hardrank.detection.consistency import InterestConsistency
from hardrank.detection.degree import Degree
from hardrank.detection.duplicates import Duplicates
from hardrank.detection.fap import Fap
from hardrank.detection.parts import Numbers, midranks, robust
from hardrank.detection.pca import PcaSelect
from hardrank.detection.rings import Rings
from hardrank.detection.text_mismatch import TextMismatch
from hardrank.detection.unrap import UnRap
from hardrank.types import Floats, spec

__all__ = ["SINGLE_DETECTORS", "AnySingle", "Combined"]

SINGLE_DETECTORS: tuple[type, ...] = (
    PcaSelect, UnRap, Fap, Degree, InterestConsistency, Duplicates, Rings, Bursts, TextMismatch,
)  # fmt: skip
AnySingle = Annotated[
    PcaSelect | UnRap | Fap | Degree | InterestConsistency | Duplicates | Rings | Bursts
    | TextMismatch,
    Field(discriminator="kind"),
]  # fmt: skip
_FARTHEST = 50.0
"""Robust standard deviations that a single detector's opinion may reach."""


@spec
class Combined:
    """What several detectors say together.

    `ranks`: the mean rank in (0, 1), which asks for a profile that many find odd. `largest`:
    the largest distance from the median in robust standard deviations, which lets one sure
    detector decide: attacks that differ are each found by another detector. A detector that
    does not judge a user has no say about him.
    """

    kind: Literal["combined"] = "combined"
    detectors: Annotated[tuple[AnySingle, ...], Field(min_length=1)] = (
        PcaSelect(), InterestConsistency(), Duplicates(), Bursts(),
    )  # fmt: skip
    """Asked each for itself."""
    how: Literal["ranks", "largest"] = "largest"

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,); NaN for a user whom no detector judges."""
        return combine(list(self.detectors), dataset, how=self.how)


def combine(
    detectors: list[Detector], dataset: Dataset, *, how: Literal["ranks", "largest"]
) -> Floats:
    """(U,) of any detectors, trained ones included; see `Combined`."""
    scale: Callable[[Numbers], Numbers] = midranks if how == "ranks" else _distance
    opinions = np.stack([scale(d(dataset).astype(np.float64)) for d in detectors])
    known = ~np.isnan(opinions)
    if how == "largest":
        out = np.where(known, opinions, -np.inf).max(axis=0)
    else:
        out = np.where(known, opinions, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known.any(axis=0), out, np.nan).astype(np.float32)


def _distance(scores: Numbers) -> Numbers:
    return np.minimum(robust(scores), _FARTHEST)
