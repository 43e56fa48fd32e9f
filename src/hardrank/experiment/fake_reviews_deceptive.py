"""Detectors on real deceptive reviews of hotels, split so that nothing but deception helps.

Ott et al., ACL 2011 and NAACL 2013: 800 truthful and 800 deceptive reviews of 20 hotels, half
positive and half negative. A random split overstates: a detector may learn the hotels' names
and who was asked to write. Truthful positive reviews come from one site, truthful negative
ones from others, so the splits across polarity are splits across sources, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hardrank.context import derive
from hardrank.data.labelled import Labelled, LabelledTexts
from hardrank.errors import LeakError
from hardrank.experiment.fake_reviews_measure import Judgement, ReviewDetector, Scored, judge
from hardrank.types import Ints

__all__ = ["FAKE", "Deceptive", "Protocol", "deceptive_splits", "judge_on_deceptive"]

FAKE = "deceptive"
Protocol = Literal["random", "by-hotel", "positive-to-negative", "negative-to-positive"]
PROTOCOLS: tuple[Protocol, ...] = (
    "random", "by-hotel", "positive-to-negative", "negative-to-positive"
)  # fmt: skip
"""All but `random` have no hotel in both parts."""


@dataclass(frozen=True, eq=False)
class Deceptive:
    reviews: Labelled
    """Classes `truthful` and `deceptive`; groups are hotels."""
    polarity: tuple[str, ...]
    """`positive` or `negative` of each."""

    @classmethod
    def load(cls, path: Path) -> "Deceptive":
        """The CSV file with the columns deceptive, hotel, polarity and text. Raises as
        `LabelledTexts.load`."""
        names = ("truthful", FAKE)
        by_hotel = LabelledTexts(path=path, label="deceptive", labels=names, group="hotel")
        by_polarity = LabelledTexts(path=path, label="deceptive", labels=names, group="polarity")
        return cls(by_hotel.load(), by_polarity.load().groups or ())


def deceptive_splits(
    data: Deceptive, seed: int, *, test_hotels: float = 0.25
) -> Iterator[tuple[Protocol, Ints, Ints]]:
    """Each protocol with its rows for training and for testing.

    Hotels for testing are drawn by the seed, and across polarity the same hotels are left
    out. Test texts that stand in training but for case and spacing are dropped. Raises
    `LeakError` where a hotel should still be in both parts.
    """
    rng = np.random.default_rng(derive(seed, "fake-reviews", "hotels"))
    hotels, n = np.array(data.reviews.groups), len(data.reviews)
    names = rng.permutation(np.unique(hotels))
    held = np.isin(hotels, names[: max(1, round(test_hotels * len(names)))])
    drawn = np.isin(np.arange(n), rng.permutation(n)[: round(test_hotels * n)])
    praise = np.array(data.polarity) == "positive"
    masks = {
        "random": (~drawn, drawn),
        "by-hotel": (~held, held),
        "positive-to-negative": (~held & praise, held & ~praise),
        "negative-to-positive": (~held & ~praise, held & praise),
    }
    for name in PROTOCOLS:
        train, test = (np.flatnonzero(m) for m in masks[name])
        if name != "random" and set(hotels[train]) & set(hotels[test]):
            raise LeakError(f"{name}: a hotel is in both parts", field="hotel")
        seen = {_folded(data.reviews.texts[r]) for r in train}
        kept = [r for r in test.tolist() if _folded(data.reviews.texts[r]) not in seen]
        yield name, train, np.asarray(kept, dtype=np.int64)


def judge_on_deceptive(
    data: Deceptive,
    detectors: Sequence[ReviewDetector],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    protocols: Sequence[Protocol] = PROTOCOLS,
    draws: int = 500,
) -> dict[tuple[str, Protocol], Judgement]:
    """Each detector's kind and protocol with how it did, over all seeds."""
    tests: dict[tuple[str, Protocol], list[Scored]] = {}
    for seed in seeds:
        for protocol, train, test in deceptive_splits(data, seed):
            if protocol not in protocols:
                continue
            part = data.reviews.take(test)
            fake = part.labels == part.names.index(FAKE)
            for detector in detectors:
                fitted = detector.fit(data.reviews.take(train), fake=FAKE)
                scored = Scored(fitted.score(part.texts), fake, part.groups or ())
                tests.setdefault((detector.kind, protocol), []).append(scored)
    return {
        key: judge(found, np.random.default_rng(derive(0, *key)), draws=draws)
        for key, found in tests.items()
    }


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
