"""Experiments: data until the last step. Importing this loads torch."""

from hardrank.experiment.circumstance import Result
from hardrank.experiment.classify_spec import ClassifierExperiment
from hardrank.experiment.run import run_experiment
from hardrank.experiment.spec import Experiment, load_experiment, parse_experiment

__all__ = ["ClassifierExperiment", "Experiment", "Result", "load_experiment"]
__all__ += ["parse_experiment", "run_experiment"]
