"""Matrix factorisation of ratings, for an attacker who asks what the clean log would show."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hardrank.data import Dataset
from hardrank.errors import Unsupported
from hardrank.surrogates.factors import begun, outer
from hardrank.types import Ints

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RatingFactors", "rating_factors"]

Numbers = NDArray[np.float64]
_CHUNK = 2048


@dataclass(frozen=True, eq=False, kw_only=True)
class RatingFactors:
    """rating(u, i) = b_u + b_i + p_u . q_i above or below the mean of all ratings."""

    users: Numbers
    """(U, D + 1) factors, and last the bias."""
    items: Numbers
    """(I, D + 1) factors, and last the bias."""
    train: Dataset

    def listed(self, k: int, without: Ints) -> Ints:
        """(I,) in how many users' lists of `k` unseen items each item stands.

        without: (T,) item rows that are put in no list. Only users with events count; fewer
        than k items are listed to who has seen nearly all.
        """
        shown = np.zeros(len(self.items), dtype=np.int64)
        for rows, scores in self._scores():
            scores[:, without] = -np.inf
            scores[self._seen(rows)] = -np.inf
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            real = np.isfinite(np.take_along_axis(scores, best, axis=1))
            np.add.at(shown, best[real], 1)
        return shown

    def _scores(self) -> "Iterator[tuple[Ints, Numbers]]":
        """User rows (B,) with events, and what they would give each item, (B, I)."""
        known = np.flatnonzero(np.diff(self.train.offsets) > 0)
        for start in range(0, known.size, _CHUNK):
            rows = known[start : start + _CHUNK]
            mine = self.users[rows]
            yield rows, mine[:, :-1] @ self.items[:, :-1].T + mine[:, -1:] + self.items[:, -1]

    def _seen(self, rows: Ints) -> tuple[Ints, Ints]:
        """Where those users (by their place among `rows`) and the items of their events meet."""
        offsets = self.train.offsets
        counts = offsets[rows + 1] - offsets[rows]
        events = np.concatenate([np.arange(offsets[r], offsets[r + 1]) for r in rows.tolist()])
        return np.repeat(np.arange(rows.size), counts), self.train.event_items[events]


def rating_factors(
    train: Dataset, seed: int, *, size: int = 16, weight: float = 12.0, sweeps: int = 8
) -> RatingFactors:
    """Fitted by alternating least squares; each vector's squared L2 norm is penalised once.

    Koren, Bell and Volinsky, Computer 42(8), 2009, equations 4 and 5. size: factors without
    the biases. weight: of the penalty, in ratings. Raises `Unsupported` where an event has no
    rating.
    """
    from scipy.sparse import csr_array

    if not train.n_events or train.events["rating"].null_count():
        raise Unsupported(f"{train.name}: a surrogate of ratings needs the rating of every event")
    ratings = train.events["rating"].to_numpy().astype(np.float64)
    where = train.events["user"].to_numpy(), train.event_items
    shape = (train.n_users, train.n_items)
    touched = csr_array((np.ones(ratings.size), where), shape=shape)
    apart = csr_array((ratings - ratings.mean(), where), shape=shape)
    turned = touched.T.tocsr(), apart.T.tocsr()
    items = np.column_stack([begun(train.n_items, size, seed), np.zeros(train.n_items)])
    for _ in range(sweeps):
        users = _solved(touched, apart, items, weight)
        items = _solved(*turned, users, weight)
    return RatingFactors(users=_solved(touched, apart, items, weight), items=items, train=train)


def _solved(touched: Any, apart: Any, other: Numbers, weight: float) -> Numbers:
    """(N, D + 1) of a side from that of the other, (M, D + 1).

    touched, apart: (N, M) SciPy CSR of ones, and of ratings less their mean.
    """
    features = np.column_stack([other[:, :-1], np.ones(len(other))])
    size = features.shape[1]
    squares, shift = outer(features), other[:, -1:] * features
    right = apart @ features - touched @ shift
    out = np.empty(right.shape)
    for start in range(0, len(right), _CHUNK):
        part = slice(start, start + _CHUNK)
        left = (touched[part] @ squares).reshape(-1, size, size) + weight * np.eye(size)
        out[part] = np.linalg.solve(left, right[part, :, None])[..., 0]
    return out
