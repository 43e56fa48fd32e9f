"""Texts that were edited against a recommender: learned from attacks, for attacks unseen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from annotated_types import Gt, Le, Lt
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.detection.trees import Forest, grown
from hardrank.errors import BundleError, DataError
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.lesson import Lesson, border, half_edited, share_above
from hardrank.guards.text_features import NAMES, TextReader
from hardrank.types import Count, Positive, spec

__all__ = ["AdversarialText", "FittedAdversarialText"]

Doubles = NDArray[np.float64]
_READ: "WeakKeyDictionary[Shop, dict[tuple[object, ...], _Clean]]" = WeakKeyDictionary()
"""Reading a catalogue takes longer than learning, and leaving out one family changes nothing."""


@dataclass(frozen=True, eq=False)
class _Clean:
    reader: TextReader
    learned: Doubles
    """(N, F) features of clean listings to learn from."""
    held_out: Doubles
    """(N', F) of those that set the threshold, and of as many honest edits of them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedAdversarialText:
    """exp of the log-odds that an attack wrote a listing."""

    spec: "AdversarialText"
    reader: TextReader
    forest: Forest
    threshold: float
    middle: Doubles
    """(F,) features of a middling clean listing: what a reason compares with."""

    @property
    def kind(self) -> str:
        return self.spec.kind

    def raw(self, listings: Sequence[Listing], shop: Shop) -> Doubles:
        """(N,) odds; quarantined is who is above `threshold`."""
        if not listings:
            return np.zeros(0)
        return _odds(self.forest, self.reader.features(listings, shop))

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        if not listings:
            return []
        return self.judged(self.reader.features(listings, shop))

    def judged(self, x: Doubles) -> list[Verdict]:
        """The verdicts that follow from (N, F) features of the reader."""
        raw = _odds(self.forest, x)
        held = np.flatnonzero(raw > self.threshold)
        reasons = dict(zip(held.tolist(), self._reasons(x[held]), strict=True))
        return [
            Verdict("quarantine", self.kind, share, reasons[n])
            if n in reasons
            else admit(self.kind, share)
            for n, share in enumerate(share_above(raw, self.threshold))
        ]

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            **{f"forest.{name}": value for name, value in self.forest.arrays().items()},
            **{f"reader.{name}": value for name, value in self.reader.arrays().items()},
            "border": np.asarray([self.threshold]), "usual": self.middle,
        }  # fmt: skip

    def _reasons(self, x: Doubles) -> list[str]:
        """(N,) the features that raise the odds most: by how much they fall with a usual value."""
        n, f = x.shape
        others = np.repeat(x, f, axis=0).reshape(n, f, f)
        others[:, np.arange(f), np.arange(f)] = self.middle
        # all at once: the trees cost the same for one row and for a few hundred
        gains = self.forest(x)[:, None] - self.forest(others.reshape(n * f, f)).reshape(n, f)
        return [_told(gain) for gain in gains]


@spec
class AdversarialText:
    """Boosted trees on how a text reads: surprise of words and letters, rarity, words that do
    not belong together, nearness to other items, and what changed since before.

    The features are those of detectors of word substitutions (FGWS: Mozes et al., EACL 2021,
    frequency; Mosca et al., 2022, what each word contributes), of density (Yoo et al., ACL
    Findings 2022) and of perplexity filters (Jain et al., 2023, arXiv:2309.00614), with the
    catalogue's own n-gram model and word vectors instead of a large network. Every attack
    family weighs the same. Half of the clean texts the trees learn from are honest edits,
    simulated (`hardrank.guards.honest`).
    """

    kind: Literal["adversarial-text"] = "adversarial-text"
    trees: Count = 80
    """Boosting rounds."""
    depth: Count = 4
    """Questions from the root of a tree to its leaf."""
    learning_rate: Positive = 0.1
    """What each tree's answer is multiplied by."""
    subsample: Annotated[float, Gt(0), Le(1)] = 0.6
    """Share of the rows that a tree is grown on."""
    rows: Count = 2500
    """Most clean listings to learn from, and most to set the threshold on."""
    false_alarms: Annotated[float, Gt(0), Lt(1)] = 0.006
    """Share of clean listings, held out, and of honest edits of them, together, that may be
    stopped."""

    def fit(self, lesson: Lesson) -> FittedAdversarialText:
        """Raises `DataError` for a lesson without attacked listings."""
        if not lesson.attacked:
            raise DataError(
                "guard 'adversarial-text' needs attacked listings to learn from",
                remedy="name attacks, or leave the guard out",
            )
        clean = self._read(lesson)
        positives, weight = _attacked(lesson, clean.reader)
        x = np.concatenate([clean.learned, positives])
        n = len(clean.learned)
        forest = grown(
            x, np.arange(len(x)) >= n, np.concatenate([np.ones(n), weight * n]),
            trees=self.trees, depth=self.depth, learning_rate=self.learning_rate,
            subsample=self.subsample, seed=derive(lesson.seed, self.kind),
        )  # fmt: skip
        threshold = border(_odds(forest, clean.held_out), self.false_alarms)
        return FittedAdversarialText(
            spec=self, reader=clean.reader, forest=forest, threshold=threshold,
            middle=np.median(clean.learned, axis=0),
        )  # fmt: skip

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedAdversarialText:
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing, `BundleError`
        for trees that read other features: their columns would be taken for those of today."""
        if len(arrays["usual"]) != len(NAMES):
            raise BundleError(
                f"{self.kind}: learned from {len(arrays['usual'])} features, this version reads "
                f"{len(NAMES)}; fit it again"
            )
        part = {
            name: {n.removeprefix(f"{name}."): v for n, v in arrays.items() if n.startswith(name)}
            for name in ("forest", "reader")
        }
        return FittedAdversarialText(
            spec=self, reader=TextReader.restore(part["reader"]), middle=arrays["usual"],
            forest=Forest.restore(part["forest"]), threshold=float(arrays["border"][0]),
        )  # fmt: skip

    def _read(self, lesson: Lesson) -> _Clean:
        key = (lesson.fields, lesson.held_out, lesson.seed, self.rows)
        known = _READ.setdefault(lesson.shop, {})
        if key not in known:
            learned, aside = lesson.rows()
            texts, few = lesson.texts, aside[: self.rows]
            # the model of the language must not know the texts that trees learn from
            reader = TextReader.fit([texts[row] for row in learned[::2]], lesson.fields)
            shop, most = lesson.shop, self.rows
            known[key] = _Clean(
                reader,
                reader.features(half_edited(lesson, learned[1::2][:most]), shop),
                reader.features([*lesson.listings(few), *lesson.edits(few, 1)], shop),
            )
        return known[key]


def _attacked(lesson: Lesson, reader: TextReader) -> tuple[Doubles, Doubles]:
    """(N, F) features, every listing with and without what stood before; (N,) weights of sum
    1, the same for each family."""
    known = [e.family for e in lesson.attacked]
    weight = np.asarray([1 / (len(set(known)) * known.count(f)) for f in known])
    told = [e.listing for e in lesson.attacked]
    untold = [replace(e.listing, before=None) for e in lesson.attacked]
    x = reader.features([*told, *untold], lesson.shop)
    return x, np.concatenate([weight, weight]) / 2


def _told(gain: Doubles) -> str:
    names = [NAMES[f] for f in np.argsort(-gain, kind="stable")[:3] if gain[f] > 0]
    return f"reads like an edited text: {', '.join(names)}"


def _odds(forest: Forest, x: Doubles) -> Doubles:
    odds: Doubles = np.exp(np.clip(forest(x), -30, 30))
    return odds
