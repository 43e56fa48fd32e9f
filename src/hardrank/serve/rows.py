"""Item vectors by row: a table that grows, forgets, and finds the best by looking at all."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hardrank.errors import DataError
from hardrank.recommender import best
from hardrank.types import Floats, Ints, Ranks, Scores

__all__ = ["Bools", "Excluded", "VectorTable", "checked"]

Bools = NDArray[np.bool_]
Excluded = Sequence[Sequence[int] | Ints]
"""Q lists of rows that a query must not get."""

_CELLS = 1 << 22
"""Scores held at once: 16 MiB."""
_FIRST = 64
_GROUPS = 128
"""Groups of rows whose maxima are looked at first, at least; four times K if that is more."""


def checked(vectors: Floats, size: int, what: str) -> Floats:
    """(N, D) float32, contiguous. Raises `DataError` for another width or a number that is
    not finite: one NaN in a table would rank at random."""
    out = np.ascontiguousarray(vectors, dtype=np.float32)
    if out.ndim != 2 or out.shape[1] != size:
        raise DataError(
            f"{what} of shape {out.shape}, where vectors have {size} numbers",
            remedy="vectors and queries must come from the model that the index was built for",
        )
    if not np.isfinite(out).all():
        raise DataError(
            f"{what} with a number that is not finite", remedy="check the model's weights"
        )
    return out


class VectorTable:
    """Rows in a growing array; a removed row is zeroed and marked. Not thread-safe: the index
    around it has the lock."""

    def __init__(self, size: int) -> None:
        self.size = size
        """D"""
        self.live: Bools = np.zeros(_FIRST, dtype=np.bool_)
        """(capacity,) rows that may be found."""
        self.vectors: Floats = np.zeros((_FIRST, size), dtype=np.float32)
        """(capacity, D)"""
        self.end = 0
        """One beyond the highest row ever put."""
        self.count = 0

    def put(self, rows: Ints, vectors: Floats) -> None:
        """rows: (N,) distinct; vectors: (N, D). Rewrites rows that are there. Rows are dense,
        as in a catalogue: memory grows with the highest."""
        if not len(rows):
            return
        if rows.min() < 0:
            raise DataError(f"row {rows.min()}", remedy="rows count from 0")
        if len(np.unique(rows)) < len(rows):
            raise DataError("a row is put twice at once", remedy="keep the last of each row")
        self._reach(int(rows.max()) + 1)
        self.count += int((~self.live[rows]).sum())
        self.vectors[rows], self.live[rows] = vectors, True

    def remove(self, row: int) -> bool:
        """False where there is no such row."""
        if not 0 <= row < self.end or not self.live[row]:
            return False
        self.vectors[row], self.live[row] = 0.0, False
        self.count -= 1
        return True

    def rows(self) -> Ints:
        """(N,) live rows, rising."""
        return np.flatnonzero(self.live[: self.end])

    def take(self, rows: Ints) -> Floats:
        """(N,) -> (N, D) copies; zeros for rows that are not there."""
        out = np.zeros((len(rows), self.size), dtype=np.float32)
        there = (rows >= 0) & (rows < self.end)
        out[there] = self.vectors[rows[there]]
        return out

    def eligible(self, allowed: Bools | None) -> Bools:
        """(end,) live and allowed; rows that a shorter mask does not reach are not allowed."""
        live = self.live[: self.end]
        if allowed is None:
            return live
        n = min(self.end, len(allowed))
        out = np.zeros(self.end, dtype=np.bool_)
        out[:n] = live[:n] & allowed[:n]
        return out

    def top(
        self, queries: Floats, k: int, excluded: Excluded | None, eligible: Bools
    ) -> tuple[Ranks, Scores]:
        """((Q, K), (Q, K)) best eligible rows by inner product, ties by row; -1 and -inf where
        there are no more."""
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        few = np.flatnonzero(eligible)
        gathered = len(few) < self.end / 2
        matrix = self.vectors[few] if gathered else self.vectors[: self.end]
        for part in _parts(len(queries), max(1, len(matrix))):
            found = _products(queries[part], matrix)
            if not gathered and len(few) < self.end:
                found[np.flatnonzero(~eligible)] = -np.inf
            _exclude(found, None if excluded is None else excluded[part], few if gathered else None)
            columns, values = _best(found, k)
            n = columns.shape[1]
            scores[part, :n] = values
            rows[part, :n] = few[columns] if gathered else columns
        rows[np.isneginf(scores)] = -1
        return rows, scores

    def _reach(self, end: int) -> None:
        if end > len(self.live):
            capacity = max(end, 2 * len(self.live))
            live = np.zeros(capacity, dtype=np.bool_)
            vectors = np.zeros((capacity, self.size), dtype=np.float32)
            live[: self.end], vectors[: self.end] = self.live[: self.end], self.vectors[: self.end]
            self.live, self.vectors = live, vectors
        self.end = max(self.end, end)


def _products(queries: Floats, rows: Floats) -> Scores:
    """(Q, D), (N, D) -> (N, Q): this way round the product needs no copy of the table, and
    takes half the time. All numbers are finite (`checked`), yet some BLAS kernels read beyond
    the end of narrow rows and raise the processor's flag for what they then discard."""
    with np.errstate(invalid="ignore"):
        return rows @ queries.T


def _best(scores: Scores, k: int) -> tuple[Ranks, Scores]:
    """(N, Q) -> ((Q, min(K, N)) rows of the highest scores, best first, ties by lower row, and
    those scores). As `hardrank.recommender.best`, which sorts out all N.

    Rows in G groups of some dozen: the k-th highest of the groups' maxima is reached by k rows
    at least, so what lies below it is in no list. One pass for the maxima and one to compare.
    """
    n, asked = scores.shape
    groups = max(_GROUPS, 4 * k)
    if n < 4 * groups:
        return _sorted_out(scores, k)
    whole = n // groups * groups
    maxima = scores[:whole].reshape(-1, groups, asked).max(axis=0)
    floor = np.partition(maxima, groups - k, axis=0)[groups - k]
    if np.isneginf(floor).any():  # fewer than k groups with a row that may be listed
        return _sorted_out(scores, k)
    hits = np.flatnonzero(scores >= floor)
    rows, owners = np.divmod(hits, asked)
    values = scores.reshape(-1)[hits]
    order = np.lexsort((rows, -values, owners))
    counts = np.bincount(owners, minlength=asked)
    places = order[(np.cumsum(counts) - counts)[:, None] + np.arange(k)]
    return rows[places], values[places]


def _sorted_out(scores: Scores, k: int) -> tuple[Ranks, Scores]:
    by_query = np.ascontiguousarray(scores.T)
    rows = best(by_query, k)
    return rows, np.take_along_axis(by_query, rows, axis=1)


def _parts(n_queries: int, n_rows: int) -> Iterator[slice]:
    step = max(1, _CELLS // n_rows)
    return (slice(s, min(s + step, n_queries)) for s in range(0, n_queries, step))


def _exclude(scores: Scores, excluded: Excluded | None, among: Ints | None) -> None:
    """-inf, in place, where a query excludes the row. scores: (N, Q); among: (N,) rows that
    they are of."""
    lists = [np.asarray(rows, dtype=np.int64) for rows in excluded or ()]
    if not lists:
        return
    wanted = np.concatenate(lists)
    owners = np.repeat(np.arange(len(lists)), [len(rows) for rows in lists])
    if among is None:
        places, inside = wanted, (wanted >= 0) & (wanted < len(scores))
    else:
        places = np.searchsorted(among, wanted)
        inside = places < len(among)
        inside[inside] = among[places[inside]] == wanted[inside]
    scores[places[inside], owners[inside]] = -np.inf
