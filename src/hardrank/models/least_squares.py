"""Ridge regressions of many rows at once: the half-steps of alternating least squares."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hardrank.types import Ints

__all__ = ["Groups", "ridge_rows"]

Numbers = NDArray[np.float64]
_CELLS = 1 << 21
"""Numbers held at once in a block of rows: 16 MiB of float64."""


@dataclass(frozen=True, eq=False)
class Groups:
    """E entries (events) sorted by the row that they speak for."""

    offsets: Ints
    """(N + 1,): row n has the entries order[offsets[n]:offsets[n + 1]]."""
    order: Ints
    """(E,) entry numbers."""

    @classmethod
    def of(cls, rows: Ints, n_rows: int) -> Self:
        """rows: (E,) the row of each entry; their order within a row is kept."""
        counts = np.bincount(rows, minlength=n_rows)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(offsets, np.argsort(rows, kind="stable").astype(np.int64))

    def padded(self, rows: Ints, width: int) -> tuple[Ints, NDArray[np.bool_]]:
        """(B, width) entry numbers of those rows, and where they are real."""
        starts, lengths = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        columns = np.arange(width)
        real = columns < lengths[:, None]
        return self.order[np.where(real, starts[:, None] + columns, 0)], real


def ridge_rows(
    groups: Groups, columns: Ints, *, weights: Numbers, pulls: Numbers, vectors: Numbers,
    base: Numbers,
) -> Numbers:  # fmt: skip
    """(N, D) solution of each row's normal equations, 0 for rows without entries.

        x_n = (base + sum_e weights_e v_e v_e')^-1 sum_e pulls_e v_e, v_e = vectors[columns_e]

    columns, weights, pulls: (E,); vectors: (I, D); base: (D, D), symmetric, positive definite.
    Rows are padded to a power of two, a width that depends on nothing but their own length:
    what a row gives does not depend on what else is asked.
    """
    size = vectors.shape[1]
    out = np.zeros((len(groups.offsets) - 1, size))
    lengths = np.diff(groups.offsets)
    widths = 1 << np.ceil(np.log2(np.maximum(lengths, 4))).astype(np.int64)
    for width in np.unique(widths[lengths > 0]).tolist():
        of_width = np.flatnonzero((widths == width) & (lengths > 0))
        step = max(1, _CELLS // (max(width, size) * size))
        for start in range(0, len(of_width), step):
            rows = of_width[start : start + step]
            entries, real = groups.padded(rows, width)
            near = vectors[columns[entries]]
            across = near.transpose(0, 2, 1)
            weighed = near * np.where(real, weights[entries], 0.0)[:, :, None]
            left = base + across @ weighed
            right = across @ np.where(real, pulls[entries], 0.0)[:, :, None]
            out[rows] = np.linalg.solve(left, right)[:, :, 0]
    return out
