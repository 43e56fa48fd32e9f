"""What a rewritten text gives away (S0-22): every column against what a reader would say."""

from dataclasses import replace

import numpy as np
import polars as pl

from hardrank.audits.promotion import promotion
from hardrank.audits.stealth import Stealth
from hardrank.data import Patch, RewriteItem
from hardrank.testing.worlds import dataset, planted_world
from hardrank.threats import Budget, Promote, ThreatModel, check

TITLES = [f"{c} {m} {n}" for c in ("red", "blue", "green") for m in ("oak", "steel", "glass")
          for n in ("chair", "table", "lamp", "shelf")]  # fmt: skip


def test_equal_texts_give_nothing_away_and_strange_ones_do() -> None:
    stealth = Stealth.of(dataset(TITLES, [[0], [1]]))
    old = [TITLES[0]] * 4
    new = [TITLES[0], "red oak table", "chair oak red", "rde oka cahir"]
    found = stealth.columns(old, new)
    assert found["similarity"][0] == found["cosine"][0] == 1.0 and found["perplexity"][0] == 0.0
    assert abs(found["perplexity"][1]) < 0.3 < found["perplexity"][2] < found["perplexity"][3]
    assert found["similarity"][1] > found["similarity"][3]
    assert found["cosine"][2] > found["cosine"][1], "the same words in another order mean the same"


def test_the_judges_are_fitted_once_for_a_catalogue() -> None:
    data = dataset(TITLES, [[0], [1]])
    assert Stealth.of(data) is Stealth.of(data)
    other = replace(data, items=data.items.with_columns(title=pl.lit("x")))
    assert Stealth.of(other) is not Stealth.of(data)


def test_samples_of_a_promotion_carry_the_columns() -> None:
    world = planted_world()
    threat = ThreatModel(goal=Promote(k=2), budget=Budget(words=1))
    patch = Patch((RewriteItem("f", "moon plain dusty"),))
    match = replace(check(patch, threat, world.data, "f"), attack="mine")
    rows = promotion(
        world.victim, [match], world.panel, subject="m", seed=0, k=2,
        stealth=Stealth.of(world.data),
    )  # fmt: skip
    row = rows.to_dicts()[0]
    expected = Stealth.of(world.data).columns(["plain dusty"], ["moon plain dusty"])
    for name, values in expected.items():
        assert np.isclose(row[name], values[0]), name
    assert 0 < row["similarity"] < 1
