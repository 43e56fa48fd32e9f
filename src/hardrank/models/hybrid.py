"""Next item from ids and texts, with a second head for items that have no id yet."""

from typing import Annotated, Literal

from annotated_types import Ge

from hardrank.models.sequence.fit import Shape, TextOptions
from hardrank.models.sequence.spec import SequenceSpec
from hardrank.training import Training
from hardrank.types import Count, Dropout, Natural, Positive, Share, spec

__all__ = ["Hybrid"]


@spec
class Hybrid(SequenceSpec):
    """Ids for what is known, text for what is new, in one model.

    vector(i) = id(i) + text_scale * W x_i. Two softmax losses share the transformer: one over
    the sums, one (`text_weight`) over the text parts alone. Items without training events
    are ranked by the second, brought to the scale of the first query by query; adding their
    bare text vectors to the first list would bury them under items that have ids.
    """

    kind: Literal["hybrid"] = "hybrid"
    encoder: str = "minilm"
    """`minilm` (installed with the package) or a folder with a Hugging Face encoder."""
    fields: tuple[str, ...] = ("title",)
    """Columns of the item table that are read, in this order."""
    max_tokens: Count = 64
    """Tokens of an item's text that are read."""
    whiten: Count = 128
    """Leading directions of the text vectors that are kept."""
    adapter: Literal[1, 2] = 1
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
    text_scale: Positive = 0.25
    """Weight of the text part in the sum."""
    text_weight: Positive = 0.5
    """Weight of the text head's loss."""
    id_dropout: Share = 0.1
    """Share of items whose id part is left out of the history in a step."""
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
            text=TextOptions(
                encoder=self.encoder,
                fields=self.fields,
                max_tokens=self.max_tokens,
                whiten=self.whiten,
                dropout=self.text_dropout,
                layers=self.adapter,
                unfreeze=self.unfreeze,
                pace=self.encoder_pace,
                scale=self.text_scale,
            ),
            text_weight=self.text_weight,
            id_dropout=self.id_dropout,
            negatives=self.negatives,
        )
