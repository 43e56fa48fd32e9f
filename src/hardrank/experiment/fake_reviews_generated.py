"""Detectors on generated reviews: known generators, one that they were not trained on, and one
that knows the detectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from hardrank.attacks.reviews import EvasiveReviews, ReviewUnion
from hardrank.context import derive
from hardrank.data import Dataset
from hardrank.detection.reviews import CopiedReviews
from hardrank.errors import DataError
from hardrank.experiment.fake_reviews_measure import (
    Judgement,
    ReviewDetector,
    Scored,
    Scorer,
    judge,
)
from hardrank.experiment.fake_reviews_texts import (
    Panel,
    Texts,
    labelled,
    named,
    plain_writers,
    real_texts,
    written,
)
from hardrank.threats.model import ThreatModel
from hardrank.types import Ints

__all__ = ["GeneratedKey", "Scene", "judge_on_generated", "prepare"]

GeneratedKey = tuple[str, str, str]
"""Generator tested, detector, and what that was trained on. `known`: all plain generators;
`left-out`: all but this one; `adaptive`: all plain ones, and this generator has that very
detector; `retrained`: the same, and what such a generator wrote about other items."""
_Tests = dict[GeneratedKey, list[Scored]]


@dataclass(frozen=True)
class Scene:
    """One seed's texts. Items for testing are not those for training, and no generator has
    read a review of an item for testing."""

    data: Dataset
    """Without the reviews of items for testing: what is public."""
    real_train: Texts
    real_fresh: Texts
    """As many others of the same items; detectors are compared by these."""
    real_test: Texts
    targets: tuple[Ints, Ints]
    """Rows of the items written about, for training and for testing."""
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
    rows = tuple(rng.choice(part, targets, replace=False) for part in (rest, held))
    fakes = [{named(a): written(public, a, threat, part, seed) for a in attacks} for part in rows]
    n, n_test = (sum(len(t.texts) for t in fake.values()) for fake in fakes)
    known, fresh = real_texts(data, threat, rest, 2 * n, rng).halves()
    unseen = real_texts(data, threat, held, n_test, rng)
    return Scene(public, known, fresh, unseen, (rows[0], rows[1]), fakes[0], fakes[1])


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
    """Each generator against held-out real reviews, by detectors trained on all plain
    generators and by ones that never saw it; then each adaptive one. With one plain attack
    there is nothing to leave out.

    copied: what is compared with all public reviews; it sees no fake one, so it stands under
    `left-out` and `adaptive`.
    """
    copied = copied or CopiedReviews()
    tests: _Tests = {}
    for seed in seeds:
        scene = prepare(data, plain_writers(attacks), threat, seed=seed, targets=targets)
        shop = _known(scene, detectors, tests)
        panel = Panel.trained(shop, scene.real_fresh, copied, scene.data)
        phrases = panel.members[copied.kind]
        for kind in scene.fake_test:
            _add(tests, (kind, copied.kind, "left-out"), phrases, scene, scene.fake_test[kind])
        for attack in attacks:
            if isinstance(attack, EvasiveReviews):
                _adaptive(scene, attack, detectors, threat, panel, seed, tests)
    return {
        key: judge(found, np.random.default_rng(derive(0, *key)), draws=draws)
        for key, found in tests.items()
    }


def _known(scene: Scene, detectors: Sequence[ReviewDetector], tests: _Tests) -> dict[str, Scorer]:
    """Detectors trained on all plain generators; what they and those that miss one find."""
    shop: dict[str, Scorer] = {}
    for left in (None, *scene.fake_train) if len(scene.fake_train) > 1 else (None,):
        fakes = [t for kind, t in scene.fake_train.items() if kind != left]
        train = labelled(scene.real_train, fakes)
        for detector in detectors:
            fitted = detector.fit(train, fake="fake")
            if left is None:
                shop[detector.kind] = fitted
            for kind in scene.fake_test if left is None else (left,):
                how = "known" if left is None else "left-out"
                _add(tests, (kind, detector.kind, how), fitted, scene, scene.fake_test[kind])
    return shop


def _adaptive(
    scene: Scene, attack: EvasiveReviews, detectors: Sequence[ReviewDetector],
    threat: ThreatModel, panel: Panel, seed: int, tests: _Tests,
) -> None:  # fmt: skip
    """He writes against all detectors at once; then the shop learns from what he wrote."""
    seen, fresh = (written(scene.data, attack, threat, rows, seed, panel) for rows in scene.targets)
    for kind, member in panel.members.items():
        _add(tests, (named(attack), kind, "adaptive"), member, scene, fresh)
    train = labelled(scene.real_train, [*scene.fake_train.values(), seen])
    for detector in detectors:
        fitted = detector.fit(train, fake="fake")
        _add(tests, (named(attack), detector.kind, "retrained"), fitted, scene, fresh)


def _add(tests: _Tests, key: GeneratedKey, fitted: Scorer, scene: Scene, fake: Texts) -> None:
    test = labelled(scene.real_test, [fake])
    scored = Scored(fitted.score(test.texts), test.labels == 1, test.groups or ())
    tests.setdefault(key, []).append(scored)
