"""The network behind `light-gcn`: vectors of nodes, spread over the graph."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from hardrank.models.bpr.triples import BprBatch
from hardrank.models.graph.edges import propagated
from hardrank.types import Site

__all__ = ["GraphNetwork"]


class GraphNetwork(nn.Module):
    """A `hardrank.training.TrainableNetwork`. It scores pairs, so it has no rows of logits.

    Its sites are the whole tables of vectors after propagation: a row moves wherever it stands
    in a batch, and a delta at a row that the batch does not touch changes nothing.
    """

    sites: tuple[Site, ...] = ("item-vectors", "user-vectors")

    def __init__(
        self, users: Tensor, items: Tensor, graph: sparse.csr_matrix, *, layers: int, penalty: float
    ) -> None:
        """users: (U, D), items: (I, D), before propagation, to begin from; copied.
        graph: (U + I, U + I), see `edges.normalised`."""
        super().__init__()
        self.users = nn.Parameter(users.clone())
        self.items = nn.Parameter(items.clone())
        self.graph, self.layers, self.penalty = graph, layers, penalty

    def tables(self) -> tuple[Tensor, Tensor]:
        """(U, D) and (I, D) after propagation."""
        nodes = propagated(self.graph, torch.cat([self.users, self.items]), self.layers)
        return nodes[: len(self.users)], nodes[len(self.users) :]

    def loss(self, batch: BprBatch, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        """Mean of -ln sigmoid(score(u, i) - score(u, j)) + penalty / 2 * squared norms.

        Deltas: `user-vectors` (U, D), `item-vectors` (I, D). The penalty is on the vectors
        before propagation, so that no perturbation can gain by being long.
        """
        losses = -F.logsigmoid(self._margin(batch, deltas or {}))
        if self.penalty:
            drawn = (self.users, batch.users), (self.items, batch.liked), (self.items, batch.other)
            norms = sum(F.embedding(rows, table).square().sum(1) for table, rows in drawn)
            losses = losses + 0.5 * self.penalty * norms
        return losses.mean()

    def user_losses(self, batch: BprBatch) -> Tensor:
        """(B,) -ln sigmoid of each comparison, without the penalty."""
        with torch.no_grad():
            return -F.logsigmoid(self._margin(batch, {}))

    def pair_scores(self, users: Tensor, items: Tensor) -> Tensor:
        """(B,) users, (B, M) items -> (B, M), without a gradient."""
        with torch.no_grad():
            left, right = self.tables()
            return (left[users][:, None] * right[items]).sum(2)

    def clean(self, site: Site, batch: BprBatch) -> Tensor:
        with torch.no_grad():
            return self.tables()[0 if site == "user-vectors" else 1]

    def writable(self, site: Site, batch: BprBatch) -> Tensor | None:
        return None

    def _margin(self, batch: BprBatch, deltas: Mapping[Site, Tensor]) -> Tensor:
        """(B,) score(u, i) - score(u, j) at the moved vectors."""
        assert deltas.keys() <= set(self.sites), "a delta at a site that is not there"
        users, items = self.tables()
        users = users + deltas["user-vectors"] if "user-vectors" in deltas else users
        items = items + deltas["item-vectors"] if "item-vectors" in deltas else items
        u, i, j = (
            F.embedding(batch.users, users),
            F.embedding(batch.liked, items),
            F.embedding(batch.other, items),
        )
        return (u * (i - j)).sum(1)
