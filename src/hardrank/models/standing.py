"""What a model says of its catalogue as it stands: the yardstick of wrappers, query by query.

A wrapper that measured a rewritten item against the catalogue of the moment would let one
listing move the scores of all others; so the yardstick stays where it was when texts change.
"""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from hardrank.data import Queries
from hardrank.models.common import tiles, whole
from hardrank.recommender import Recommender
from hardrank.types import Floats, Scores

__all__ = ["Standing", "spread"]

Summary = Callable[[Scores, Queries], Floats]
"""(Q, I) scores of the whole catalogue, seen items too -> (Q, F) what is kept of them."""
_REMEMBERED = 64
"""Query sets whose summaries are kept: an audit goes over its users in chunks, twice."""
_LEAST = np.float32(1e-6)


def spread(scores: Scores) -> Floats:
    """(Q, I) -> (Q, 1) standard deviation, above 0 even where all scores are equal."""
    found: Floats = np.maximum(scores.std(axis=1, keepdims=True), _LEAST)
    return found


class Standing:
    """A model's catalogue, summed up for each query."""

    def __init__(self, model: Recommender, summary: Summary) -> None:
        self._model, self._summary = model, summary
        self._known: OrderedDict[str, Floats] = OrderedDict()

    def __call__(self, queries: Queries) -> Floats:
        """(Q, F); the same for a query whatever it is asked with."""
        key = queries.fingerprint
        if key not in self._known:
            self._known[key] = self._read(queries)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _read(self, queries: Queries) -> Floats:
        slate = whole(self._model.items)
        parts = []
        for rows in tiles(len(queries), len(slate)):
            part = queries.take(rows)
            parts.append(self._summary(self._model.score(part, slate), part))
        if not parts:
            return self._summary(np.zeros((0, len(slate)), dtype=np.float32), queries)
        return np.concatenate(parts)
