"""Numbers about an item, changed within bounds (C4: features surface)."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.attacks.features import FEATURE_ATTACKS, NesFeatures, PgdFeatures, RandomFeatures
from hardrank.context import RunContext
from hardrank.data import Dataset, Patch, RewriteFeatures, RewriteItem, Slate
from hardrank.errors import FoulPlay, SchemaError, Unsupported
from hardrank.models.item_features import ItemFeatures, ItemFeaturesModel
from hardrank.testing.worlds import dataset
from hardrank.threats import Budget, Demote, Promote, ThreatModel, digest_victim, play_all
from hardrank.threats.features import FeatureCourt

RUN = RunContext()


def world(values: np.ndarray[Any, Any], histories: list[list[int]]) -> Dataset:
    data = dataset([f"item {n}" for n in range(len(values))], histories)
    return replace(data, items=data.items.with_columns(image=pl.Series(values.tolist())))


def random_world(seed: int) -> tuple[ItemFeaturesModel, Dataset, str]:
    rng = np.random.default_rng(seed)
    n_items, size = int(rng.integers(4, 12)), int(rng.integers(1, 6))
    histories = [
        rng.choice(n_items, size=rng.integers(1, n_items), replace=False).tolist()
        for _ in range(int(rng.integers(1, 6)))
    ]
    data = world(rng.normal(size=(n_items, size)), histories)
    fixed = rng.random(size) < 0.3
    model = replace(ItemFeatures(columns=("image",)).fit(data, RUN), writable=~fixed)
    return model, data, str(data.items["item_id"][int(rng.integers(n_items))])


def threat(radius: float = 0.5, goal: Any = None, **more: Any) -> ThreatModel:
    return ThreatModel(
        goal=goal or Promote(k=2), surface="features", knowledge="gradients",
        budget=Budget(radius=radius, **more),
    )  # fmt: skip


def play(attack: Any, model: Any, data: Dataset, target: str, asked: ThreatModel) -> Any:
    return FeatureCourt.of(model, data, data.histories()).play(attack, asked, target, 0)


def moved(match: Any, model: ItemFeaturesModel, row: int) -> np.ndarray[Any, Any]:
    edit = match.patch.edits[0]
    assert isinstance(edit, RewriteFeatures)
    return np.array(edit.values) - model.features[row]


def test_the_gradient_step_goes_straight_to_the_only_user() -> None:
    """One user who owns a: the best place for d within the ball is on the way to a."""
    data = world(np.array([[3.0, 0], [0, 2], [-2, -2], [-1, 0]]), [[0]])
    model = ItemFeatures(columns=("image",)).fit(data, RUN)
    match = play(PgdFeatures(), model, data, "d", threat(0.5))
    way = model.features[0] - model.features[3]
    step = moved(match, model, 3)
    radius = 0.5 * np.linalg.norm(model.features, axis=1).mean()
    assert np.linalg.norm(step) == pytest.approx(radius, rel=1e-4)
    assert step @ way == pytest.approx(np.linalg.norm(step) * np.linalg.norm(way), rel=1e-4)


@pytest.mark.parametrize("attack", [made() for made in FEATURE_ATTACKS], ids=lambda a: a.kind)
def test_inside_the_budget_in_a_thousand_random_cases(attack: Any) -> None:
    """S0-03, S0-14: the referee raises on radius, bounds, fixed features and queries."""
    attack = replace(attack, steps=3) if hasattr(attack, "steps") else attack
    for case in range(1000):
        model, data, target = random_world(case)
        rng = np.random.default_rng(case)
        limit = int(rng.integers(0, 60)) if rng.random() < 0.5 else None
        goal = Promote(k=2) if rng.random() < 0.5 else Demote(k=2)
        asked = threat(float(rng.choice([1e-3, 0.3, 5.0])), goal, queries=limit)
        court = FeatureCourt.of(model, data, data.histories())
        before = digest_victim(model)
        match = court.play(attack, asked, target, case)
        assert limit is None or match.queries <= limit
        assert digest_victim(model) == before
        if case % 20 == 0:
            assert court.play(attack, asked, target, case).patch == match.patch


def test_noise_is_weaker_than_estimated_is_weaker_than_exact_slopes() -> None:
    """Mean rank gain over 80 worlds at one radius: random < NES <= PGD."""

    def gain(attack: Any) -> float:
        total = 0.0
        for case in range(80):
            model, data, target = random_world(case)
            model = replace(model, writable=np.ones(model.features.shape[1], dtype=bool))
            row, everybody = data.item_rows[target], data.histories()
            new = [q for q in range(len(everybody)) if row not in everybody.history(q)]
            if not new:
                continue
            match = play(attack, model, data, target, threat(0.5))
            after = np.array([e.values for e in match.patch.edits] or [model.features[row]])
            panel = everybody.take(np.array(new))
            both = [model.features[row][None], after[:1].astype(np.float32)]
            scores = [model.feature_scores(panel, row, f).mean() for f in both]
            total += float(scores[1] - scores[0])
        return total / 80

    random, estimated, exact = gain(RandomFeatures()), gain(NesFeatures()), gain(PgdFeatures())
    assert random < estimated and random < exact
    assert estimated <= exact * 1.05 + 1e-6


def test_the_referee_sees_through_false_patches() -> None:
    data = world(np.array([[3.0, 0], [0, 2], [-2, -2], [-1, 0]]), [[0]])
    model = replace(
        ItemFeatures(columns=("image",)).fit(data, RUN), writable=np.array([True, False])
    )
    court, clean = FeatureCourt.of(model, data, data.histories()), model.features[3]
    cases: list[tuple[Any, str]] = [
        (RewriteFeatures("d", (float(clean[0]) + 9, float(clean[1]))), "radius"),
        (RewriteFeatures("d", (float(clean[0]), float(clean[1]) + 0.1)), "not the attacker's"),
        (RewriteFeatures("d", (float(clean[0]),)), "2 finite features"),
        (RewriteFeatures("d", (float("nan"), float(clean[1]))), "2 finite features"),
        (RewriteFeatures("a", (0.0, 0.0)), "only the features of 'd'"),
        (RewriteItem("d", "x"), "only the features of 'd'"),
    ]
    for edit, why in cases:
        with pytest.raises(FoulPlay, match=why):
            court.count(Patch((edit,)), threat(), threat(0.5).budget, "d", 0)
    wide = threat(50.0)
    for step in (20, -20):
        far = RewriteFeatures("d", (float(clean[0]) + step, float(clean[1])))
        with pytest.raises(FoulPlay, match="left its bounds"):
            court.count(Patch((far,)), wide, wide.budget, "d", 0)


def test_what_cannot_be_attacked_is_refused() -> None:
    model, data, target = random_world(0)
    court = FeatureCourt.of(model, data, data.histories())
    blind = replace(threat(), knowledge="scores")
    (match,) = play_all(court, [PgdFeatures()], blind, targets=[target])
    assert match.error == "attack 'pgd-features' needs gradients, the threat grants scores"
    with pytest.raises(Unsupported, match="reads no features"):
        FeatureCourt.of(object(), data, data.histories())
    with pytest.raises(SchemaError, match="no column 'weight'"):
        ItemFeatures(columns=("weight",)).fit(data, RUN)
    with pytest.raises(SchemaError, match="no numbers"):
        ItemFeatures(columns=("title",)).fit(data, RUN)


def test_scores_are_distances_and_missing_numbers_the_mean() -> None:
    data = dataset(["a", "b", "c"], [[0], [1, 2]])
    data = replace(data, items=data.items.with_columns(price=pl.Series([1.0, None, 3.0])))
    model = ItemFeatures().fit(data, RUN)
    assert model.features[:, 0].tolist() == [-1, 0, 1]
    scores = model.score(data.histories(), Slate(items=np.arange(3)))
    assert scores.tolist() == [[0, -1, -4], [-2.25, -0.25, -0.25]]
    again = ItemFeatures().restore(model.arrays(), data.items, RUN)
    assert np.array_equal(again.score(data.histories(), Slate(items=np.arange(3))), scores)
