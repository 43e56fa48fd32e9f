"""Trust weights: exact at both ends, monotone between, and what an untrusted copy gains."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.attacks import Copycat, GradientWords
from hardrank.audits.promotion import promotion
from hardrank.context import RunContext
from hardrank.data import Queries, Slate
from hardrank.errors import DataError, SchemaError, Unsupported
from hardrank.models.common import whole
from hardrank.models.smoothed import Smoothed
from hardrank.models.tfidf import Tfidf
from hardrank.models.trusted import Trusted, TrustedRecommender
from hardrank.recommender import Recommender, mask_seen
from hardrank.testing import planted_world, random_world, toy_market
from hardrank.threats import Budget, Match, Promote, ThreatModel, mount

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def planted(weight: float, **rest: Any) -> TrustedRecommender:
    """The planted victim with this trust in the seller of its target f."""
    spec = Trusted(base=Tfidf(), column="item_id", trust={"f": weight}, **rest)
    return spec.around(planted_world().victim)


def copied(weight: float, **rest: Any) -> tuple[TrustedRecommender, Match]:
    world, model = planted_world(), planted(weight, **rest)
    threat = ThreatModel(
        goal=Promote(k=2), knowledge="scores", budget=Budget(words=10, whole_text=True)
    )
    return model, mount(Copycat(), threat, model, world.data, panel=world.panel, target="f")


def medians(model: Recommender, queries: Queries) -> np.ndarray:
    """(Q, 1) lower medians of the scores of unseen items, one by one; -inf where all is seen."""
    scores, out = model.score(queries, whole(model.items)), []
    for q in range(len(queries)):
        unseen = sorted(np.delete(scores[q], queries.history(q)).tolist())
        out.append([unseen[(len(unseen) - 1) // 2] if unseen else -np.inf])
    return np.array(out, dtype=np.float32)


def test_scores_by_hand() -> None:
    """User 0 rates the items 2 5 1 3 -1 -1 and has seen the first two: of four unseen the
    lower median is -1. 'moon river' is worth 5."""
    world = planted_world()
    one = world.panel.take(np.array([0]))
    rewritten = Slate(items=np.array([5]), texts=("moon river",))
    for weight, expected in ((0.0, -1.0), (0.2, 0.2), (0.5, 2.0), (1.0, 5.0)):
        assert planted(weight).score(one, rewritten)[0, 0] == pytest.approx(expected)
        # a listing below neutral stays where it is, and so do other sellers' items
        standing = planted(weight).score(one, whole(world.data.items))
        assert standing[0].tolist() == [2.0, 5.0, 1.0, 3.0, -1.0, -1.0]


@settings(deadline=None)
@given(st.integers(0, 500))
def test_full_trust_is_the_base_to_the_last_bit(seed: int) -> None:
    world = random_world(np.random.default_rng(seed))
    base, slate = world.victim, whole(world.data.items)
    everyone = Trusted(base=Tfidf(), column="item_id").around(base)
    assert np.array_equal(everyone.score(world.panel, slate), base.score(world.panel, slate))


@settings(deadline=None)
@given(st.integers(0, 500), st.sampled_from(["median", "empty"]))
def test_no_trust_no_lift_and_more_trust_never_less(seed: int, neutral: Any) -> None:
    """For any text: at 0 never above neutral, rising with the weight, never beyond the base."""
    world = random_world(np.random.default_rng(seed))
    item = world.data.items["item_id"].to_list().index(world.target)
    texts = (*world.data.items["title"].to_list(), " ".join(world.victim.words))
    slate = Slate(items=np.full(len(texts), item), texts=texts)
    base = world.victim.score(world.panel, slate)
    level = medians(world.victim, world.panel) if neutral == "median" else np.float32(0)
    found = []
    for weight in WEIGHTS:
        spec = Trusted(base=Tfidf(), column="item_id", trust={world.target: weight},
                       neutral=neutral)  # fmt: skip
        found.append(spec.around(world.victim).score(world.panel, slate))
    assert np.array_equal(found[0], np.minimum(base, level))
    assert np.array_equal(found[-1], base)
    assert (np.diff(np.stack(found), axis=0) >= -1e-6).all()
    assert (np.stack(found) <= base).all() and (np.stack(found) >= found[0]).all()


def test_an_untrusted_copycat_gains_nothing_and_gains_grow_with_trust() -> None:
    """S3-53: the trust feature lowers fake exposure."""
    gains = []
    for weight in WEIGHTS:
        model, match = copied(weight)
        table = promotion(model, [match], planted_world().panel, subject="toy", seed=0, k=2)
        gains.append(int(table["hits_after"][0]) - int(table["hits_before"][0]))
    assert gains[0] == 0
    assert gains == sorted(gains) and gains[-1] == 3


@pytest.mark.parametrize("neutral", ["median", "empty"])
def test_no_text_at_all_promotes_without_trust(neutral: Any) -> None:
    """Over the texts of all items and all pairs of words, for whoever has not seen the item."""
    world, model = planted_world(), planted(0.0, neutral=neutral)
    words = world.victim.words
    texts = (*world.data.items["title"], *(f"{a} {b}" for a in words for b in words))
    slate = Slate(items=np.full(len(texts), 5), texts=texts)
    eligible = world.panel.take(np.array([0, 1, 2]))
    standing = mask_seen(model.score(eligible, whole(world.data.items)), eligible)
    door = np.sort(standing[:, :5], axis=1)[:, -2]
    assert (model.score(eligible, slate) <= door[:, None]).all()


def test_a_median_of_the_standing_catalogue() -> None:
    """A rewrite of another listing moves nobody's neutral score."""
    world = planted_world()
    moved = world.data.items.with_columns(
        pl.when(pl.col("item_id") == "b").then(pl.lit("dusty")).otherwise("title").alias("title")
    )
    slate = Slate(items=np.array([5]), texts=("moon river",))
    model = planted(0.0)
    assert np.array_equal(
        model.on(moved).score(world.panel, slate), model.score(world.panel, slate)
    )


def test_trust_as_a_column_of_numbers_and_as_a_table() -> None:
    market = toy_market()
    sellers = [["s0", "s1", None][n % 3] for n in range(24)]
    table = Trusted(base=Tfidf(), trust={"s0": 0.25, "s9": 0.0}, otherwise=0.75)
    numbers = Trusted(base=Tfidf(), column="trust", otherwise=0.5)
    items = market.items.with_columns(
        pl.Series("seller", sellers),
        pl.Series("trust", [[0.25, 0.75, None][n % 3] for n in range(24)]),
    )
    base = Tfidf().fit(market, RunContext()).on(items)
    assert table.around(base).weights[:3].tolist() == [0.25, 0.75, 0.75]
    assert numbers.around(base).weights[:3].tolist() == [0.25, 0.75, 0.5]


def test_wrong_trust_is_named_before_training() -> None:
    market = toy_market()
    with pytest.raises(SchemaError, match="no column 'seller'"):
        Trusted(base=Tfidf()).fit(market, RunContext())
    base = Tfidf().fit(market, RunContext())
    odd = base.on(market.items.with_columns(pl.lit(1.5).alias("seller")))
    with pytest.raises(DataError, match=r"trust 1.5 of item 'a'; trust lies between 0 and 1"):
        Trusted(base=Tfidf()).around(odd)
    with pytest.raises(DataError, match="is the trust itself"):
        Trusted(base=Tfidf(), trust={"s": 0.5}).around(odd)
    with pytest.raises(ValueError, match="less than or equal to 1"):
        Trusted(base=Tfidf(), trust={"s": 2.0})
    with pytest.raises(Unsupported, match="minimises no such loss"):
        Trusted(base=Tfidf(), column="item_id").fit(market, RunContext(), objective=object())


def test_the_white_box_is_the_bases_with_the_trim() -> None:
    world = planted_world()
    model, panel = planted(0.5), world.panel.take(np.array([0]))
    assert np.array_equal(
        model.text_gradient("promote", panel, 5, "plain moon").gradient,
        model.base.text_gradient("promote", panel, 5, "plain moon").gradient,  # type: ignore[attr-defined]
    )
    found = model.forecast(panel, 5, "plain")([(), (("moon", 1),)])
    texts = Slate(items=np.array([5, 5]), texts=("plain", "plain moon"))
    assert np.array_equal(found, model.score(panel, texts))
    climb = model.relaxed(panel, 5, "plain dusty", [1], ["moon", "kettle"])
    assert climb(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])).tolist() == [[1.5], [-0.5]]
    assert np.array_equal(model.word_embeddings(["moon"]), world.victim.word_embeddings(["moon"]))


def test_a_base_without_a_white_box_says_so() -> None:
    model = Trusted(base=Tfidf(), column="item_id").around(Tfidf().fit(toy_market(), RunContext()))
    one = Queries.of([[0]])
    for ask in (
        lambda: model.text_gradient("promote", one, 3, "lamp"),
        lambda: model.word_embeddings(["lamp"]),
        lambda: model.forecast(one, 3, "lamp"),
        lambda: model.relaxed(one, 3, "lamp", [0], ["tea"]),
    ):
        with pytest.raises(Unsupported, match="trusted model"):
            ask()


def test_attacks_by_gradients_reach_what_trust_allows() -> None:
    world = planted_world()
    threat = ThreatModel(goal=Promote(k=2), knowledge="gradients", budget=Budget(words=1))
    match = mount(GradientWords(), threat, planted(0.8), world.data, panel=world.panel, target="f")
    assert "moon" in match.patch.rewrites()["f"].text.split()


def test_trust_over_smoothing_is_one_model() -> None:
    market = toy_market()
    spec = Trusted(
        base=Smoothed(base=Tfidf(), masks=4, place=5), column="item_id", trust={"d": 0.0}
    )
    model = spec.fit(market, RunContext())
    scores, smooth = (m.score(market.histories(), whole(market.items)) for m in (model, model.base))
    rest = np.arange(24) != 3
    assert np.array_equal(scores[:, rest], smooth[:, rest])
    level = medians(model.base, market.histories())[:, 0]
    assert np.array_equal(scores[:, 3], np.minimum(smooth[:, 3], level))
