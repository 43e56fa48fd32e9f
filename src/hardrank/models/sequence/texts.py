"""Texts of a catalogue as whitened vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hardrank.encoders import TextEncoder
from hardrank.types import Floats

__all__ = ["TextSource", "Whitening"]


@dataclass(frozen=True, eq=False)
class Whitening:
    """x -> (x - mean) @ projection: the leading directions, each with variance one."""

    mean: Floats
    """(E,)"""
    projection: Floats
    """(E, X)"""

    @classmethod
    def fit(cls, vectors: Floats, size: int) -> "Whitening":
        """From (N, E) vectors of the training catalogue; X = min(size, E, N - 1, rank)."""
        mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - mean
        values, directions = np.linalg.eigh(centred.T @ centred / max(len(vectors), 1))
        values, directions = values[::-1], directions[:, ::-1]
        kept = min(size, len(vectors) - 1, int((values > values[0] * 1e-6).sum()))
        # Each column's sign is fixed, so that one dataset gives one model on any machine.
        signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(len(values))])
        projection = (directions * signs)[:, :kept] / np.sqrt(values[:kept])
        return cls(mean.astype(np.float32), projection.astype(np.float32))

    def __call__(self, vectors: Tensor) -> Tensor:
        """(..., E) -> (..., X), differentiable."""
        return (vectors - torch.from_numpy(self.mean)) @ torch.from_numpy(self.projection)


@dataclass(frozen=True, eq=False)
class TextSource:
    """An encoder, what it reads of an item, and the whitening fitted on the training items."""

    encoder: TextEncoder
    fields: tuple[str, ...]
    whitening: Whitening
    learned: tuple[str, ...] = ()
    """Names of the encoder's weights that training changed."""

    def __call__(self, texts: Sequence[str], *, keep: bool = True) -> Tensor:
        """(N, X). keep: False for an attack's passing candidates."""
        return self.whitening(torch.from_numpy(self.encoder.encode(texts, keep=keep)))
