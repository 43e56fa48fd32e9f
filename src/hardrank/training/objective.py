"""What training minimises: a scalar from a batch and a network's differentiable parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from hardrank.types import Site

__all__ = [
    "Objective",
    "Plain",
    "Predictions",
    "PredictiveNetwork",
    "Step",
    "TrainableNetwork",
    "begins",
    "bound_objective",
    "check_objective",
]

_SCHEDULES = ("weight_schedule", "radius_schedule")
"""Attributes of objectives that change while training goes on."""


class TrainableNetwork(Protocol):
    """The part of a model that training and hardening see: an `nn.Module` with a loss.

    A batch is the model's own (opaque here). Perturbations enter by name of the site.
    """

    @property
    def sites(self) -> tuple[Site, ...]: ...

    def loss(self, batch: Any, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        """Mean loss of the batch, a scalar, with each delta added at its site."""
        ...

    def clean(self, site: Site, batch: Any) -> Tensor:
        """(..., D) the unperturbed values at the site for this batch, detached. A delta has
        this shape."""
        ...

    def writable(self, site: Site, batch: Any) -> Tensor | None:
        """(...) True where a delta may be non-zero (no padding); None for everywhere."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """What a network says about one batch, row by row."""

    logits: Tensor
    """(N, C) one row a prediction; C candidates (items, or classes)."""
    labels: Tensor
    """(N,) the right candidate's column."""
    users: Tensor | None = None
    """(N,) row of the user each prediction is for, -1 where unknown; None without users."""
    items: Tensor | None = None
    """(N,) row of the right item among the items that have training events, whatever the
    candidates are; None where the candidates are no items."""
    rows: Tensor | None = None
    """(N,) of an auxiliary head that reads a part: which rows of the main head these are."""
    auxiliary: "Callable[[], tuple[tuple[float, Predictions], ...]]" = tuple
    """Asked at most once, right after the logits were made: (weight, predictions) of each
    further head whose mean cross-entropy the loss adds. Made only for who asks."""


@runtime_checkable
class PredictiveNetwork(Protocol):
    """A `TrainableNetwork` whose loss is the mean cross-entropy of rows of logits."""

    def predictions(self, batch: Any, deltas: Mapping[Site, Tensor] | None = None) -> Predictions:
        """The batch's logits with each delta added at its site; `loss` is (up to auxiliary
        heads) `F.cross_entropy(logits, labels)` under the same draws."""
        ...


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where training is. All randomness of a step comes from (seed, epoch, number)."""

    epoch: int
    """From 0."""
    number: int
    """Step within the epoch, from 0."""
    progress: float
    """Share of all planned steps already done, in [0, 1)."""
    generator: torch.Generator
    """For the objective's own draws; its state depends on (seed, epoch, number) alone."""
    memory: dict[str, Any] = field(default_factory=dict)
    """The objective's own notes from one step to the next; empty when an epoch begins, so
    that a resumed run has the same. Under `notes`, name -> number: what a log may tell."""


class Objective(Protocol):
    """A frozen spec you can call in the training loop."""

    @property
    def kind(self) -> str: ...

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """The scalar to back-propagate. Must leave parameter gradients, buffers, mode and
        the global random state as it found them, but for the graph it returns."""
        ...


@dataclass(frozen=True)
class Plain:
    """The model's own loss and nothing else: the control arm."""

    kind: str = "plain"

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        return network.loss(batch)


def bound_objective(
    objective: Objective | None, *, users: Sequence[str], items: Sequence[str]
) -> Objective | None:
    """What an objective with a method `bound` becomes on a dataset; any other as it is.

    users, items: the ids in the order of `Predictions.users` and `Predictions.items`.
    """
    bound = getattr(objective, "bound", None)
    return objective if bound is None else bound(users=users, items=items)


def begins(objective: Objective) -> float:
    """Share of training before which the objective is plain training, since the schedule of
    its weight or radius is 0 until then; 0 for an objective without schedules."""
    schedules = (getattr(objective, name, None) for name in _SCHEDULES)
    return max((float(s.begins) for s in schedules if s is not None), default=0.0)


def check_objective(objective: Objective | None, network: TrainableNetwork) -> None:
    """Ask an objective with a method `check` whether it can be trained on this network.

    Raises `Unsupported` with the reason and the alternatives, before any training.
    """
    check = getattr(objective, "check", None)
    if check is not None:
        check(network)
