"""Factor models: the user's vector, or the mean of the history's, times item vectors."""

from collections.abc import Mapping, Sequence

import numpy as np

from hardrank.data import Queries
from hardrank.models.bpr.recommender import BprMfRecommender
from hardrank.serve.rankers import Question, unit
from hardrank.types import Floats, Ints, Scores

__all__ = ["FactorRanker"]


class FactorRanker:
    """See `BprMfRecommender`, whose scores these are. Items that it was not trained with have
    no vector: they wait for the next training."""

    reads_text = reads_new = False

    def __init__(self, model: BprMfRecommender) -> None:
        self._model = model
        self._vectors = np.column_stack([model.factors, model.biases]).astype(np.float32)
        self._rows = len(self._vectors)

    def read(self, fields: Mapping[str, str]) -> Floats | None:
        return None

    def put(self, row: int, fields: Mapping[str, str], read: Floats | None) -> bool:
        self._rows = max(self._rows, row + 1)
        return row < len(self._vectors)

    def scores(self, asked: Sequence[Question]) -> Scores:
        out = np.full((len(asked), self._rows), -np.inf, dtype=np.float32)
        trained = len(self._vectors)
        out[:, :trained] = self._profiles(asked) @ self._vectors.T
        return out

    def forget(self) -> None:
        """There is nothing to forget: no state is kept."""

    def states(self, asked: Sequence[Question]) -> Floats | None:
        return self._profiles(asked)

    def vectors(self) -> Floats | None:
        return self._vectors

    def units(self, rows: Ints) -> Floats | None:
        out = np.zeros((len(rows), self._model.factors.shape[1]), dtype=np.float32)
        trained = rows < len(self._vectors)
        out[trained] = unit(self._model.factors[rows[trained]])
        return out

    def _profiles(self, asked: Sequence[Question]) -> Floats:
        trained = len(self._vectors)
        queries = Queries.of(
            [[row for row in q.history if row < trained] for q in asked],
            users=[q.user for q in asked],
        )
        profiles = self._model.profiles(queries)
        return np.column_stack([profiles, np.ones(len(asked), np.float32)]).astype(np.float32)
