"""What the specs of sequence models share: how they are fitted and restored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout
from hardrank.models.sequence.fit import Shape, fit, restore
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.recommender import Recommender
from hardrank.training import Objective, Training

__all__ = ["SequenceSpec"]


class SequenceSpec(ABC):
    """A `ModelSpec` by way of a `Shape`. Subclasses are `@spec`s with a field `training`."""

    training: Training

    @abstractmethod
    def shape(self) -> Shape:
        """All that sets this model apart from other sequence models."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Objective | None = None,
        start: Recommender | None = None,
    ) -> SequenceRecommender:
        return fit(
            self.shape(), self.training, train, run, valid=valid, objective=objective, start=start
        )

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> SequenceRecommender:
        return restore(self.shape(), arrays, items, run)
