"""Users whose classic attributes lie far from everybody else's."""

from typing import Literal

import numpy as np

from hardrank.data import Dataset
from hardrank.detection.features import popularity_features
from hardrank.detection.features_ratings import rating_features
from hardrank.detection.parts import judged, read, robust
from hardrank.types import Floats, Positive, spec

__all__ = ["Degree"]

_DEGREES = ("popularity_mean", "popularity_range", "popularity_q75")
_RATED = ("rdma", "wdma", "wda", "mean_var", "fmtd", "fmv", "tmf")


@spec
class Degree:
    """How unusual a profile is by the popularity of its items and by its rating attributes.

    The popularity attributes of DegreeSAD (MUD, RUD, QUD: Li et al., Information Sciences
    2016) and the classic ones (RDMA, WDMA, WDA, MeanVar, FMTD, FMV, TMF; see
    `features_ratings`), the latter only where the log has ratings. They were made for
    learned detectors; without labels the score is the root mean square of the robust
    distances of all attributes (cube roots, which take the skew out), whichever direction.
    """

    kind: Literal["degree"] = "degree"
    cap: Positive = 6.0
    """Largest distance that counts, in robust standard deviations."""

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) at least 0; NaN for users with fewer than two items."""
        log = read(dataset)
        popular = popularity_features(log)
        columns = [popular[name] for name in _DEGREES]
        if not np.isnan(log.ratings).all():
            rated = rating_features(log)
            columns += [rated[name] for name in _RATED]
        known = log.lengths >= 2
        away = [robust(np.where(known, np.cbrt(column), np.nan)) for column in columns]
        squares = np.minimum(np.abs(np.column_stack(away)), self.cap) ** 2
        return judged(log, np.sqrt(squares.mean(axis=1)))
