"""What stands already: a recommender that lists no item whose text the guards would hold."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Queries, Slate
from hardrank.errors import SchemaError
from hardrank.guards.base import Guard, Listing, Shop, Verdict, admit, worst
from hardrank.guards.pipeline import Pipeline
from hardrank.metrics.calibration import Temperature
from hardrank.models.common import same_items
from hardrank.recommender import Recommender
from hardrank.types import Floats, Ints, Knowledge, Ranks, Scores

__all__ = ["Authentic", "authenticity", "looked", "standing"]

_REMEMBERED = 1 << 15
_HELD = float(np.nextafter(np.float32(0.5), np.float32(0)))
_LOW = 1e20
"""Below every score that a model gives; float32 keeps the order of what is demoted."""
_LIVE_MODEL = "shadow-ranking"


@dataclass(frozen=True, eq=False, kw_only=True)
class Authentic:
    """`hardrank.recommender.Recommender`. Every standing text is looked at once; an item whose
    authenticity is below `least` is demoted below all others, or not listed at all.

    It judges what stands; `hardrank.guards.Guarded` judges changes. Put one over the other for
    both. A rewritten text in a slate is looked at again, as if it stood.
    """

    recommender: Recommender
    guard: Guard | Pipeline
    shop: Shop
    """The catalogue and its counts: of two items that say the same, the one with fewer
    events (by binary digits) is the copy."""
    authenticity: Floats
    """(I,) in [0, 1]: the less of what `authenticity` says of the text and trust in its source."""
    sources: Floats
    """(I,) trust in who wrote each item, in [0, 1]."""
    least: float = 0.5
    """Least authenticity of an item that is listed as the model says, in [0, 1]."""
    below: Literal["demote", "abstain"] = "abstain"
    """What happens to the others: they stand last, or nowhere."""
    fields: tuple[str, ...] = ("title",)
    """Columns of the item table that the guard reads."""
    _known: OrderedDict[tuple[int, str, str], float] = field(default_factory=OrderedDict)

    grants: ClassVar[Knowledge] = "scores"
    """The most that an attacker may see of it."""

    @classmethod
    def of(
        cls,
        recommender: Recommender,
        guard: Guard | Pipeline,
        *,
        counts: Ints | None = None,
        queries: Queries | None = None,
        least: float = 0.5,
        below: Literal["demote", "abstain"] = "abstain",
        fields: tuple[str, ...] = ("title",),
        sources: Floats | None = None,
    ) -> Self:
        """Looks at the whole catalogue. counts: (I,) events of each item, none for none;
        queries: for guards that ask about users; sources: (I,) trust in who wrote each item, in
        [0, 1], as `TrustScores` keeps it: an item is as authentic as the less trusted of its
        text and its source. Raises `SchemaError` for an unknown field, `ValueError` for a
        `least` or a source that is no share."""
        if not 0 <= least <= 1:
            raise ValueError(f"least must be between 0 and 1 (is {least})")
        items = recommender.items
        none = np.zeros(items.height, dtype=np.int64)
        shop = Shop(items=items, counts=none if counts is None else counts, queries=queries)
        trusted = np.ones(items.height, np.float32) if sources is None else sources
        if len(trusted) != items.height or not ((trusted >= 0) & (trusted <= 1)).all():
            raise ValueError("sources must be one share of trust for each item")
        found = authenticity(guard, standing(items, shop.counts, fields), shop)
        return cls(
            recommender=recommender, guard=guard, shop=shop, sources=trusted.astype(np.float32),
            authenticity=np.minimum(found, trusted), least=least, below=below, fields=fields,
        )  # fmt: skip

    @property
    def items(self) -> pl.DataFrame:
        return self.recommender.items

    @property
    def listed(self) -> NDArray[np.bool_]:
        """(I,) items that are authentic enough."""
        return self.authenticity >= np.float32(self.least)

    def score(self, queries: Queries, slate: Slate) -> Scores:
        """(Q, I). An item below `least` has -inf, or, demoted, less than any listed one and
        its order among the demoted."""
        scores = self.recommender.score(queries, slate)
        doubtful = np.flatnonzero(self.of_slate(slate) < np.float32(self.least))
        if len(doubtful):
            scores = scores.copy()
            scores[:, doubtful] = (
                -np.inf if self.below == "abstain" else _demoted(scores[:, doubtful])
            )
        return scores

    def top(self, queries: Queries, k: int) -> Ranks:
        """(Q, min(K, I)), or as many as are listed where others are not listed at all. What the
        user has seen stands last, as ever; demoted items stand before it."""
        doubtful = ~self.listed
        more = min(k + int(doubtful.sum()), self.items.height)
        found = self.recommender.top(queries, more)
        seen = np.zeros((len(queries), self.items.height), dtype=np.bool_)
        seen[queries.owners, queries.items] = True
        last = np.where(np.take_along_axis(seen, found, axis=1), 2, doubtful[found])
        if self.below == "abstain":
            last = np.where(doubtful[found], 3, last)
            k = min(k, int((~doubtful).sum()))
        order = np.argsort(last, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(found, order, axis=1)

    def trust(self, queries: Queries, slate: Slate, temperature: Temperature) -> Floats:
        """(Q, I) in [0, 1]: how probably the item is relevant, times its authenticity.
        temperature: fitted on this recommender's scores."""
        relevance = temperature.probabilities(self.recommender.score(queries, slate))
        trust: Floats = (relevance * self.of_slate(slate)).astype(np.float32)
        return trust

    def of_slate(self, slate: Slate) -> Floats:
        """(I,) authenticity of each candidate; of a rewritten text, that of the new text."""
        out = self.authenticity[slate.items].copy()
        if slate.texts is None or slate.field not in self.items.columns:
            return out
        asked = [(int(r), slate.field, t) for r, t in zip(slate.items, slate.texts, strict=True)]
        changed = [n for n, (r, c, t) in enumerate(asked) if t != str(self.items[c][r] or "")]
        self._look(list(dict.fromkeys(asked[n] for n in changed)))
        for n in changed:
            out[n] = min(self._known[asked[n]], self.sources[asked[n][0]])
        return out

    def on(self, items: pl.DataFrame) -> Self:
        """The catalogue rewritten; texts that changed are looked at again, others are not. Raises
        `SchemaError` as the recommender's `on`."""
        same_items(self.items, items)
        live = self.recommender.on(items)
        shop = replace(self.shop, items=live.items)
        before, after = (standing(t.items, shop.counts, self.fields) for t in (self, live))
        rows = [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        found = self.authenticity.copy()
        if rows:
            said = authenticity(self.guard, [after[n] for n in rows], shop)
            found[rows] = np.minimum(said, self.sources[rows])
        return replace(
            self, recommender=live, shop=shop, authenticity=found, _known=OrderedDict()
        )  # fmt: skip

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The recommender's as `base/...`, and `authenticity`."""
        base = {f"base/{name}": array for name, array in self.recommender.arrays().items()}
        return base | {"authenticity": self.authenticity}

    def _look(self, asked: Sequence[tuple[int, str, str]]) -> None:
        for key in asked:
            if key in self._known:
                self._known.move_to_end(key)
        new = [key for key in asked if key not in self._known]
        rows = np.asarray([row for row, _, _ in new], dtype=np.int64)
        stand = standing(self.items[rows], self.shop.counts[rows], self.fields)
        listings = [
            replace(one, fields={**one.fields, column: text})
            for one, (_, column, text) in zip(stand, new, strict=True)
        ]
        found = authenticity(self.guard, listings, self.shop).tolist()
        self._known.update(zip(new, found, strict=True))
        while len(self._known) > max(_REMEMBERED, len(asked)):
            self._known.popitem(last=False)


def standing(items: pl.DataFrame, counts: Ints, fields: tuple[str, ...]) -> list[Listing]:
    """(I,) the texts as they stand, with their events and nothing before. counts: (I,). Raises
    `SchemaError` for an unknown field."""
    for name in fields:
        if name not in items.columns:
            has = f"it has: {', '.join(items.columns)}"
            raise SchemaError(f"the item table has no field '{name}'", field=name, remedy=has)
    columns = [items[name].cast(pl.Utf8).fill_null("").to_list() for name in fields]
    ids, texts = items["item_id"].to_list(), zip(*columns, strict=True)
    return [
        Listing(item, dict(zip(fields, said, strict=True)), events=int(n))
        for item, said, n in zip(ids, texts, counts.tolist(), strict=True)
    ]


def authenticity(guard: Guard | Pipeline, listings: Sequence[Listing], shop: Shop) -> Floats:
    """(N,) 1 less the highest score of any guard; under a half exactly where one would hold
    the text for a person. See `looked`."""
    found = [share for share, _ in looked(guard, listings, shop)]
    return np.asarray(found, dtype=np.float32)


def looked(
    guard: Guard | Pipeline, listings: Sequence[Listing], shop: Shop
) -> list[tuple[float, Verdict]]:
    """Authenticity and the worst verdict of each text that stands.

    What would be held is judged once more among those items alone whose number of events has
    more binary digits than its own, and the milder of both counts: an original is not held for
    its copies. A guard that asks the live model is not asked: it judges what a change would
    do, and this text stands already.
    """
    if isinstance(guard, Pipeline):
        others = tuple(one for one in guard.guards if one.kind != _LIVE_MODEL)
        guard = Pipeline(others, guard.fields)
    found = _judged(guard, listings, shop)
    held = [n for n, (_, verdict) in enumerate(found) if verdict.action == "quarantine"]
    for digits in sorted({listings[n].events.bit_length() for n in held}):
        rows = [n for n in held if listings[n].events.bit_length() == digits]
        bigger = np.where(shop.counts >= 1 << digits, shop.counts, 0)
        again = _judged(guard, [listings[n] for n in rows], replace(shop, counts=bigger))
        for n, other in zip(rows, again, strict=True):
            found[n] = max(found[n], other, key=lambda case: case[0])
    return found


def _judged(
    guard: Guard | Pipeline, listings: Sequence[Listing], shop: Shop
) -> list[tuple[float, Verdict]]:
    return [
        (_authentic(verdicts), worst(verdicts) if verdicts else admit("none"))
        for verdicts in _said(guard, listings, shop)
    ]


def _said(
    guard: Guard | Pipeline, listings: Sequence[Listing], shop: Shop
) -> list[list[Verdict]]:  # fmt: skip
    if isinstance(guard, Pipeline):
        return guard.walk(listings, shop)[0]
    return [[verdict] for verdict in guard.inspect(listings, shop)]


def _authentic(verdicts: Sequence[Verdict]) -> float:
    share = 1 - max((v.score for v in verdicts), default=0.0)
    held = any(v.action == "quarantine" for v in verdicts)
    return min(share, _HELD) if held else max(share, 0.5)


def _demoted(scores: Scores) -> Scores:
    """Strictly rising in the score, and far below all: -1e20 exp(-asinh(score))."""
    found: Scores = (-_LOW * np.exp(-np.arcsinh(scores.astype(np.float64)))).astype(np.float32)
    return found
