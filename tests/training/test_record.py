"""What stays of a training: the event file and `training.json` say the same."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from hardrank.context import RunContext
from hardrank.testing.objectives import TinyBatch, TinyNetwork
from hardrank.training import Training, train


def _batches(order: np.random.Generator) -> Iterator[TinyBatch]:
    yield TinyBatch(
        torch.from_numpy(order.normal(size=(8, 4))).float(),
        torch.from_numpy(order.integers(0, 6, 8)),
    )


def _scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensorboard's own imports
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder))
        events.Reload()
    return {
        tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_the_event_file_read_back_is_the_history(tmp_path: Path) -> None:
    """S0-35: every scalar of every epoch, at its epoch."""
    said = iter([{"ndcg@10": 0.1}, {"ndcg@10": 0.3}, {"ndcg@10": 0.2}])
    train(
        TinyNetwork(), _batches, steps=1, validate=lambda: next(said), fingerprint="one",
        options=Training(epochs=3, patience=0), objective=None, run=RunContext(folder=tmp_path),
    )  # fmt: skip
    (folder,) = tmp_path.rglob("tensorboard")
    (facts,) = tmp_path.rglob("training.json")
    history = json.loads(facts.read_text("utf-8"))["history"]
    read = _scalars(folder)
    assert len(history) == 3 and {"loss", "ndcg@10", "epoch"} <= set(read)
    assert set(read) == {name for row in history for name in row}
    for name, values in read.items():
        told = [(row["epoch"], float(np.float32(row[name]))) for row in history if name in row]
        assert values == told, name
