"""The training loop, its options, checkpoints and the catalogue softmax."""

from hardrank.training.loop import Trained, train
from hardrank.training.objective import (
    Objective,
    Plain,
    Predictions,
    PredictiveNetwork,
    Step,
    TrainableNetwork,
    bound_objective,
    check_objective,
)
from hardrank.training.options import Training

__all__ = [
    "Objective",
    "Plain",
    "Predictions",
    "PredictiveNetwork",
    "Step",
    "TrainableNetwork",
    "Trained",
    "Training",
    "bound_objective",
    "check_objective",
    "train",
]
