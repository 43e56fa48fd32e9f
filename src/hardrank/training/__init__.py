"""The training loop, its options, checkpoints and the catalogue softmax."""

from hardrank.training.loop import Trained, train
from hardrank.training.objective import Objective, Plain, Step, TrainableNetwork
from hardrank.training.options import Training

__all__ = ["Objective", "Plain", "Step", "TrainableNetwork", "Trained", "Training", "train"]
