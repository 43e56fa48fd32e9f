"""The best items for query vectors, over a catalogue that changes while it is asked."""

from typing import Protocol, runtime_checkable

import numpy as np

from hardrank.serve.ivf import IvfIndex
from hardrank.serve.locks import ReadWriteLock
from hardrank.serve.rows import Bools, Excluded, VectorTable, checked
from hardrank.types import Floats, Ints, Ranks, Scores

__all__ = ["ExactIndex", "Index", "IvfIndex", "build_index"]


@runtime_checkable
class Index(Protocol):
    """Item rows by inner product. Safe to use from many threads: a reader sees each write
    whole or not at all. Raises `DataError` for vectors of another width or not finite."""

    def search(
        self,
        queries: Floats,
        k: int,
        *,
        exclude: Excluded | None = None,
        allowed: Bools | None = None,
    ) -> tuple[Ranks, Scores]:
        """queries: (Q, D) -> ((Q, K) rows, (Q, K) scores), best first; where there are fewer
        items, -1 and -inf stand last. exclude: Q lists of rows that a query must not get;
        allowed: (I,) mask of rows that any may get (rows beyond it may not)."""
        ...

    def put(self, row: int, vector: Floats) -> None:
        """Add row `row`, or rewrite it. vector: (D,). The next search may find it."""
        ...

    def put_many(self, rows: Ints, vectors: Floats) -> None:
        """(N,) distinct rows and their (N, D) vectors, at once."""
        ...

    def remove(self, row: int) -> bool:
        """The row never comes back unless it is put again. False where there is none."""
        ...

    def take(self, rows: Ints) -> Floats:
        """(N,) -> (N, D) their vectors; zeros for rows that are not there."""
        ...

    def __len__(self) -> int: ...

    def recall(self, queries: Floats, k: int) -> float:
        """Share of the true best k that `search` finds, measured now, in [0, 1]."""
        ...


class ExactIndex:
    """Looks at all: right to rounding, and quick enough up to about 10^5 items."""

    def __init__(self, size: int) -> None:
        """size: D."""
        self._table, self._lock = VectorTable(size), ReadWriteLock()

    def search(
        self,
        queries: Floats,
        k: int,
        *,
        exclude: Excluded | None = None,
        allowed: Bools | None = None,
    ) -> tuple[Ranks, Scores]:
        queries = checked(queries, self._table.size, "queries")
        with self._lock.read():
            return self._table.top(queries, k, exclude, self._table.eligible(allowed))

    def put(self, row: int, vector: Floats) -> None:
        self.put_many(np.array([row]), np.asarray(vector)[None])

    def put_many(self, rows: Ints, vectors: Floats) -> None:
        vectors = checked(vectors, self._table.size, "vectors")
        with self._lock.write():
            self._table.put(rows, vectors)

    def remove(self, row: int) -> bool:
        with self._lock.write():
            return self._table.remove(row)

    def take(self, rows: Ints) -> Floats:
        with self._lock.read():
            return self._table.take(rows)

    def __len__(self) -> int:
        return self._table.count

    def recall(self, queries: Floats, k: int) -> float:
        """1.0: there is nothing to miss."""
        return 1.0


def build_index(
    vectors: Floats,
    *,
    exact_up_to: int = 100_000,
    sample: Floats | None = None,
    recall: float = 0.98,
    k: int = 50,
    seed: int = 0,
) -> Index:
    """An index of rows 0 .. I - 1; vectors: (I, D). `ExactIndex` up to `exact_up_to` items,
    `IvfIndex` beyond, which must find `recall` of the true best `k` of the `sample`. (Excluded
    rows count: a list of 10 without 40 seen items asks the cells for 50.)

    sample: (N, D) queries such as will come; None takes items for queries, which is right
    only where queries look like items. Raises `DataError` for vectors that are not finite and
    `MissingExtra` where faiss is needed and not installed.
    """
    if len(vectors) > exact_up_to:
        return IvfIndex(vectors, sample=sample, recall=recall, k=k, seed=seed)
    index = ExactIndex(vectors.shape[1])
    index.put_many(np.arange(len(vectors)), vectors)
    return index
