"""The data of an experiment or an audit, and how it is split."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hardrank.context import derive
from hardrank.data import Dataset
from hardrank.data.splits import Split, check_leaks, cold_split
from hardrank.experiment.audit_spec import Audit
from hardrank.experiment.poison_spec import PoisonExperiment
from hardrank.experiment.spec import Experiment

__all__ = ["dataset_of", "split_of"]


def dataset_of(experiment: Experiment | Audit | PoisonExperiment, folder: Path) -> Dataset:
    """Read, labelled and cleaned; bad rows are kept in `folder`, beside the results."""
    from hardrank.data.cleaning import clean as cleaned
    from hardrank.data.labels import apply

    source: Any = experiment.data
    if getattr(source, "quarantine", folder) is None:
        source = replace(source, quarantine=folder)
    data: Dataset = source.load()
    if experiment.labels:
        data = apply(experiment.labels, data)
    if experiment.cleaning:
        data, _ = cleaned(data, experiment.cleaning)
    return data


def split_of(experiment: Experiment | PoisonExperiment, source: Dataset) -> Split:
    """Checked for leaks. Hidden items are the same for every seed, so that tables agree."""
    if isinstance(experiment, PoisonExperiment) or experiment.hide == 0:
        split = experiment.split.split(source)
    else:
        seed = derive(experiment.seeds[0], "hide")
        split = cold_split(source, experiment.split, experiment.hide, seed)
    check_leaks(split)
    return split
