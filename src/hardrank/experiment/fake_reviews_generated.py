"""Detectors on generated reviews: known generators, and one that they were not trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from hardrank.attacks.reviews import ReviewUnion
from hardrank.attacks.reviews.parts import cut
from hardrank.context import derive
from hardrank.data import AddReview, Dataset
from hardrank.data.labelled import Labelled
from hardrank.detection.reviews import CopiedReviews
from hardrank.errors import DataError
from hardrank.experiment.fake_reviews_measure import (
    Judgement,
    ReviewDetector,
    Scored,
    Scorer,
    judge,
)
from hardrank.threats.model import Promote, ThreatModel
from hardrank.threats.reviews import ReviewView, play_reviews
from hardrank.types import Ints

__all__ = ["GeneratedKey", "Scene", "judge_on_generated", "prepare"]

GeneratedKey = tuple[str, str, str]
"""Generator tested, detector, and `known` (it was trained on this generator too) or `left-out`."""
_NAMES = ("real", "fake")


@dataclass(frozen=True)
class Texts:
    texts: tuple[str, ...]
    items: tuple[str, ...]
    """The item that each is about."""


@dataclass(frozen=True)
class Scene:
    """One seed's texts. Items for testing are not those for training, and no generator has
    read a review of an item for testing."""

    public: tuple[str, ...]
    """All reviews that are not of an item for testing, whole."""
    real_train: Texts
    real_test: Texts
    fake_train: Mapping[str, Texts]
    """By generator."""
    fake_test: Mapping[str, Texts]


def prepare(
    data: Dataset,
    attacks: Sequence[ReviewUnion],
    threat: ThreatModel,
    *,
    seed: int,
    targets: int = 20,
) -> Scene:
    """Play each attack on `targets` items of either part, a quarter of the items being for
    testing. Real texts are reviews of the same kind (praise or blame), cut to the budget as
    the fake ones are, as many as the fake ones of all attacks together where there are so many.

    Raises `DataError` where a part has too few items, and as `play_reviews`.
    """
    rng = np.random.default_rng(derive(seed, "fake-reviews", "items"))
    order = rng.permutation(data.n_items)
    held = np.sort(order[: data.n_items // 4])
    rest = np.sort(order[data.n_items // 4 :])
    if min(len(held), len(rest)) < targets or data.reviews is None:
        raise DataError(f"{data.name}: too few items with reviews for {targets} targets a part")
    public = replace(data, reviews=data.reviews.filter(~pl.col("item").is_in(held.tolist())))
    fakes: list[dict[str, Texts]] = [
        {a.kind: _written(public, a, threat, rng.choice(part, targets, replace=False), seed)
         for a in attacks}
        for part in (rest, held)
    ]  # fmt: skip
    reals = [
        _real(data, threat, part, sum(len(t.texts) for t in fake.values()), rng)
        for part, fake in zip((rest, held), fakes, strict=True)
    ]
    assert public.reviews is not None
    said = tuple(t or "" for t in public.reviews["text"].to_list())
    return Scene(said, reals[0], reals[1], fakes[0], fakes[1])


def judge_on_generated(
    data: Dataset,
    attacks: Sequence[ReviewUnion],
    detectors: Sequence[ReviewDetector],
    threat: ThreatModel,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    copied: CopiedReviews | None = None,
    targets: int = 20,
    draws: int = 500,
) -> dict[GeneratedKey, Judgement]:
    """Each generator against held-out real reviews, by detectors trained on all generators and
    by ones that never saw it. With one attack there is nothing to leave out.

    copied: what is compared with all public reviews; it sees no fake one, so it stands under
    `left-out`.
    """
    copied = copied or CopiedReviews()
    tests: dict[GeneratedKey, list[Scored]] = {}
    for seed in seeds:
        scene = prepare(data, attacks, threat, seed=seed, targets=targets)
        for left in (None, *scene.fake_train) if len(attacks) > 1 else (None,):
            train = _labelled(
                scene.real_train, [t for kind, t in scene.fake_train.items() if kind != left]
            )
            for detector in detectors:
                fitted = detector.fit(train, fake="fake")
                for kind in scene.fake_test if left is None else (left,):
                    key = (kind, detector.kind, "known" if left is None else "left-out")
                    tests.setdefault(key, []).append(_scored(fitted, scene, kind))
        phrases = copied.against(scene.public)
        for kind in scene.fake_test:
            key = (kind, copied.kind, "left-out")
            tests.setdefault(key, []).append(_scored(phrases, scene, kind))
    return {
        key: judge(found, np.random.default_rng(derive(0, *key)), draws=draws)
        for key, found in tests.items()
    }


def _scored(fitted: Scorer, scene: Scene, kind: str) -> Scored:
    test = _labelled(scene.real_test, [scene.fake_test[kind]])
    return Scored(fitted.score(test.texts), test.labels == 1, test.groups or ())


def _written(
    public: Dataset, attack: ReviewUnion, threat: ThreatModel, rows: Ints, seed: int
) -> Texts:
    texts, items = [], []
    for row in np.sort(rows).tolist():
        target = str(public.items["item_id"][row])
        match = play_reviews(attack, threat, public, target=target, seed=seed)
        said = [e.text for e in match.patch.edits if isinstance(e, AddReview)]
        texts += said
        items += [target] * len(said)
    return Texts(tuple(texts), tuple(items))


def _real(
    data: Dataset, threat: ThreatModel, items: Ints, n: int, rng: np.random.Generator
) -> Texts:
    view = ReviewView(data, int(items[0]))
    wanted = set(items.tolist())
    found = [o for o in view.of_kind(praise=isinstance(threat.goal, Promote)) if o.item in wanted]
    chosen = [found[r] for r in rng.permutation(len(found))[:n].tolist()]
    most = threat.budget.words or 0
    names = data.items["item_id"]
    return Texts(
        tuple(cut(o.text, most) for o in chosen), tuple(str(names[o.item]) for o in chosen)
    )


def _labelled(real: Texts, fakes: Sequence[Texts]) -> Labelled:
    texts = [*real.texts, *(t for fake in fakes for t in fake.texts)]
    labels = np.array([0] * len(real.texts) + [1] * (len(texts) - len(real.texts)), dtype=np.int64)
    groups = (*real.items, *(i for fake in fakes for i in fake.items))
    return Labelled(texts=tuple(texts), labels=labels, names=_NAMES, groups=groups)
