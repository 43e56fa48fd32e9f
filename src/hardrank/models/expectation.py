"""The white box of a smoothed model: its base's, averaged over the masks.

An attack that looks through one mask sees noise; one that averages over them climbs what the
audit measures (expectation over transformation: Athalye et al., ICML 2018, arXiv:1802.00420,
section 4.2). The masks are those of the text at hand. A rewritten text has others, so that
forecasts and mixtures are means over masks as likely as those that it will get.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.data import Queries
from hardrank.errors import Unsupported
from hardrank.models.masks import joined, patterns
from hardrank.recommender import Change, Forecast, Recommender, Relaxed, TextGradient
from hardrank.threats.desk import GivesTextGradient, GivesWords
from hardrank.types import Floats, GoalKind, Scores
from hardrank.wording import split

if TYPE_CHECKING:
    import torch

    from hardrank.models.smoothed import Smoothed

__all__ = ["Masking", "forecast", "relaxed", "text_gradient", "words_of"]

_JOINING = 64
"""Words of one change whose fates are drawn; further ones share them."""


class Masking(Protocol):
    """As much of a smoothed recommender as is needed here."""

    base: Recommender
    spec: "Smoothed"

    def own_bits(self, text: str) -> NDArray[np.bool_]: ...
    def vote(self, queries: Queries, scores: Scores) -> Scores: ...
    def yardstick(self, queries: Queries) -> Floats: ...


def words_of(base: Recommender) -> GivesWords:
    """Raises `Unsupported` for a base whose reading of words cannot be looked into."""
    if not isinstance(base, GivesWords):
        raise Unsupported("the base of this smoothed model does not show how it reads words")
    return base


def text_gradient(
    model: Masking, goal: GoalKind, queries: Queries, item: int, text: str
) -> TextGradient:
    base, field = model.base, model.spec.field
    if not isinstance(base, GivesTextGradient):
        raise Unsupported("the base of this smoothed model grants no gradients")
    # What stands there now is read once from the whole text: a mask may hide any word.
    found = base.text_gradient(goal, queries, item, text, field=field)
    mean = np.zeros_like(found.gradient)
    for kept, share in zip(*patterns(model.own_bits(text)), strict=True):
        masked = joined([w for w, there in zip(found.words, kept, strict=True) if there])
        mean[kept] += share * base.text_gradient(goal, queries, item, masked, field=field).gradient
    return TextGradient(words=found.words, gradient=mean, current=found.current)


def forecast(model: Masking, queries: Queries, item: int, text: str) -> Forecast:
    """Of a change (word, n) the first n standing words leave, where a mask has kept them; and
    a word that joins is kept with the same probability as any."""
    base, words, kept = words_of(model.base), split(text), model.own_bits(text)
    rng = np.random.default_rng(derive(model.spec.seed, "forecast", joined(words)))
    joins = _fates(len(kept), model.spec.keep, rng)
    texts = [joined([w for w, there in zip(words, row, strict=True) if there]) for row in kept]
    read = {
        masked: base.forecast(queries, item, masked, field=model.spec.field)
        for masked in dict.fromkeys(texts)
    }

    def scores(changes: Sequence[Change]) -> Scores:
        total = np.zeros((len(queries), len(changes)))
        for masked, row, fate in zip(texts, kept, joins, strict=True):
            passed = [_passed(change, words, row, fate) for change in changes]
            total += model.vote(queries, read[masked](passed))
        return np.asarray(total / len(texts), dtype=np.float32)

    return scores


def _fates(masks: int, keep: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(masks, words) which masks keep a word that joins: for each word as many as `keep` says,
    at least one unless none ever does, or an attacker with few masks would see no gain."""
    number = max(round(keep * masks), int(keep > 0))
    even = np.arange(masks)[:, None] < np.full(_JOINING, number)
    return rng.permuted(even, axis=0)


def _passed(
    change: Change, words: Sequence[str], kept: NDArray[np.bool_], joins: NDArray[np.bool_]
) -> Change:
    """What of a change is left once a mask has passed over old and new words."""
    out, drawn = [], 0
    for word, more in change:
        if more > 0:
            some = int(joins[np.arange(drawn, drawn + more) % len(joins)].sum())
            drawn += more
        else:
            places = [n for n, standing in enumerate(words) if standing == word][:-more]
            some = -int(kept[places].sum()) if places else 0
        if some:
            out.append((word, some))
    return tuple(out)


def relaxed(
    model: Masking,
    queries: Queries,
    item: int,
    text: str,
    slots: Sequence[int],
    words: Sequence[str],
) -> Relaxed:
    """A mixture stands in its slot where the mask has kept the slot's word."""
    import torch

    base, standing = words_of(model.base), split(text)
    centre, width = (torch.from_numpy(c.copy()) for c in model.yardstick(queries).T)
    parts = []
    for kept, share in zip(*patterns(model.own_bits(text)), strict=True):
        places = np.cumsum(kept) - 1
        chosen = [n for n, slot in enumerate(slots) if kept[slot]]
        masked = joined([w for w, there in zip(standing, kept, strict=True) if there])
        inner = [int(places[slots[n]]) for n in chosen]
        given = base.relaxed(queries, item, masked, inner, words, field=model.spec.field)
        parts.append((given, chosen, float(share)))

    def scores(weights: "torch.Tensor") -> "torch.Tensor":
        votes = [
            share * torch.sigmoid((given(weights[:, chosen]) - centre) / width)
            for given, chosen, share in parts
        ]
        return torch.stack(votes).sum(0)

    return scores
