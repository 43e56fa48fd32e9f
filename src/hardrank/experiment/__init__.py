"""Experiments: data until the last step. Importing this loads torch."""

from hardrank.experiment.run import Result, run_experiment
from hardrank.experiment.spec import Experiment, load_experiment, parse_experiment

__all__ = ["Experiment", "Result", "load_experiment", "parse_experiment", "run_experiment"]
