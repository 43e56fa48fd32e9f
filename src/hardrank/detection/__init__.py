"""Finding fake users, poisoned items and fake reviews in a log."""

from typing import Annotated

from pydantic import Field

from hardrank.detection.bursts import Bursts
from hardrank.detection.calibrator import Calibrator, FittedCalibrator
from hardrank.detection.combined import SINGLE_DETECTORS, Combined, combine
from hardrank.detection.consistency import InterestConsistency
from hardrank.detection.degree import Degree
from hardrank.detection.discriminator import GanDetector, GanDiscriminator
from hardrank.detection.duplicates import Duplicates
from hardrank.detection.evaluate import (
    Detected,
    evaluate,
    leave_one_attack_out,
    leave_one_out,
)
from hardrank.detection.examples import LabelledLog, labelled
from hardrank.detection.fap import Fap
from hardrank.detection.features import Features, user_features
from hardrank.detection.pca import PcaSelect
from hardrank.detection.rings import Rings
from hardrank.detection.supervised import BoostedDetector, FittedDetector, LogisticDetector
from hardrank.detection.target_stage import FittedTwoStage, TwoStage
from hardrank.detection.text_mismatch import TextMismatch
from hardrank.detection.trust import calibrated, item_trust
from hardrank.detection.unrap import UnRap

__all__ = [
    "DETECTORS",
    "AnyDetector",
    "BoostedDetector",
    "Bursts",
    "Calibrator",
    "Combined",
    "Degree",
    "Detected",
    "Duplicates",
    "Fap",
    "Features",
    "FittedCalibrator",
    "FittedDetector",
    "FittedTwoStage",
    "GanDetector",
    "GanDiscriminator",
    "InterestConsistency",
    "LabelledLog",
    "LearnedUnion",
    "LogisticDetector",
    "PcaSelect",
    "Rings",
    "TextMismatch",
    "TwoStage",
    "UnRap",
    "UnsupervisedUnion",
    "calibrated",
    "combine",
    "evaluate",
    "item_trust",
    "labelled",
    "leave_one_attack_out",
    "leave_one_out",
    "user_features",
]

UnsupervisedUnion = (
    PcaSelect | UnRap | Fap | Degree | InterestConsistency | Duplicates | Rings | Bursts
    | TextMismatch | Combined
)  # fmt: skip
"""Detectors that need no labelled example: callables (dataset) -> (U,) scores."""
LearnedUnion = BoostedDetector | LogisticDetector | TwoStage | Calibrator
"""Detectors with `fit`. A `TwoStage` can do without where its base can."""
AnyDetector = Annotated[
    UnsupervisedUnion | LearnedUnion | GanDiscriminator, Field(discriminator="kind")
]
"""What `detector = { kind = "..." }` of a file may spell."""
DETECTORS: tuple[type, ...] = (*SINGLE_DETECTORS, Combined)
