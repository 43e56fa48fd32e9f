"""Bring the scores of new items to the scale of the old ones, query by query."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Alignment"]


@dataclass(frozen=True, eq=False)
class Alignment:
    """A rising, piecewise linear map from text scores to full scores, one per query.

    A new item has no id, so its plain score is low whatever its text says, and no user ever
    sees it. The text head ranks new and old items on equal terms. The map sends the r-th
    best text score among the known items to the r-th best full score among them: a new item
    that the text head ranks r-th then stands about r-th in the list. (Quantile matching; the
    need for one scale is that of DropoutNet, Volkovs et al., NIPS 2017, and CLCRec, Wei et
    al., MM 2021, which change training instead.)
    """

    by_text: Tensor
    """(Q, G) text scores at the grid's ranks, rising."""
    full: Tensor
    """(Q, G) full scores at the same ranks, rising."""

    @classmethod
    def fit(cls, by_text: Tensor, full: Tensor) -> "Alignment":
        """From the (Q, I) scores of the known items under both heads."""
        columns = full.shape[1] - 1 - np.array(_grid(full.shape[1]))[::-1]
        # Sorting whole rows in numpy is five times as fast as torch's topk of the first 2048.
        both = (np.sort(scores.numpy(), axis=1)[:, columns] for scores in (by_text, full))
        return cls(*(torch.from_numpy(np.ascontiguousarray(part)) for part in both))

    def __call__(self, scores: Tensor) -> Tensor:
        """(Q, N) text scores -> (Q, N) on the full scale. Differentiable in `scores`."""
        last = self.by_text.shape[1] - 1
        right = torch.searchsorted(self.by_text, scores.detach().contiguous()).clamp(1, last)
        x0, x1 = self.by_text.gather(1, right - 1), self.by_text.gather(1, right)
        y0, y1 = self.full.gather(1, right - 1), self.full.gather(1, right)
        slope = (y1 - y0) / (x1 - x0).clamp_min(1e-6)
        # Outside the grid a segment's slope may be an accident of two neighbours.
        spread_x = (self.by_text[:, -1:] - self.by_text[:, :1]).clamp_min(1e-6)
        overall = (self.full[:, -1:] - self.full[:, :1]) / spread_x
        outside = (scores < self.by_text[:, :1]) | (scores > self.by_text[:, -1:])
        anchor_x = torch.where(scores > self.by_text[:, -1:], x1, x0)
        anchor_y = torch.where(scores > self.by_text[:, -1:], y1, y0)
        return anchor_y + torch.where(outside, overall, slope) * (scores - anchor_x)


def _grid(items: int) -> list[int]:
    """Ranks from 0, dense at the top, where lists are made: 0, 1, 2, 3, 4, 6, 8, 12, ..."""
    ranks, step = [0], 1
    while ranks[-1] + step < min(items, 2048):
        ranks.append(ranks[-1] + step)
        if len(ranks) % 2 and len(ranks) > 4:
            step *= 2
    return ranks
