"""Near-duplicate texts by MinHash with banding.

Broder, SEQUENCES 1997: the share of equal minima of random hash functions estimates the
Jaccard similarity of two sets. Banding (Leskovec et al., Mining of Massive Datasets,
section 3.4) only proposes candidate pairs here; each is decided by its exact similarity.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hardrank.files import digest_bytes
from hardrank.types import Ints

__all__ = ["jaccard", "near_duplicates", "shingles"]

_BANDS, _ROWS = 32, 4
"""A pair of similarity s is proposed with probability 1 - (1 - s**4)**32: 0.89 at 0.5,
above 0.9999 from 0.75."""
_LOOK_BACK = 50
"""Members of a bucket that a later one is compared with: bounds the work on boilerplate."""


def shingles(text: str, size: int) -> frozenset[str]:
    """Runs of `size` words, without case and punctuation; a shorter text is one shingle."""
    words = re.findall(r"\w+", text.casefold())
    if not words:
        return frozenset()
    runs = max(1, len(words) - size + 1)
    return frozenset(" ".join(words[n : n + size]) for n in range(runs))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """|A and B| / |A or B|, in [0, 1]; 0 for two empty sets."""
    union = len(one | other)
    return len(one & other) / union if union else 0.0


def near_duplicates(texts: Sequence[str], threshold: float, size: int = 1) -> Ints:
    """(I,): for each text the row of the earlier one it repeats, or its own row.

    A text repeats an earlier one that repeats nothing itself and has a Jaccard similarity
    of `threshold` or more (the most similar one; the earliest among equals). Empty texts
    repeat nothing.
    """
    sets = [shingles(text, size) for text in texts]
    kept = np.arange(len(texts), dtype=np.int64)
    for row, candidates in _candidates(sets):
        alike = [(-jaccard(sets[row], sets[c]), c) for c in candidates if kept[c] == c]
        if alike and -min(alike)[0] >= threshold:
            kept[row] = min(alike)[1]
    return kept


def _candidates(sets: Sequence[frozenset[str]]) -> Iterator[tuple[int, list[int]]]:
    """Rows in order, each with the earlier rows that share a band with it."""
    rows = [n for n, words in enumerate(sets) if words]
    if not rows:
        return
    minima = _signatures([sets[n] for n in rows])
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for row, signature in zip(rows, minima, strict=True):
        found: set[int] = set()
        for band, part in enumerate(np.split(signature, _BANDS)):
            bucket = buckets.setdefault((band, part.tobytes()), [])
            found.update(bucket[-_LOOK_BACK:])
            bucket.append(row)
        yield row, sorted(found)


def _signatures(sets: Sequence[frozenset[str]]) -> NDArray[np.uint64]:
    """(N, bands * rows) minima; sets are not empty. Equal on every machine."""
    names = sorted(frozenset().union(*sets))
    code = {name: n for n, name in enumerate(names)}
    words = np.array([int(digest_bytes(n.encode())[:16], 16) for n in names], dtype=np.uint64)
    flat = words[np.array([code[name] for words_of in sets for name in sorted(words_of)])]
    starts = np.concatenate([[0], np.cumsum([len(s) for s in sets])[:-1]])
    rng = np.random.default_rng(0)  # the hash family: fixed, part of the method
    n = _BANDS * _ROWS
    factors = rng.integers(0, 2**63, n, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = rng.integers(0, 2**63, n, dtype=np.uint64)
    out = np.empty((len(sets), n), dtype=np.uint64)
    for h in range(n):  # multiply-shift modulo 2**64; the high half mixes best
        out[:, h] = np.minimum.reduceat((flat * factors[h] + shifts[h]) >> np.uint64(32), starts)
    return out
