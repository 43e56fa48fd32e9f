"""A recommender behind its guards: what an attacker meets who writes to a guarded shop."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Queries, Slate
from hardrank.errors import DataError, SchemaError
from hardrank.guards.base import Guard, Listing, Shop, Verdict
from hardrank.guards.pipeline import Pipeline
from hardrank.models.common import same_items
from hardrank.recommender import Recommender
from hardrank.types import Ints, Knowledge, Ranks, Scores

__all__ = ["Guarded"]

_REMEMBERED = 1 << 15
"""Verdicts kept: an attack asks about few texts, an audit about the same ones for all users."""
_BASE, _GUARD = "base/", "guard/"


@dataclass(frozen=True, eq=False, kw_only=True)
class Guarded:
    """`hardrank.recommender.Recommender`. Every text that differs from the standing one passes
    the guard before the model reads it: held back, the standing text is ranked; mended, the
    mended one; admitted, the text as it is.

    So the referee and the audits see the shop as a seller does, and an attack that asks for
    scores or ranks adapts to the guard. Gradients are not granted: through a guard there are
    none. A white-box attack plays on `recommender` and is replayed here; label it as transfer.
    """

    recommender: Recommender
    """Over the catalogue as it stands, which is taken to be clean."""
    guard: Guard | Pipeline
    """One guard, or several in order."""
    shop: Shop
    """What the guard may ask; the same catalogue. Its counts are the items' events."""
    fields: tuple[str, ...] = ("title",)
    """Columns of the item table that sellers write."""
    _known: OrderedDict[tuple[int, str, str], Verdict] = field(default_factory=OrderedDict)
    _plans: WeakKeyDictionary[Slate, list[tuple[Ints, Slate]]] = field(
        default_factory=WeakKeyDictionary
    )

    grants: ClassVar[Knowledge] = "scores"
    """The most that an attacker may see of it."""

    def __post_init__(self) -> None:
        """Raises `DataError` for a shop of other items, `SchemaError` for an unknown field."""
        items = self.recommender.items
        if not items["item_id"].equals(self.shop.items["item_id"]):
            raise DataError("the guard's shop shows other items than the recommender ranks")
        for name in self.fields:
            if name not in items.columns:
                has = f"it has: {', '.join(items.columns)}"
                raise SchemaError(f"the item table has no field '{name}'", field=name, remedy=has)

    @classmethod
    def of(
        cls,
        recommender: Recommender,
        guard: Guard | Pipeline,
        *,
        counts: Ints | None = None,
        queries: Queries | None = None,
        fields: tuple[str, ...] = ("title",),
    ) -> Self:
        """With a shop of its own. counts: (I,) events of each item, none for none; queries: a
        sample of users, for guards that ask the live model."""
        none = np.zeros(recommender.items.height, dtype=np.int64)
        shop = Shop(
            items=recommender.items, counts=none if counts is None else counts,
            recommender=recommender, queries=queries,
        )  # fmt: skip
        return cls(recommender=recommender, guard=guard, shop=shop, fields=fields)

    @property
    def items(self) -> pl.DataFrame:
        return self.recommender.items

    def score(self, queries: Queries, slate: Slate) -> Scores:
        """(Q, I). What is held back scores as the standing catalogue does, to the last bit."""
        if slate.texts is None or slate.field not in self.items.columns:
            return self.recommender.score(queries, slate)  # whose error says what is wrong
        if slate not in self._plans:  # the same slates again: recommenders remember them
            self._plans[slate] = self._plan(slate)
        out = np.empty((len(queries), len(slate)), dtype=np.float32)
        for columns, part in self._plans[slate]:
            out[:, columns] = self.recommender.score(queries, part)
        return out

    def top(self, queries: Queries, k: int) -> Ranks:
        return self.recommender.top(queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        """The shop after its sellers asked for these texts: the guard sees all texts of an
        item at once. Later rewrites are judged against what then stands. Raises `SchemaError`
        for other items, and as the recommender's `on`."""
        live = self.recommender.on(self._screened(items))
        shop = Shop(
            items=live.items, counts=self.shop.counts, recommender=live, queries=self.shop.queries
        )
        return type(self)(recommender=live, guard=self.guard, shop=shop, fields=self.fields)

    def verdicts(self, slate: Slate) -> list[Verdict | None]:
        """(I,) what the guard says of each text of a slate; None for one that changes nothing."""
        if slate.texts is None:
            return [None] * len(slate)
        asked = list(zip(slate.items.tolist(), slate.texts, strict=True))
        old = {row: self._standing(row, slate.field) for row, _ in asked}
        new = dict.fromkeys((r, slate.field, t) for r, t in asked if t != old[r])
        for key in new:
            if key in self._known:
                self._known.move_to_end(key)
        self._judge([key for key in new if key not in self._known], keep=len(new))
        return [
            self._known[row, slate.field, text] if text != old[row] else None for row, text in asked
        ]

    def passed(self, slate: Slate) -> list[str | None]:
        """(I,) the text that each candidate is ranked by; None where the standing one stays.
        Raises as the guard does."""
        assert slate.texts is not None
        out: list[str | None] = []
        for text, verdict in zip(slate.texts, self.verdicts(slate), strict=True):
            if verdict is None or verdict.action == "quarantine":
                out.append(None)
            elif verdict.fields is not None and verdict.action == "mend":
                out.append(verdict.fields.get(slate.field, text))
            else:
                out.append(text)
        return out

    def _plan(self, slate: Slate) -> list[tuple[Ints, Slate]]:
        """Which columns of the slate are ranked as they stand, and which by what text."""
        texts = self.passed(slate)
        changed = np.array([text is not None for text in texts], dtype=np.bool_)
        live = tuple(text for text in texts if text is not None)
        parts = (
            (np.flatnonzero(~changed), Slate(items=slate.items[~changed])),
            (
                np.flatnonzero(changed),
                Slate(items=slate.items[changed], texts=live, field=slate.field),
            ),
        )
        return [(columns, part) for columns, part in parts if len(columns)]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The recommender's as `base/...`, the guard's, if it has any, as `guard/...`; those of
        a pipeline with the number of the guard before, as `guard/0.weights`."""
        own = _arrays_of(self.guard)
        base = {_BASE + name: array for name, array in self.recommender.arrays().items()}
        return base | {_GUARD + name: array for name, array in own.items()}

    @staticmethod
    def parted(
        arrays: Mapping[str, NDArray[Any]],
    ) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """`arrays` as the recommender's and the guard's: what each one's `restore` reads."""
        base, guard = (
            {n.removeprefix(mark): a for n, a in arrays.items() if n.startswith(mark)}
            for mark in (_BASE, _GUARD)
        )
        return base, guard

    def _judge(self, asked: Sequence[tuple[int, str, str]], keep: int) -> None:
        listings = [self._listing(row, {column: text}) for row, column, text in asked]
        if listings:
            self._known.update(
                zip(asked, self.guard.inspect(listings, self.shop), strict=True)
            )  # fmt: skip
        while len(self._known) > max(_REMEMBERED, keep):
            self._known.popitem(last=False)

    def _listing(self, row: int, rewritten: Mapping[str, str]) -> Listing:
        columns = dict.fromkeys((*self.fields, *rewritten))
        before = {column: self._standing(row, column) for column in columns}
        return Listing(
            item_id=str(self.items["item_id"][row]), fields={**before, **rewritten}, before=before,
            events=int(self.shop.counts[row]),
        )  # fmt: skip

    def _standing(self, row: int, column: str) -> str:
        return str(self.items[column][row] or "")

    def _screened(self, items: pl.DataFrame) -> pl.DataFrame:
        """The table asked for, with the texts that pass."""
        same_items(self.items, items)
        columns = [
            c for c in items.columns if c in self.items.columns and items.schema[c] == pl.Utf8
        ]
        wanted = {c: items[c].to_list() for c in columns}
        standing = {c: self.items[c].cast(pl.Utf8).to_list() for c in columns}
        changes = _changes(wanted, standing)
        listings = [self._listing(row, texts) for row, texts in changes.items()]
        found = self.guard.inspect(listings, self.shop) if listings else []
        for (row, asked), verdict in zip(changes.items(), found, strict=True):
            if verdict.action == "quarantine":
                stays: Mapping[str, str | None] = {c: standing[c][row] for c in asked}
            else:
                stays = verdict.fields or {} if verdict.action == "mend" else {}
            for c in wanted.keys() & stays.keys():
                wanted[c][row] = stays[c]
        return items.with_columns(pl.Series(c, wanted[c], dtype=pl.Utf8) for c in columns)


def _arrays_of(guard: Guard | Pipeline) -> dict[str, NDArray[Any]]:
    if isinstance(guard, Pipeline):
        return {
            f"{n}.{name}": array
            for n, one in enumerate(guard.guards)
            for name, array in _arrays_of(one).items()
        }
    learned: dict[str, NDArray[Any]] = getattr(guard, "arrays", dict)()
    return learned


def _changes(
    wanted: Mapping[str, Sequence[str | None]], standing: Mapping[str, Sequence[str | None]]
) -> dict[int, dict[str, str]]:
    """row -> column -> text, where a text differs; empty and missing are one."""
    out: dict[int, dict[str, str]] = {}
    for column, texts in wanted.items():
        for row, (new, old) in enumerate(zip(texts, standing[column], strict=True)):
            if (new or "") != (old or ""):
                out.setdefault(row, {})[column] = new or ""
    return out
