"""Users who share more rare items with each other than chance explains."""

from typing import Any, Literal

import numpy as np
from scipy import sparse

from hardrank.data import Dataset
from hardrank.detection.parts import Log, Numbers, judged, read, shared_items
from hardrank.types import Count, Floats, Positive, spec

__all__ = ["Rings"]


@spec
class Rings:
    """The densest block of the who-shares-with-whom graph that a user belongs to.

    After FRAUDAR (Hooi et al., KDD 2016): a ring is a dense block, and what bestsellers
    connect counts little. Ours is a graph of users alone. Two users are linked by
    z = (s - m) / sqrt(v): s is the sum over shared items of 1 / ln(n_i + 5), FRAUDAR's weight;
    m and v are its mean and variance for two users of their lengths without taste, v with a
    quarter of the largest squared weight added: one item in common is no link. Each
    user's `links` largest z above `least` remain. Blocks come from peeling: all users of no
    more than the mean degree go at once (Bahmani et al., VLDB 2012), which does not depend on
    any order and comes within a factor of two of the densest block. Score: the largest mean
    degree among the blocks that the user was part of, and half of the user's own links.
    """

    kind: Literal["rings"] = "rings"
    links: Count = 20
    """Links that each user brings in: about the size of the rings looked for."""
    least: Positive = 3.0
    """Weakest link, in standard deviations."""

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) at least 0; NaN for users with fewer than two items."""
        log = read(dataset)
        graph = _graph(log, self.links, self.least)
        own = np.asarray(graph.sum(axis=1)).ravel()
        return judged(log, _densest(graph) + 0.5 * own)


def _graph(log: Log, links: int, least: float) -> Any:
    """(U, U) sparse, symmetric: z of the links that remain, logarithms of their size."""
    weights = 1 / np.log(log.counts + 5)
    hit = (log.counts / max(float(log.counts.sum()), 1.0)) ** 2
    mean, variance = float(weights @ hit), float(weights**2 @ hit)
    rows_of, columns_of, found = [], [], []
    for rows, both in shared_items(log, weights):
        pairs = log.lengths[rows, None] * log.lengths[None, :]
        z = (both - pairs * mean) / np.sqrt(pairs * variance + (0.5 * weights.max()) ** 2)
        z[:, log.lengths < 2] = 0.0
        z[log.lengths[rows] < 2] = 0.0
        z[np.arange(len(rows)), rows] = 0.0
        keep = min(links, log.n_users)
        border = np.partition(z, -keep, axis=1)[:, -keep]
        row, column = np.nonzero(z >= np.maximum(border, least)[:, None] - 1e-9)
        rows_of.append(rows[row])
        columns_of.append(column)
        found.append(np.log1p(z[row, column]))
    if not rows_of:
        return sparse.csr_matrix((log.n_users, log.n_users))
    at = (np.concatenate(rows_of), np.concatenate(columns_of))
    graph = sparse.csr_matrix((np.concatenate(found), at), (log.n_users, log.n_users))
    return graph.maximum(graph.T).tocsr()


def _densest(graph: Any) -> Numbers:
    """(U,) largest mean degree of the blocks of the peeling that a user is in."""
    inside = np.ones(graph.shape[0], dtype=bool)
    best = np.zeros(graph.shape[0])
    while inside.any():
        degrees = (graph @ inside) * inside
        density = float(degrees.sum()) / int(inside.sum())
        best[inside] = np.maximum(best[inside], density)
        # sums are rounded: a user a hair above the mean goes, too
        inside &= degrees > density * (1 + 1e-9) + 1e-12
    return best
