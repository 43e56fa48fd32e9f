"""Next item from the texts of the history."""

from typing import Annotated, Literal

from annotated_types import Ge

from hardrank.models.sequence.fit import Shape, TextOptions
from hardrank.models.sequence.influence import Influence
from hardrank.models.sequence.spec import SequenceSpec
from hardrank.training import Training
from hardrank.types import Count, Dropout, Natural, Positive, spec

__all__ = ["TextSequence"]


@spec
class TextSequence(SequenceSpec):
    """A causal transformer over text vectors: an item is what its text says.

    Frozen sentence vectors, whitened and mapped to `size` dimensions, stand for the items in
    the history and as candidates, as in UniSRec (Hou et al., KDD 2022, arXiv:2206.05941);
    ours has one linear map instead of a mixture and full softmax cross-entropy. An item
    that nobody has touched ranks like any other.
    """

    kind: Literal["text-sequence"] = "text-sequence"
    encoder: str = "minilm"
    """`minilm` (installed with the package) or a folder with a Hugging Face encoder."""
    fields: tuple[str, ...] = ("title",)
    """Columns of the item table that are read, in this order."""
    max_tokens: Count = 64
    """Tokens of an item's text that are read."""
    whiten: Count = 128
    """Leading directions of the text vectors that are kept."""
    adapter: Literal[1, 2] = 2
    """Layers from text vector to item vector: two fit known items better, one new ones."""
    unfreeze: Annotated[int, Ge(-1)] = 0
    """Top layers of the encoder that learn, too; 0 for none, -1 for the whole encoder. What
    the layers below make of each text is computed once. Needs `negatives`."""
    encoder_pace: Positive = 0.02
    """Learning rate of the encoder's layers, as a share of `training.learning_rate`."""
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
    text_dropout: Dropout = 0.2
    """Of the whitened text vectors."""
    negatives: Natural | None = None
    """Uniform negatives per step; 0 ranks the whole catalogue; None decides by its size."""
    influence: Influence | None = None
    """How far a text alone may lift an item; None for as far as it goes."""
    training: Training = Training()
    """Epochs, batches, learning rate, and which epoch is kept."""

    def shape(self) -> Shape:
        return Shape(
            size=self.size,
            layers=self.layers,
            heads=self.heads,
            length=self.length,
            dropout=self.dropout,
            ids=False,
            text=TextOptions(
                encoder=self.encoder,
                fields=self.fields,
                max_tokens=self.max_tokens,
                whiten=self.whiten,
                dropout=self.text_dropout,
                layers=self.adapter,
                unfreeze=self.unfreeze,
                pace=self.encoder_pace,
                scale=0.25,
            ),
            negatives=self.negatives,
            influence=self.influence,
        )
