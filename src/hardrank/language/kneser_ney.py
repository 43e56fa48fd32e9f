"""Interpolated Kneser-Ney over sequences of whole numbers: words, or the letters of words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardrank.types import Ints

__all__ = ["KneserNey", "fit_kneser_ney"]

_UNDEFINED = 0.75
"""The discount where Ney's estimate is 0 / 0 or takes everything: small samples."""
_TABLES = ("keys", "counts", "contexts", "totals", "kinds")
"""Arrays of an `_Order`."""


@dataclass(frozen=True, eq=False)
class _Order:
    """Counts of n-grams, keyed by `_keys`. Raw for the highest order; below it, in how many
    distinct contexts the n-gram goes on (continuation counts)."""

    keys: Ints
    """(G,) sorted."""
    counts: Ints
    """(G,)"""
    contexts: Ints
    """(H,) sorted keys of the first n-1 symbols."""
    totals: Ints
    """(H,) sum of the counts after each context."""
    kinds: Ints
    """(H,) distinct symbols after each context."""
    discount: float


@dataclass(frozen=True, eq=False)
class KneserNey:
    """p(w | h) = max(c(hw) - d, 0) / c(h) + d N1+(h .) / c(h) * p(w | h'), h' = h less its
    first symbol; below the highest order c(hw) is N1+(. hw), and below the lowest p is 1 / S.

    Kneser and Ney, ICASSP 1995, interpolated as in Chen and Goodman, 1999, section 2.7; one
    discount an order, d = n1 / (n1 + 2 n2) (Ney, Essen and Kneser, 1994).
    Symbols are 0..S-1 as next symbols, and S stands before the first one of a sequence.
    """

    size: int
    """S, next symbols that exist."""
    orders: tuple[_Order, ...]
    """Of 1, 2, ..., n symbols."""

    def log_probs(self, grams: Ints) -> NDArray[np.float64]:
        """(N,) natural-log probability of the last symbol of each row after the others.

        grams: (N, n), as `windows` gives them.
        """
        p = np.full(len(grams), 1.0 / self.size)
        for n, order in enumerate(self.orders, 1):
            keys = _keys(grams[:, grams.shape[1] - n :], self.size + 1)
            count = _look_up(order.keys, order.counts, keys)
            context = keys // (self.size + 1)
            total = _look_up(order.contexts, order.totals, context)
            kinds = _look_up(order.contexts, order.kinds, context)
            seen = total > 0
            held = np.maximum(count[seen] - order.discount, 0.0)
            p[seen] = (held + order.discount * kinds[seen] * p[seen]) / total[seen]
        return np.asarray(np.log(p))

    def windows(self, sequences: Sequence[Sequence[int]]) -> Ints:
        """(sum of lengths, n) each symbol after the n-1 before it."""
        return _windows(sequences, len(self.orders), self.size)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, by name."""
        out: dict[str, NDArray[Any]] = {
            "size": np.asarray([self.size, len(self.orders)]),
            "discounts": np.asarray([order.discount for order in self.orders]),
        }
        for n, order in enumerate(self.orders):
            out |= {f"{n}.{name}": getattr(order, name) for name in _TABLES}
        return out

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> "KneserNey":
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        size, count = arrays["size"].tolist()
        discounts = arrays["discounts"].tolist()
        tables = [{name: arrays[f"{n}.{name}"] for name in _TABLES} for n in range(count)]
        made = (_Order(**table, discount=d) for table, d in zip(tables, discounts, strict=True))
        return cls(size, tuple(made))


def fit_kneser_ney(sequences: Sequence[Sequence[int]], *, size: int, order: int) -> KneserNey:
    """Counts of the n-grams of `sequences` of numbers in 0..size-1; each should end with a
    number kept for the end. Needs (size + 1) ** order to fit 63 bits."""
    assert (size + 1) ** order < 2**63
    grams = np.unique(_windows(sequences, order, size), axis=0, return_counts=True)
    orders = []
    rows, counts = grams
    for _ in range(order):
        orders.append(_order(rows, counts, size + 1))
        rows, counts = np.unique(rows[:, 1:], axis=0, return_counts=True)
    return KneserNey(size, tuple(reversed(orders)))


def _order(rows: Ints, counts: Ints, base: int) -> _Order:
    keys = _keys(rows, base)
    by_key = np.argsort(keys)
    keys, counts = keys[by_key], counts[by_key].astype(np.int64)
    contexts, starts = np.unique(keys // base, return_index=True)
    kinds = np.diff(np.append(starts, len(keys)))
    totals = np.add.reduceat(counts, starts) if len(keys) else counts
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once and twice else _UNDEFINED
    return _Order(keys, counts, contexts, totals, kinds, discount)


def _windows(sequences: Sequence[Sequence[int]], order: int, start: int) -> Ints:
    lengths = np.array([len(s) for s in sequences], dtype=np.int64)
    pad = [start] * (order - 1)
    flat = np.array([x for s in sequences for x in (*pad, *s)], dtype=np.int64)
    if not lengths.sum():
        return np.zeros((0, order), dtype=np.int64)
    # Windows that end in padding are of nobody; the others are each symbol's own.
    view = np.lib.stride_tricks.sliding_window_view(np.append(flat, pad), order)
    ends = np.flatnonzero(flat != start) - (order - 1)
    return np.ascontiguousarray(view[ends])


def _keys(rows: Ints, base: int) -> Ints:
    """(N,) one number for each row of digits."""
    out = np.zeros(len(rows), dtype=np.int64)
    for column in rows.T:
        out = out * base + column
    return out


def _look_up(keys: Ints, values: Ints, wanted: Ints) -> Ints:
    """(N,) the value of each wanted key, 0 where there is none."""
    if not len(keys):
        return np.zeros(len(wanted), dtype=np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
