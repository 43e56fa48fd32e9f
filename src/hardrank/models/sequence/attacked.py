"""Attacked texts as vectors, beside the catalogue in training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from hardrank.data import Slate
from hardrank.models.common import slate_texts
from hardrank.models.sequence.influence import Influence
from hardrank.models.sequence.texts import TextSource
from hardrank.training.forge import AttackedText
from hardrank.types import Ints

__all__ = ["AttackedPool"]


@dataclass(frozen=True, eq=False, kw_only=True)
class AttackedPool:
    """P attacked texts."""

    texts: Tensor
    """(P, X) whitened text vectors."""
    encoded: Tensor
    """(P, E) before whitening."""
    owners: Tensor
    """(P,) row of the rewritten item among the training items, -1 for a new one."""
    popularity: Tensor
    """(P,) what training adds to the owner's scores."""

    def __len__(self) -> int:
        return len(self.owners)

    @classmethod
    def of(
        cls,
        written: Sequence[AttackedText],
        items: pl.DataFrame,
        counts: Ints,
        source: TextSource,
        influence: Influence | None,
    ) -> "AttackedPool":
        """items, counts: (I,) of the catalogue. Each distinct text is encoded once."""
        rows = np.array([text.item for text in written], dtype=np.int64)
        rendered = [
            slate_texts(
                items, Slate(items=rows[[n]], texts=(text.text,), field=text.field), source.fields
            )[0]
            for n, text in enumerate(written)
        ]
        encoded = torch.from_numpy(source.encoder.encode(rendered, keep=False))
        place = np.where(counts > 0, np.cumsum(counts > 0) - 1, -1)
        earned = influence.training(counts) if influence else None
        return cls(
            texts=source.whitening(encoded),
            encoded=encoded,
            owners=torch.from_numpy(place[rows]),
            popularity=torch.zeros(len(rows)) if earned is None else earned[rows],
        )
