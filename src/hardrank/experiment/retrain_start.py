"""Where the training of a challenger begins: from the champion, row by row."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardrank.bundle import Bundle
from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.recommender import ModelSpec, Recommender
from hardrank.types import Ints

__all__ = ["Begun", "begun"]

_ROWS: Mapping[str, Mapping[str, str]] = {
    "bpr-mf": {"users": "user", "factors": "item", "biases": "item"},
    "light-gcn": {
        "users": "user", "factors": "item", "first_users": "user", "first_items": "item",
    },
    "wmf": {"vectors": "item"},
    "sasrec": {"network/tower.ids": "known"},
    "hybrid": {"network/tower.ids": "known"},
    "text-sequence": {},
}  # fmt: skip
"""Arrays with a row for each user, item, or item with a training event. All others are taken
as they are, but for `known` and `counts`, which follow from the log."""


@dataclass(frozen=True, eq=False)
class Begun:
    start: Recommender | None
    said: str
    """How training begins, in words."""


def begun(
    spec: ModelSpec, champion: Bundle, train: Dataset, run: RunContext, *, warm: bool
) -> Begun:
    """The champion's weights laid out for the users and items of `train`; new rows are drawn
    as widely as the champion's are spread. No start for a model that has none."""
    if not warm:
        return Begun(None, "afresh, as asked for")
    if not _same(spec, champion.spec):
        return Begun(None, f"afresh: the champion is another '{champion.spec.kind}'")
    if spec.kind not in _ROWS:
        return Begun(None, f"afresh: '{spec.kind}' has no weights to go on from")
    made = _Laid(champion, train, run)
    arrays = {n: made.array(n, a) for n, a in champion.recommender.arrays().items()}
    said = f"from the champion's weights; {made.fresh} new rows"
    return Begun(spec.restore(arrays, train.items, run), said)


def _same(spec: ModelSpec, other: ModelSpec) -> bool:
    """But for how they are trained, which sets no shape."""
    if hasattr(spec, "training") and type(spec) is type(other):
        return bool(replace(spec, training=other.training) == other)  # type: ignore[type-var,attr-defined]
    return spec == other


class _Laid:
    def __init__(self, champion: Bundle, train: Dataset, run: RunContext) -> None:
        self._train, self._run, self._kind = train, run, champion.spec.kind
        model = champion.recommender
        had = model.items["item_id"].to_list()
        now = train.items["item_id"].to_list()
        counts = model.counts if isinstance(model, SequenceRecommender) else np.ones(len(had))
        live = [i for i, n in zip(now, train.counts, strict=True) if n]
        self._places = {
            "user": _rows(list(champion.histories), train.users["user_id"].to_list()),
            "item": _rows(had, now),
            "known": _rows([i for i, n in zip(had, counts, strict=True) if n], live),
        }
        self.fresh = 0

    def array(self, name: str, champions: NDArray[Any]) -> NDArray[Any]:
        if name == "counts":
            return self._train.counts
        if name == "known":
            return np.diff(self._train.offsets) > 0
        what = _ROWS[self._kind].get(name)
        if what is None:
            return champions
        rows = self._places[what]
        new = rows < 0
        self.fresh += int(new.sum())
        rng = np.random.default_rng(derive(self._run.seed, "new rows", name))
        spread = float(champions.std()) if champions.ndim > 1 else 0.0
        drawn = rng.normal(0, spread, (len(rows), *champions.shape[1:])).astype(champions.dtype)
        drawn[~new] = champions[rows[~new]]
        return drawn


def _rows(had: list[str], now: list[str]) -> Ints:
    """(len(now),) row that each has in `had`, -1 for none."""
    place = {name: n for n, name in enumerate(had)}
    return np.asarray([place.get(name, -1) for name in now], dtype=np.int64)
