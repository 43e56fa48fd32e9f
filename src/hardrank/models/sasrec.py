"""SASRec: next item from item ids."""

from typing import Literal

from hardrank.models.sequence.fit import Shape
from hardrank.models.sequence.spec import SequenceSpec
from hardrank.training import Training
from hardrank.types import Count, Dropout, Natural, spec

__all__ = ["Sasrec"]


@spec
class Sasrec(SequenceSpec):
    """Causal self-attention over item ids, trained with cross-entropy over the catalogue.

    Kang & McAuley, ICDM 2018, arXiv:1808.09781. Ours: cross-entropy over all items instead
    of one sampled negative, worth a factor two in NDCG (Klenitskiy & Vasilev, RecSys 2023,
    arXiv:2309.07602), and pre-norm blocks. Each history is one row, shifted by one: all its
    prefixes are trained in one pass.
    """

    kind: Literal["sasrec"] = "sasrec"
    size: Count = 64
    """Of the item vectors and of the transformer; a multiple of `heads`."""
    layers: Count = 1
    """Of the transformer over the history."""
    heads: Count = 2
    """Of its attention."""
    length: Count = 50
    """Newest events that are read."""
    dropout: Dropout = 0.3
    """In the transformer."""
    negatives: Natural | None = None
    """Uniform negatives per step; 0 ranks the whole catalogue; None decides by its size."""
    training: Training = Training()
    """Epochs, batches, learning rate, and which epoch is kept."""

    def shape(self) -> Shape:
        return Shape(
            size=self.size,
            layers=self.layers,
            heads=self.heads,
            length=self.length,
            dropout=self.dropout,
            ids=True,
            text=None,
            negatives=self.negatives,
        )
