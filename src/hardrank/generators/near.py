"""Which sets of items are nearly the same: an index that finds them, and the exact count."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hardrank.types import Floats, Ints, Share

__all__ = ["Index", "duplicate_share"]

_HASHES = 144
_WIDTHS = (12, 8, 6, 4, 3, 2, 1)
"""Hashes of one band, of which there are 144 / width: two sets of Jaccard similarity s share a
band with probability 1 - (1 - s^width)^bands."""
_FOUND = 0.999
"""Of the pairs that are just similar enough, the share that has to share a band."""


@dataclass(eq=False)
class Index:
    """Finds the kept sets that a new one is nearly the same as: MinHash in bands.

    Broder 1997, "On the resemblance and containment of documents"; bands as in Indyk &
    Motwani, STOC 1998. Candidates are compared exactly, so none is called near that is not.
    """

    n_items: int
    similarity: Share
    """Jaccard |a and b| / |a or b| from which on two sets are nearly the same."""
    seed: int = 0
    sets: list[frozenset[int]] = field(default_factory=list)
    """Kept so far."""

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self._hashes = rng.integers(0, 2**63, size=(self.n_items, _HASHES), dtype=np.int64)
        self._bands = _HASHES // _width(self.similarity)
        self._buckets: list[dict[bytes, list[int]]] = [{} for _ in range(self._bands)]

    def signatures(self, profiles: Sequence[Ints]) -> NDArray[np.int64]:
        """(N, hashes): per hash the least value of the set's items."""
        return np.stack([self._hashes[p].min(axis=0) for p in profiles])

    def near(self, items: frozenset[int], signature: NDArray[np.int64]) -> int | None:
        """A kept set at least as similar as `similarity`; None where none was found."""
        seen: set[int] = set()
        for bucket, key in zip(self._buckets, self._keys(signature), strict=True):
            for number in bucket.get(key, ()):
                if number not in seen:
                    seen.add(number)
                    if _jaccard(items, self.sets[number]) >= self.similarity:
                        return number
        return None

    def add(self, items: frozenset[int], signature: NDArray[np.int64]) -> None:
        for bucket, key in zip(self._buckets, self._keys(signature), strict=True):
            bucket.setdefault(key, []).append(len(self.sets))
        self.sets.append(items)

    def _keys(self, signature: NDArray[np.int64]) -> list[bytes]:
        return [band.tobytes() for band in signature.reshape(self._bands, -1)]


def _width(similarity: Share) -> int:
    """The widest band that finds nearly all pairs of this similarity: the fewest candidates."""
    return next((w for w in _WIDTHS if 1 - (1 - similarity**w) ** (_HASHES // w) >= _FOUND), 1)


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    both = len(one & other)
    return both / (len(one) + len(other) - both)


def duplicate_share(
    profiles: Sequence[Ints], n_items: int, similarity: Share, rng: np.random.Generator, *,
    sample: int = 1000,
) -> tuple[float, int]:  # fmt: skip
    """Of `sample` of the profiles the share that has another, among all, at least as similar;
    and how many were looked at. Exact: no hashing."""
    from scipy import sparse

    if len(profiles) < 2:
        return 0.0, len(profiles)
    sizes = np.asarray([len(p) for p in profiles])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    shape = (len(profiles), n_items)
    flat = np.concatenate(list(profiles))
    held = sparse.csr_matrix((np.ones(len(flat), dtype=np.float32), flat, offsets), shape)
    chosen = rng.permutation(len(profiles))[:sample]
    found = 0
    for start in range(0, len(chosen), 100):
        rows = chosen[start : start + 100]
        both: Floats = np.asarray(held @ held[rows].toarray().T).T  # (100, N) items in common
        alike = both / (sizes[rows][:, None] + sizes[None] - both)
        alike[np.arange(len(rows)), rows] = 0.0
        found += int((alike >= similarity).any(axis=1).sum())
    return found / len(chosen), len(chosen)
