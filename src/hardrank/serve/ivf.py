"""Approximate inner-product search with measured recall, for catalogues beyond 10^5 items."""

import importlib
import threading
from typing import Any

import numpy as np

from hardrank.errors import DataError, MissingExtra
from hardrank.serve.locks import ReadWriteLock
from hardrank.serve.rows import Bools, Excluded, VectorTable, checked
from hardrank.types import Floats, Ints, Ranks, Scores

__all__ = ["IvfIndex"]

_SAMPLE = 512
"""Queries that recall is measured on."""
_MARGIN = 0.005
"""Recall above the wanted one on the sample, for queries that are not in it."""
_SCAN = 20_000
"""So few allowed rows are looked at one by one: quicker than cells, and exact."""
_PER_CELL = 64
"""Training vectors per cell, at most."""


class IvfIndex:
    """An inverted file (Sivic and Zisserman, ICCV 2003): vectors in cells by nearest centroid,
    a query looks into the cells whose centroids it likes best. faiss does the arithmetic.

    How many cells that must be follows from measurement: the fewest that find `recall` of the
    true best `k` of a sample. Rows are added, rewritten and removed one by one; after as many
    writes as it was trained on vectors, the cells are laid out anew, aside, while the old ones
    answer. All vectors also stand in a plain table, against which recall is measured and from
    which searches that the cells cannot answer in full are answered exactly.
    """

    def __init__(
        self,
        vectors: Floats,
        *,
        sample: Floats | None = None,
        recall: float = 0.98,
        k: int = 50,
        cells: int | None = None,
        seed: int = 0,
        background: bool = True,
    ) -> None:
        """vectors: (I, D), rows 0 .. I - 1, one at least. sample: (N, D) queries such as will
        come, in units of vectors and with nobody's name; None takes items for queries. cells:
        None for 2 sqrt(I). background: lay out anew in a thread of its own."""
        if not len(vectors):
            raise DataError("no vectors to lay out cells by", remedy="use ExactIndex")
        self._faiss = _faiss()
        self._lock, self._training = ReadWriteLock(), threading.Lock()
        self._table = VectorTable(vectors.shape[1])
        self._table.put(np.arange(len(vectors)), checked(vectors, self._table.size, "vectors"))
        self._sample = None if sample is None else checked(sample, self._table.size, "sample")
        self._wanted, self._k, self._cells, self._seed = recall, k, cells, seed
        self._background = background
        self._changed: set[int] | None = None
        """Rows written while cells are laid out anew."""
        self._writes, self._trained_on = 0, 0
        self._made: Any = None
        self.probes = 1
        """Cells that a query looks into."""
        self.retrain()

    def search(
        self,
        queries: Floats,
        k: int,
        *,
        exclude: Excluded | None = None,
        allowed: Bools | None = None,
    ) -> tuple[Ranks, Scores]:
        queries = checked(queries, self._table.size, "queries")
        self._alone()
        with self._lock.read():
            eligible = self._table.eligible(allowed)
            n = self._table.count if allowed is None else int(eligible.sum())
            if n <= (0 if allowed is None else _SCAN):
                return self._table.top(queries, k, exclude, eligible)
            probes = min(self._made.nlist, -(-self.probes * self._table.count // n))
            more = max((len(rows) for rows in exclude or ()), default=0)
            masked = None if allowed is None else eligible
            found = _asked(self._faiss, self._made, queries, min(k + more, n), probes, masked)
            rows, scores = _kept(*found, k, exclude)
            self._complete(queries, rows, scores, exclude, eligible)
            return rows, scores

    def put(self, row: int, vector: Floats) -> None:
        self.put_many(np.array([row]), np.asarray(vector)[None])

    def put_many(self, rows: Ints, vectors: Floats) -> None:
        vectors = checked(vectors, self._table.size, "vectors")
        self._alone()
        with self._lock.write():
            there = rows[(rows >= 0) & (rows < self._table.end)]
            there = there[self._table.live[there]]
            self._table.put(rows, vectors)
            self._made.remove_ids(np.ascontiguousarray(there, dtype=np.int64))
            self._made.add_with_ids(vectors, np.ascontiguousarray(rows, dtype=np.int64))
            self._note(rows)
        self._retrain_if_due()

    def remove(self, row: int) -> bool:
        with self._lock.write():
            if not self._table.remove(row):
                return False
            self._made.remove_ids(np.array([row], dtype=np.int64))
            self._note(np.array([row]))
            return True

    def take(self, rows: Ints) -> Floats:
        with self._lock.read():
            return self._table.take(rows)

    def __len__(self) -> int:
        return self._table.count

    def recall(self, queries: Floats, k: int) -> float:
        queries = checked(queries, self._table.size, "queries")
        self._alone()
        with self._lock.read():
            true, _ = self._table.top(queries, k, None, self._table.eligible(None))
            _, found = self._made.search(queries, k, params=self._probing(self.probes))
        return _overlap(true, found)

    def retrain(self) -> None:
        """Lay the cells out anew for what is there now. Searches and writes go on meanwhile;
        what was written takes effect in both."""
        self._alone()
        with self._training:
            with self._lock.write():
                self._changed = set()  # before the copy: what is in neither is lost
            try:
                with self._lock.read():
                    rows = self._table.rows()
                    vectors = self._table.vectors[rows]
                if len(rows):
                    self._lay_out(rows, vectors)
            finally:
                with self._lock.write():
                    self._changed = None

    def _lay_out(self, rows: Ints, vectors: Floats) -> None:
        made = self._made_of(rows, vectors)
        probes = self._probes_for(made, rows, vectors)
        with self._lock.write():
            self._catch_up(made)
            self._made, self.probes = made, probes
            self._trained_on, self._writes = len(rows), 0

    def _alone(self) -> None:
        """One thread of arithmetic per thread of ours. A team for each call waits by spinning,
        and on busy cores a search then takes seconds."""
        self._faiss.omp_set_num_threads(1)

    def _note(self, rows: Ints) -> None:
        self._writes += len(rows)
        if self._changed is not None:
            self._changed.update(rows.tolist())

    def _retrain_if_due(self) -> None:
        if self._writes < self._trained_on or self._training.locked():
            return
        if self._background:
            threading.Thread(target=self.retrain, name="index-retrain", daemon=True).start()
        else:
            self.retrain()

    def _made_of(self, rows: Ints, vectors: Floats) -> Any:
        faiss, n, size = self._faiss, len(rows), self._table.size
        cells = min(self._cells or max(1, min(int(2 * n**0.5), n // 40)), n)
        made = faiss.IndexIVFFlat(faiss.IndexFlatIP(size), size, cells, faiss.METRIC_INNER_PRODUCT)
        made.cp.seed, made.cp.min_points_per_centroid = self._seed + 1, 1
        made.cp.max_points_per_centroid = _PER_CELL
        made.train(vectors)
        made.add_with_ids(vectors, rows)
        # By hash, so that removing a row does not walk through all of them.
        made.set_direct_map_type(faiss.DirectMap.Hashtable)
        return made

    def _catch_up(self, made: Any) -> None:
        changed = np.array(sorted(self._changed or ()), dtype=np.int64)
        made.remove_ids(changed)
        live = changed[self._table.live[changed]]
        made.add_with_ids(self._table.vectors[live], live)

    def _probes_for(self, made: Any, rows: Ints, vectors: Floats) -> int:
        """The fewest cells with the wanted recall on the sample, by doubling and bisection."""
        if self._wanted >= 1:
            return int(made.nlist)
        queries = self._sample if self._sample is not None else vectors
        rng = np.random.default_rng(self._seed)
        queries = queries[rng.permutation(len(queries))[:_SAMPLE]]
        true = _true_best(vectors, queries, self._k, rows)
        high, wanted = 1, min(1.0, self._wanted + _MARGIN)

        def enough(probes: int) -> bool:
            found = made.search(queries, self._k, params=self._probing(probes))[1]
            return _overlap(true, found) >= wanted

        while high < made.nlist and not enough(high):
            high *= 2
        low, high = high // 2, min(high, made.nlist)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return int(high)

    def _probing(self, probes: int) -> Any:
        return self._faiss.SearchParametersIVF(nprobe=probes)

    def _complete(
        self,
        queries: Floats,
        rows: Ranks,
        scores: Scores,
        exclude: Excluded | None,
        eligible: Bools,
    ) -> None:
        """In place: a query whose cells held too few is answered from the table."""
        for q in np.flatnonzero((rows < 0).any(axis=1)).tolist():
            barred = None if exclude is None else [exclude[q]]
            found = self._table.top(queries[q : q + 1], rows.shape[1], barred, eligible)
            rows[q], scores[q] = found[0][0], found[1][0]


def _asked(
    faiss: Any, made: Any, queries: Floats, k: int, probes: int, eligible: Bools | None
) -> tuple[Ranks, Scores]:
    if eligible is None:
        scores, rows = made.search(queries, k, params=faiss.SearchParametersIVF(nprobe=probes))
        return rows, scores
    bits = np.packbits(eligible, bitorder="little")  # held until the search is over
    chosen = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    params = faiss.SearchParametersIVF(nprobe=probes, sel=chosen)
    scores, rows = made.search(queries, k, params=params)
    return rows, scores


def _kept(found: Ranks, values: Scores, k: int, exclude: Excluded | None) -> tuple[Ranks, Scores]:
    """((Q, K), (Q, K)) without the excluded, best first, ties by row."""
    rows = np.full((len(found), k), -1, dtype=np.int64)
    scores = np.full((len(found), k), -np.inf, dtype=np.float32)
    for q in range(len(found)):
        keep = found[q] >= 0
        if exclude is not None and len(exclude[q]):
            keep &= ~np.isin(found[q], exclude[q])
        own, worth = found[q][keep], values[q][keep]
        order = np.lexsort((own, -worth))[:k]
        rows[q, : len(order)], scores[q, : len(order)] = own[order], worth[order]
    return rows, scores


def _true_best(vectors: Floats, queries: Floats, k: int, rows: Ints) -> Ranks:
    table = VectorTable(vectors.shape[1])
    table.vectors, table.live, table.end = vectors, np.ones(len(rows), np.bool_), len(rows)
    found, _ = table.top(queries, k, None, table.live)
    return np.where(found >= 0, rows[found], -1)


def _overlap(true: Ranks, found: Ranks) -> float:
    """Share of the true rows that were found."""
    hits = sum(int(np.isin(a[a >= 0], b).sum()) for a, b in zip(true, found, strict=True))
    return hits / max(1, int((true >= 0).sum()))


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise MissingExtra("faiss", "serve") from None
