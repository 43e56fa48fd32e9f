"""Small parts for tests of models that learn from pairs. Needs torch, so it is imported by its
full name."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hardrank.models.bpr.network import BprNetwork
from hardrank.models.bpr.triples import BprBatch
from hardrank.training.objective import Step
from hardrank.types import Site

__all__ = ["Died", "Dies", "Remembering", "batch", "step"]

_USERS, _LIKED, _OTHER = (0, 0, 1, 4), (1, 2, 3, 3), (4, 4, 5, 0)


def batch(
    users: Sequence[int] = _USERS, liked: Sequence[int] = _LIKED, other: Sequence[int] = _OTHER
) -> BprBatch:
    """Rows of `Remembering`, unless told others."""
    return BprBatch(*(torch.tensor(rows) for rows in (users, liked, other)))


def step(progress: float = 0.0) -> Step:
    return Step(epoch=0, number=0, progress=progress, generator=torch.Generator().manual_seed(0))


class Remembering(BprNetwork):
    """5 users, 7 items, 4 factors; remembers the deltas that it was asked for."""

    def __init__(self, lengths: Sequence[float] | None = None) -> None:
        """lengths: of the users' vectors; as they are drawn unless told."""
        draws = torch.Generator().manual_seed(1)
        users, items, biases = (torch.randn(*s, generator=draws) for s in ((5, 4), (7, 4), (7,)))
        if lengths is not None:
            users = users / users.norm(dim=1, keepdim=True) * torch.tensor(lengths)[:, None]
        super().__init__(users, items, biases, penalty=0.01)
        self.last: dict[Site, Tensor] = {}

    def loss(self, batch: BprBatch, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        self.last = dict(deltas or {})
        return super().loss(batch, deltas)


class Died(Exception):
    """Stands for a kill in the middle of training."""


class Dies:
    """An objective: plain until the epoch in which the process dies."""

    kind = "dies"

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def __repr__(self) -> str:
        return self.kind  # the same objective whenever it dies: a checkpoint is of this name

    def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
        if step.epoch == self.epoch:
            raise Died
        loss: Tensor = network.loss(batch)
        return loss
