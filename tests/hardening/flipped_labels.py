"""A classification whose answer is known, with a share of the training labels flipped."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardrank.training import Predictions, Step

__all__ = ["Flipped", "Logistic", "Mlp", "Rows", "auc", "trained"]


@dataclass(frozen=True)
class Rows:
    x: Tensor
    """(B, D)."""
    y: Tensor
    """(B,) 0 or 1."""


@dataclass(frozen=True)
class Flipped:
    """Two Gaussian clouds in 20 dimensions, 3 standard deviations apart."""

    train: Rows
    """400 rows."""
    wrong: Tensor
    """(400,) True where the label was flipped: the same number in each class."""
    test: Rows
    """2,000 rows, no label flipped."""

    @classmethod
    def of(cls, seed: int, share: float) -> "Flipped":
        rng = np.random.default_rng(seed)
        train, test = _clouds(rng, 400), _clouds(rng, 2000)
        wrong = torch.zeros(400, dtype=torch.bool)
        for label in (0, 1):
            rows = np.flatnonzero(train.y.numpy() == label)
            wrong[rng.permutation(rows)[: round(share * len(rows))]] = True
        return cls(Rows(train.x, torch.where(wrong, 1 - train.y, train.y)), wrong, test)


class Mlp(nn.Module):
    """20-64-2: enough to learn all 400 labels by heart, right or wrong."""

    sites = ("text-vectors",)

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))

    def predictions(self, batch: Rows, deltas: Mapping[Any, Tensor] | None = None) -> Predictions:
        delta = (deltas or {}).get("text-vectors")
        x = batch.x if delta is None else batch.x + delta
        return Predictions(logits=self.layers(x), labels=batch.y)

    def loss(self, batch: Rows, deltas: Mapping[Any, Tensor] | None = None) -> Tensor:
        said = self.predictions(batch, deltas)
        return F.cross_entropy(said.logits, said.labels)

    def clean(self, site: str, batch: Rows) -> Tensor:
        return batch.x.detach()

    def writable(self, site: str, batch: Rows) -> Tensor | None:
        return None


class Logistic(Mlp):
    """20-2."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(20, 2))


def trained(objective: Any, network: Mlp, rows: Rows, *, seed: int, epochs: int) -> Mlp:
    """Adam at 0.01, batches of 100, always all epochs."""
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    order = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        memory: dict[str, Any] = {}
        for number, part in enumerate(torch.randperm(len(rows.y), generator=order).split(100)):
            step = Step(
                epoch=epoch, number=number, progress=epoch / epochs, memory=memory,
                generator=torch.Generator().manual_seed(1000 * epoch + number),
            )  # fmt: skip
            loss = objective(network, Rows(rows.x[part], rows.y[part]), step)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network


def auc(network: Mlp, rows: Rows) -> float:
    """Share of pairs of unlike rows in the right order."""
    with torch.no_grad():
        logits = network.layers(rows.x)
    scores = (logits[:, 1] - logits[:, 0]).numpy()
    ranks = np.argsort(np.argsort(scores)) + 1
    ones = rows.y.numpy() == 1
    n, m = int(ones.sum()), int((~ones).sum())
    return float((ranks[ones].sum() - n * (n + 1) / 2) / (n * m))


def _clouds(rng: np.random.Generator, n: int) -> Rows:
    y = np.arange(n) % 2
    centre = np.full(20, 1.5 / np.sqrt(20))
    x = rng.normal(size=(n, 20)) + np.where(y == 1, 1, -1)[:, None] * centre
    return Rows(torch.from_numpy(x).float(), torch.from_numpy(y))
