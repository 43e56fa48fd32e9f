"""`text-classifier`: moderation, fraud, sentiment or click labels from text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data.labelled import Labelled
from hardrank.training.options import Training
from hardrank.types import Count, Dropout, Natural, spec

if TYPE_CHECKING:
    from hardrank.models.text_classification.fit import Shape
    from hardrank.models.text_classification.model import TextClassifierModel
    from hardrank.training.objective import Objective

__all__ = ["TextClassifier"]


@spec
class TextClassifier:
    """A linear or one-hidden-layer head on a text encoder; cross-entropy; calibrated.

    Probabilities are calibrated by temperature scaling (Guo et al., ICML 2017) on the
    validation texts. Sites for perturbations: `text-vectors`, `token-embeddings`; goal: `flip`.
    """

    kind: Literal["text-classifier"] = "text-classifier"
    encoder: str = "minilm"
    """`minilm`, a folder with a Hugging Face encoder, or a hub id."""
    max_tokens: Count = 256
    """Tokens read of each text; the rest is cut off."""
    unfreeze: Annotated[int, Ge(-1)] = 0
    """Top layers of the encoder that learn: 0 for none (text vectors are cached), k for the
    top k (states below them are cached), -1 for the whole encoder."""
    hidden: Natural = 0
    """Units of the head's hidden layer; 0 for a linear head."""
    dropout: Dropout = 0.2
    """In the head. The encoder has none."""
    training: Training = Training(
        epochs=60,
        batch_size=64,
        learning_rate=5e-3,
        weight_decay=0.1,
        patience=10,
        precision="float32",
    )
    """`precision` is that of the encoder; texts encoded in each precision are cached apart."""

    def fit(
        self,
        train: Labelled,
        run: RunContext,
        *,
        valid: Labelled | None = None,
        objective: "Objective | None" = None,
        start: "TextClassifierModel | None" = None,
    ) -> "TextClassifierModel":
        """Train on `train`; stop early and calibrate on `valid` (without it: neither);
        minimise `objective`; begin from `start`'s weights.

        Unlabelled texts of `train` (label -1) lie in the batches like the others. The loss
        passes over them; the divergence of `vat` and its like counts them in.

        Raises DataError when a class has no training text or a validation text no label,
        Unsupported when the encoder has not so many layers, `start` is of another kind, or the
        objective cannot be trained here (see `check`).
        """
        from hardrank.models.text_classification.fit import fit

        return fit(
            self._shape(), self.training, train, run, valid=valid, objective=objective, start=start
        )

    def check(self, objective: "Objective", train: Labelled, run: RunContext) -> None:
        """Raises Unsupported for an objective that this classifier cannot be trained by on
        these texts, as `fit` would. Nothing is encoded or trained."""
        from hardrank.models.text_classification.fit import check

        check(self._shape(), self.training, objective, train, run)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], labels: Sequence[str], run: RunContext
    ) -> "TextClassifierModel":
        """The inverse of `arrays`. Raises BundleError when they do not fit this spec."""
        from hardrank.models.text_classification.fit import restore

        return restore(self._shape(), self.training, arrays, labels, run)

    def _shape(self) -> "Shape":
        from hardrank.models.text_classification.fit import Shape

        return Shape(
            encoder=self.encoder,
            max_tokens=self.max_tokens,
            unfreeze=self.unfreeze,
            hidden=self.hidden,
            dropout=self.dropout,
        )
