"""Users and items as the nodes of one graph, and steps along its edges."""

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from hardrank.data import Dataset

__all__ = ["normalised", "propagated"]


def normalised(train: Dataset) -> sparse.csr_matrix:
    """(U + I, U + I) symmetric, D^-1/2 A D^-1/2 of users first, then items.

    An edge weighs as much as the heaviest event of its pair; D is the sum of edges at a node.
    Nodes without events have empty rows.
    """
    users = train.events["user"].to_numpy().astype(np.int64)
    keys, pair = np.unique(users * train.n_items + train.event_items, return_inverse=True)
    weight = np.zeros(len(keys))
    np.maximum.at(weight, pair, train.events["weight"].to_numpy().astype(np.float64))
    rows, columns = keys // train.n_items, keys % train.n_items + train.n_users
    nodes = train.n_users + train.n_items
    half = sparse.csr_matrix((weight, (rows, columns)), shape=(nodes, nodes))
    both = half + half.T
    degree = np.asarray(both.sum(axis=1)).ravel()
    scale = sparse.diags_array(np.where(degree > 0, degree, np.inf) ** -0.5)
    return sparse.csr_matrix(scale @ both @ scale).astype(np.float32)


def propagated(graph: sparse.csr_matrix, vectors: Tensor, layers: int) -> Tensor:
    """(U + I, D) mean over 0 to `layers` steps along the edges; differentiable in `vectors`."""
    total = step = vectors
    for _ in range(layers):
        step = _Step.apply(step, graph)  # type: ignore[no-untyped-call]
        total = total + step
    return total / (layers + 1)


class _Step(torch.autograd.Function):
    """graph @ vectors. SciPy is several times faster here than torch's own sparse product."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, graph: sparse.csr_matrix) -> Tensor:
        ctx.graph = graph
        return torch.from_numpy(graph @ vectors.detach().numpy())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # the graph is its own transpose
        return torch.from_numpy(ctx.graph @ gradient.numpy()), None
