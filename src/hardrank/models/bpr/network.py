"""The network behind `bpr-mf`: two tables of vectors and item biases."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardrank.models.bpr.triples import BprBatch
from hardrank.types import Site

__all__ = ["BprNetwork"]


class BprNetwork(nn.Module):
    """A `hardrank.training.TrainableNetwork`. It scores pairs, so it has no rows of logits.

    Its sites are the whole tables: a row moves wherever it stands in a batch, and a delta at
    a row that the batch does not touch changes nothing.
    """

    sites: tuple[Site, ...] = ("item-vectors", "user-vectors")

    def __init__(self, users: Tensor, factors: Tensor, biases: Tensor, *, penalty: float) -> None:
        """users: (U, D), factors: (I, D), biases: (I,), to begin from; copied."""
        super().__init__()
        self.users = nn.Parameter(users.clone())
        self.factors = nn.Parameter(factors.clone())
        self.biases = nn.Parameter(biases.clone())
        self.penalty = penalty

    def loss(self, batch: BprBatch, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        """Mean of -ln sigmoid(score(u, i) - score(u, j)) + penalty / 2 * squared norms.

        Deltas: `user-vectors` (U, D), `item-vectors` (I, D). The penalty is on the weights, so
        that no perturbation can gain by being long.
        """
        drawn = (self.users, batch.users), (self.factors, batch.liked), (self.factors, batch.other)
        u, i, j = (F.embedding(rows, table) for table, rows in drawn)
        bi, bj = self.biases[batch.liked], self.biases[batch.other]
        losses = -F.logsigmoid(self._margin((u, i, j), bi - bj, batch, deltas or {}))
        if self.penalty:
            norms = (u.square() + i.square() + j.square()).sum(1) + bi.square() + bj.square()
            losses = losses + 0.5 * self.penalty * norms
        return losses.mean()

    def user_losses(self, batch: BprBatch) -> Tensor:
        """(B,) -ln sigmoid of each comparison, without the penalty."""
        with torch.no_grad():
            u, i, j = self.users[batch.users], self.factors[batch.liked], self.factors[batch.other]
            bias = self.biases[batch.liked] - self.biases[batch.other]
            return -F.logsigmoid(self._margin((u, i, j), bias, batch, {}))

    def pair_scores(self, users: Tensor, items: Tensor) -> Tensor:
        """(B,) users, (B, M) items -> (B, M), without a gradient."""
        with torch.no_grad():
            return (self.users[users][:, None] * self.factors[items]).sum(2) + self.biases[items]

    def clean(self, site: Site, batch: BprBatch) -> Tensor:
        return (self.users if site == "user-vectors" else self.factors).detach()

    def writable(self, site: Site, batch: BprBatch) -> Tensor | None:
        return None

    def _margin(
        self,
        vectors: tuple[Tensor, Tensor, Tensor],
        bias: Tensor,
        batch: BprBatch,
        deltas: Mapping[Site, Tensor],
    ) -> Tensor:
        """(B,) score(u, i) - score(u, j) at the moved vectors."""
        assert deltas.keys() <= set(self.sites), "a delta at a site that is not there"
        u, i, j = vectors
        if (delta := deltas.get("user-vectors")) is not None:
            u = u + F.embedding(batch.users, delta)
        if (delta := deltas.get("item-vectors")) is not None:
            i, j = i + F.embedding(batch.liked, delta), j + F.embedding(batch.other, delta)
        return (u * (i - j)).sum(1) + bias
