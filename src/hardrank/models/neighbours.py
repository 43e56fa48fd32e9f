"""Sparse matrices of histories and of item-item cosines."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hardrank.data import Dataset, Queries
from hardrank.models.common import decayed, entry

__all__ = ["cosine_arrays", "history_matrix", "item_cosines", "restored_cosines", "unit_rows"]


def history_matrix(queries: Queries, n_items: int, decay: float) -> sparse.csr_matrix:
    """(Q, I) weight of each item in each history: decay^age, summed over repetitions."""
    made = sparse.csr_matrix(
        (decayed(queries, decay), queries.items, queries.offsets),
        shape=(len(queries), n_items),
    )
    made.sum_duplicates()
    return made


def unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """The matrix with rows of L2 norm 1; empty rows stay empty."""
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return sparse.csr_matrix(sparse.diags_array(scale) @ matrix)


def item_cosines(train: Dataset) -> sparse.csr_matrix:
    """(I, I) cosine of the items' binary user vectors; an item is no evidence for itself."""
    users, items = train.events["user"].to_numpy(), train.event_items
    pairs = np.unique(np.stack([items, users.astype(np.int64)]), axis=1)
    touched = sparse.csr_matrix(
        (np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(train.n_items, train.n_users)
    )
    unit = unit_rows(touched)
    cosines = (unit @ unit.T).tocoo()
    off = cosines.row != cosines.col
    made = sparse.csr_matrix(
        (cosines.data[off], (cosines.row[off], cosines.col[off])), shape=cosines.shape
    )
    made.sort_indices()
    return made


def cosine_arrays(cosines: sparse.csr_matrix) -> dict[str, NDArray[Any]]:
    """The matrix in CSR form: `cosines`, `neighbours` and `starts`."""
    return {
        "cosines": cosines.data,
        "neighbours": cosines.indices.astype(np.int32),
        "starts": cosines.indptr.astype(np.int64),
    }


def restored_cosines(
    arrays: Mapping[str, NDArray[Any]], n_items: int, kind: str
) -> sparse.csr_matrix:
    """The inverse of `cosine_arrays`. Raises `BundleError` when one is missing."""
    data, near, starts = (entry(arrays, n, kind) for n in ("cosines", "neighbours", "starts"))
    return sparse.csr_matrix((data, near, starts), shape=(n_items, n_items))
