"""Networks whose every number can be worked out by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardrank.testing.objectives import TinyBatch, TinyNetwork
from hardrank.training import Predictions
from hardrank.types import Site


class Logistic(nn.Module):
    """Two classes over (B, D) inputs: scores 0 and w . (x + delta). The batch is x itself,
    every label is 1, and `deltas` holds what was asked with a gradient to the weights."""

    sites: tuple[Site, ...] = ("text-vectors",)

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w.clone())
        self.deltas: list[Tensor] = []

    def predictions(
        self, batch: Tensor, deltas: Mapping[Site, Tensor] | None = None
    ) -> Predictions:
        delta = (deltas or {}).get("text-vectors")
        if delta is not None and not delta.requires_grad and torch.is_grad_enabled():
            self.deltas.append(delta)
        margin = (batch if delta is None else batch + delta) @ self.w
        labels = torch.ones(len(batch), dtype=torch.long)
        return Predictions(logits=torch.stack([torch.zeros_like(margin), margin], 1), labels=labels)

    def loss(self, batch: Tensor, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        said = self.predictions(batch, deltas)
        return nn.functional.cross_entropy(said.logits, said.labels)

    def clean(self, site: Site, batch: Tensor) -> Tensor:
        return batch

    def writable(self, site: Site, batch: Tensor) -> Tensor | None:
        return None


class Watched(TinyNetwork):
    """Keeps the perturbations that it was asked about with a gradient to the weights."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.deltas: list[Tensor] = []

    def predictions(
        self, batch: TinyBatch, deltas: Mapping[Site, Tensor] | None = None
    ) -> Predictions:
        delta = (deltas or {}).get("item-vectors")
        if delta is not None and not delta.requires_grad and torch.is_grad_enabled():
            self.deltas.append(delta)
        return super().predictions(batch, deltas)


class Pairwise(nn.Module):
    """Scores pairs only, as matrix factorisation does: no rows of logits."""

    sites: tuple[Site, ...] = ("item-vectors",)

    def loss(self, batch: Any, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        raise AssertionError("asked to train after all")

    clean = writable = loss


@pytest.fixture
def logistic() -> Callable[[Tensor], Logistic]:
    return Logistic


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def pairwise() -> Pairwise:
    return Pairwise()


@pytest.fixture
def tiny_batch() -> TinyBatch:
    draws = torch.Generator().manual_seed(5)
    return TinyBatch(torch.randn(5, 4, generator=draws), torch.tensor([0, 2, 5, 1, 3]))
