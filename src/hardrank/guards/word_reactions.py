"""Word-level reactions: how the rank of a text changes when each of its words is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Le, Lt
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.detection.trees import Forest, grown
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.encoded import Place, Reach, places, rewritten, vectors
from hardrank.guards.lesson import Lesson, clean_border, share_above, taught
from hardrank.types import Count, Ints, Positive, spec

__all__ = ["FittedWordReactions", "WordReactions", "sorted_reactions"]

Doubles = NDArray[np.float64]


def sorted_reactions(whole: Doubles, without: Doubles, owner: Ints, most: int) -> Doubles:
    """(N, 1 + most) each text's score, then score - score without a word, largest first; 0
    where there are fewer words, and the smallest left out where there are more.

    whole: (N,) scores; without: (W,) scores of texts that lack one word; owner: (W,) rows of
    the texts that they were made of, rising.
    """
    out = np.zeros((len(whole), 1 + most))
    out[:, 0] = whole
    ends = np.searchsorted(owner, np.arange(len(whole) + 1))
    for n, (start, end) in enumerate(pairwise(ends)):
        found = np.sort(whole[n] - without[start:end])[::-1][:most]
        out[n, 1 : 1 + len(found)] = found
    return out


@dataclass(frozen=True, eq=False)
class _Reacted:
    """What leaving out each word does."""

    whole: Doubles
    """(N,) scores."""
    without: Doubles
    """(W,)"""
    owner: Ints
    """(W,) listing of each word."""
    where: list[Place]
    """(W,)"""


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedWordReactions:
    """exp of the log-odds that an attack wrote a listing, by how its words carry its rank."""

    spec: "WordReactions"
    reach: Reach
    forest: Forest
    threshold: float

    @property
    def kind(self) -> str:
        return self.spec.kind

    def features(self, listings: Sequence[Listing]) -> Doubles:
        """(N, 1 + words)"""
        return self._features(self._reacted(listings))

    def raw(self, listings: Sequence[Listing], shop: Shop) -> Doubles:
        """(N,) odds; quarantined is who is above `threshold`."""
        return _odds(self.forest, self.features(listings)) if listings else np.zeros(0)

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        if not listings:
            return []
        found = self._reacted(listings)
        raw = _odds(self.forest, self._features(found))
        return [
            self._held(found, n, share) if value > self.threshold else admit(self.kind, share)
            for n, (value, share) in enumerate(
                zip(raw, share_above(raw, self.threshold), strict=True)
            )
        ]

    def arrays(self) -> dict[str, NDArray[Any]]:
        trees = {f"forest.{name}": value for name, value in self.forest.arrays().items()}
        return {**trees, **self.reach.arrays(), "border": np.asarray([self.threshold])}

    def _features(self, found: _Reacted) -> Doubles:
        return sorted_reactions(found.whole, found.without, found.owner, self.spec.words)

    def _reacted(self, listings: Sequence[Listing]) -> _Reacted:
        each = [places(one) for one in listings]
        owner = np.repeat(np.arange(len(listings)), [len(found) for found in each])
        where = [place for found in each for place in found]
        texts = [one.text for one in listings]
        others = [
            rewritten(listings[n], {place: ""})
            for n, place in zip(owner.tolist(), where, strict=True)
        ]
        found = vectors(self.spec.encoder, [*texts, *others])
        whole, without = found[: len(texts)], found[len(texts) :]
        at = self.reach.reached(whole, [one.item_id for one in listings])
        return _Reacted(
            self.reach.score(whole, at), self.reach.score(without, at[owner]),
            owner.astype(np.int64), where,
        )  # fmt: skip

    def _held(self, found: _Reacted, n: int, share: float) -> Verdict:
        mine = np.flatnonzero(found.owner == n)
        spans: tuple[Place, ...] = ()
        reason = "its rank hangs on its words as that of edited texts does"
        if len(mine):
            drops = found.whole[n] - found.without[mine]
            spans = (found.where[mine[int(drops.argmax())]],)
            reason += f", most on the marked one ({drops.max():.3f})"
        return Verdict("quarantine", self.kind, share, reason, spans=spans)


@spec
class WordReactions:
    """Trees on the sorted changes of a text's score when each word is left out.

    WDR: Mosca et al., ACL 2022, section 3: the margin of the predicted class without the i-th
    word, sorted over the words, goes to a small classifier. Here the ranking model is the
    encoder, whose users are popular items (`hardrank.guards.encoded.Reach`); what is predicted
    is which of them a text reaches best, and the margin is the mean cosine above what these
    show last. Entries are differences to the margin of the whole text, which comes first.
    """

    kind: Literal["word-reactions"] = "word-reactions"
    encoder: str = "minilm"
    """`minilm` (installed with the package), or a folder with a Hugging Face encoder."""
    queries: Count = 200
    """Popular items that a text may reach."""
    words: Count = 12
    """Largest changes that the trees see."""
    trees: Count = 80
    """Boosting rounds."""
    depth: Count = 4
    """Questions from the root of a tree to its leaf."""
    learning_rate: Positive = 0.1
    """What each tree's answer is multiplied by."""
    subsample: Annotated[float, Gt(0), Le(1)] = 0.6
    """Share of the rows that a tree is grown on."""
    rows: Count = 2500
    """Most clean listings to learn from."""
    false_alarms: Annotated[float, Gt(0), Lt(1)] = 0.01
    """Share of clean listings, held out, and of honest edits of them, that may be stopped."""

    def fit(self, lesson: Lesson) -> FittedWordReactions:
        """Raises `DataError` for a lesson without attacked listings, and as the encoder does
        when it cannot be loaded."""
        listings, labels, weight = taught(lesson, self.rows)
        reach = Reach.of(lesson.shop, lesson.texts, self.encoder, self.queries)
        draft = FittedWordReactions(spec=self, reach=reach, forest=_NONE, threshold=1.0)
        forest = grown(
            draft.features(listings), labels, weight, trees=self.trees, depth=self.depth,
            learning_rate=self.learning_rate, subsample=self.subsample,
            seed=derive(lesson.seed, self.kind),
        )  # fmt: skip
        draft = FittedWordReactions(spec=self, reach=reach, forest=forest, threshold=1.0)
        threshold = clean_border(draft.raw, lesson, self.false_alarms)
        return FittedWordReactions(spec=self, reach=reach, forest=forest, threshold=threshold)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedWordReactions:
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        prefix = "forest."
        trees = {n.removeprefix(prefix): v for n, v in arrays.items() if n.startswith(prefix)}
        return FittedWordReactions(
            spec=self, reach=Reach.restore(arrays), forest=Forest.restore(trees),
            threshold=float(arrays["border"][0]),
        )  # fmt: skip


_NONE = Forest(
    left=np.zeros((0, 1), np.int32), right=np.zeros((0, 1), np.int32),
    feature=np.zeros((0, 1), np.int32), threshold=np.zeros((0, 1)), value=np.zeros((0, 1)),
)  # fmt: skip


def _odds(forest: Forest, x: Doubles) -> Doubles:
    return np.asarray(np.exp(np.clip(forest(x), -30, 30)))
