"""Fitted detectors back from their folders."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from hardrank.detection.calibrator import Calibrator, FittedCalibrator
from hardrank.detection.keep import kept
from hardrank.detection.supervised import BoostedDetector, FittedDetector, LogisticDetector
from hardrank.detection.target_stage import FittedTwoStage, TwoStage
from hardrank.errors import BundleError

__all__ = ["LearnedDetector", "load_detector"]

LearnedDetector = Annotated[
    BoostedDetector | LogisticDetector | TwoStage | Calibrator, Field(discriminator="kind")
]
"""Detectors that `fit` examples."""
_ADAPTER: TypeAdapter[BoostedDetector | LogisticDetector | TwoStage | Calibrator] = TypeAdapter(
    LearnedDetector
)


def load_detector(folder: Path) -> FittedDetector | FittedTwoStage | FittedCalibrator:
    """What `save` wrote: equal scores to the last bit on the same machine.

    Raises `BundleError` for a folder that does not hold a fitted detector.
    """
    described, arrays = kept(folder)
    try:
        return _ADAPTER.validate_python(described).restore(arrays)
    except (ValidationError, KeyError) as error:
        raise BundleError(f"{folder}: does not hold a fitted detector ({error})") from error
