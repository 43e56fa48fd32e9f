"""What both networks read of a log: each user's set of items, and a vector for each item."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from hardrank.data import Dataset, Queries
from hardrank.errors import DataError
from hardrank.types import Floats, Ints

__all__ = ["Bags", "item_vectors", "popularity", "reduced", "trainable"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Bags:
    """Sets of items in CSR form: those of row b are `items[offsets[b]:offsets[b + 1]]`, each
    once, in the order of their first event."""

    offsets: Ints
    items: Ints
    n_items: int

    @classmethod
    def of(cls, queries: Queries, n_items: int) -> "Bags":
        """Raises `DataError` for an item that the catalogue of `n_items` does not have."""
        if len(queries.items) and not 0 <= queries.items.min() <= queries.items.max() < n_items:
            raise DataError(f"a history names an item beyond the {n_items} of the catalogue")
        keys = queries.owners * n_items + queries.items
        _, first = np.unique(keys, return_index=True)
        first.sort()
        counts = np.bincount(queries.owners[first], minlength=len(queries))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(offsets=offsets, items=queries.items[first], n_items=n_items)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> Ints:
        return np.diff(self.offsets)

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """(B, I) of zeros and ones."""
        ones = np.ones(len(self.items), dtype=np.float64)
        return sparse.csr_matrix((ones, self.items, self.offsets), (len(self), self.n_items))

    def row(self, b: int) -> Ints:
        return self.items[self.offsets[b] : self.offsets[b + 1]]


def trainable(train: Dataset) -> Bags:
    """The sets of who has two different items or more; `DataError` for fewer than two."""
    bags = Bags.of(train.histories(), train.n_items)
    users = np.flatnonzero(bags.lengths >= 2)
    if len(users) < 2:
        raise DataError(
            f"{train.name}: {len(users)} users have two different items or more",
            remedy="a generator of interests needs at least two of them",
        )
    return Bags.of(train.histories().take(users), train.n_items)


def popularity(counts: Ints) -> Floats:
    """(I,) log of each item's count plus one, with mean 0 and deviation 1 (0 if all agree)."""
    logs = np.log1p(counts.astype(np.float64))
    made: Floats = ((logs - logs.mean()) / max(float(logs.std()), 1e-9)).astype(np.float32)
    return made


def item_vectors(train: Dataset, size: int, vectors: Floats | None = None) -> Floats:
    """(I, size) of the log, beside (I, size) of the texts where `vectors` are given.

    Truncated SVD of the log, each event weighed by 1 / sqrt(user's events * item's events)
    (the normalised adjacency of a bipartite graph), so that neither busy users nor bestsellers
    take all directions. Deterministic; mean norm 1. Directions that the log does not have are 0.

    Raises `DataError` where `vectors` has another number of rows.
    """
    bags = Bags.of(train.histories(), train.n_items)
    users = np.maximum(bags.lengths, 1)
    items = np.maximum(np.bincount(bags.items, minlength=train.n_items), 1)
    scaled = sparse.diags(users**-0.5) @ bags.matrix @ sparse.diags(items**-0.5)
    parts = [reduced(scaled, size)]
    if vectors is not None:
        if vectors.shape[0] != train.n_items:
            raise DataError(
                f"{vectors.shape[0]} text vectors for {train.n_items} items",
                remedy="give one row for each item of the catalogue",
            )
        centred = np.asarray(vectors, np.float64) - vectors.mean(0, dtype=np.float64)
        parts.append(reduced(sparse.csr_matrix(centred.T), size))
    return np.hstack(parts).astype(np.float32)


def reduced(matrix: sparse.spmatrix, size: int) -> Floats:
    """(columns, size): right singular vectors of a matrix times the root of their values,
    scaled to mean norm 1."""
    rank = min(size, min(matrix.shape) - 1)
    out = np.zeros((matrix.shape[1], size), dtype=np.float32)
    if rank < 1 or not matrix.nnz:
        return out
    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    _, values, right = svds(matrix.tocsc(), k=rank, v0=start)
    order = np.argsort(-values, kind="stable")
    made = right[order].T * np.sqrt(np.maximum(values[order], 0.0))
    norms = np.linalg.norm(made, axis=1)
    out[:, :rank] = made / max(float(norms[norms > 0].mean()), 1e-9)
    return out
