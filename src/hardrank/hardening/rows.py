"""Losses row by row: one for each prediction, before anything is averaged."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hardrank.training.objective import Predictions, PredictiveNetwork, Step, TrainableNetwork

__all__ = ["Rule", "cross_entropy_rows", "heads", "mean_of_rows", "note_share"]

Rule = Callable[[Predictions, Tensor], Tensor]
"""(predictions, (N,) their cross-entropies) -> (N,) what is to be averaged instead."""


def cross_entropy_rows(said: Predictions) -> Tensor:
    """(N,) -log softmax(logits)[label], in single precision at least."""
    logits = said.logits.to(torch.promote_types(said.logits.dtype, torch.float32))
    return F.cross_entropy(logits, said.labels, reduction="none")


def heads(said: Predictions) -> tuple[tuple[float, Predictions], ...]:
    """(weight, predictions) of every head whose mean cross-entropy `loss` adds up."""
    return ((1.0, said), *said.auxiliary())


def mean_of_rows(network: TrainableNetwork, batch: Any, rule: Rule) -> Tensor:
    """Sum over heads of weight * mean over rows of `rule`: the batch's loss where the rule
    gives back the cross-entropies.

    A row that the rule brings to 0 has no gradient, in any head. The mean is over all rows,
    so the others count as much as they would without it.
    """
    assert isinstance(network, PredictiveNetwork)
    said = network.predictions(batch)
    parts = [weight * rule(head, cross_entropy_rows(head)).mean() for weight, head in heads(said)]
    return sum(parts[1:], start=parts[0])


def note_share(step: Step, name: str, part: int, whole: int) -> None:
    """Keep `step.memory["notes"][name]` at the share of the epoch's rows so far."""
    seen = step.memory.setdefault(f"rows of {name}", [0, 0])
    seen[0] += part
    seen[1] += whole
    step.memory.setdefault("notes", {})[name] = seen[0] / max(seen[1], 1)
