"""Any other recommender, asked through the protocol all of them share."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from hardrank.context import RunContext
from hardrank.data import Queries
from hardrank.models import Tfidf
from hardrank.models.common import whole
from hardrank.recommender import ModelSpec, Recommender
from hardrank.serve.rankers import Question
from hardrank.types import Floats, Ints, Scores

__all__ = ["WholeRanker"]

Frame = Callable[[], pl.DataFrame]


class WholeRanker:
    """Scores the whole catalogue for every question. Rewritten items are read anew before the
    next question; new items are ranked where the model is made of words alone (`tfidf`), and
    wait for the next training elsewhere."""

    reads_text = False

    def __init__(self, model: Recommender, spec: ModelSpec, frame: Frame) -> None:
        """frame: the catalogue as it stands, asked for when it changed."""
        self._model, self._spec, self._frame = model, spec, frame
        self._trained = self._rows = model.items.height
        self._stale = False
        self.reads_new = isinstance(spec, Tfidf)

    def read(self, fields: Mapping[str, str]) -> Floats | None:
        return None

    def put(self, row: int, fields: Mapping[str, str], read: Floats | None) -> bool:
        self._rows, self._stale = max(self._rows, row + 1), True
        return self.reads_new or row < self._trained

    def scores(self, asked: Sequence[Question]) -> Scores:
        model = self._current()
        known = model.items.height
        histories = [[row for row in q.history if row < known] for q in asked]
        queries = Queries.of(histories, users=[q.user for q in asked])
        out = np.full((len(asked), self._rows), -np.inf, dtype=np.float32)
        out[:, :known] = model.score(queries, whole(model.items))
        return out

    def forget(self) -> None:
        """There is nothing to forget: no state is kept."""

    def states(self, asked: Sequence[Question]) -> Floats | None:
        return None

    def vectors(self) -> Floats | None:
        return None

    def units(self, rows: Ints) -> Floats | None:
        return None

    def _current(self) -> Recommender:
        if self._stale:
            items = self._frame()
            if self.reads_new:
                self._model = self._spec.restore(self._model.arrays(), items, RunContext())
            else:
                columns = [c for c in self._model.items.columns if c in items.columns]
                self._model = self._model.on(
                    self._model.items.with_columns(items[: self._trained].select(columns))
                )
            self._stale = False
        return self._model
