"""Masks, the coupling theorem, the smoothed ranking and its white box."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.smoothing import QUERIES, TITLES, Exact, smoothed, words_of

from hardrank.attacks import GradientWords, HotFlip
from hardrank.context import RunContext
from hardrank.data import Queries, Slate
from hardrank.errors import SchemaError, Unsupported
from hardrank.models.common import whole
from hardrank.models.masks import bits, copies, joined, own_bits, patterns, reach
from hardrank.models.popularity import Popularity
from hardrank.models.smoothed import Smoothed, SmoothedRecommender
from hardrank.models.text_sequence import TextSequence
from hardrank.models.tfidf import Tfidf
from hardrank.testing import odd_world, planted_world, toy_market
from hardrank.threats import Budget, Promote, ThreatModel, mount
from hardrank.training import Training
from hardrank.wording import split

TEXTS = st.text(
    alphabet=st.one_of(st.sampled_from("ab 新苹カ\u0301👍\u200bא"), st.characters(codec="utf-8"))
)


# Masks


@settings(deadline=None)
@given(TEXTS)
def test_joined_words_are_the_same_words(text: str) -> None:
    words = split(text)
    assert split(joined(words)) == words


def test_only_words_that_would_run_together_are_parted() -> None:
    assert joined(split("苹果 手机壳  iPhone新款 red  case")) == "苹果手机壳iPhone新款red case"
    assert joined(()) == ""


def test_a_blank_more_is_no_other_text() -> None:
    """What is no word edit moves nothing: the masked copies depend on the words alone."""
    one, other = ("red  lamp \t oak", "red lamp oak")
    assert np.array_equal(own_bits(one, 0.5, 9, 0), own_bits(other, 0.5, 9, 0))
    kept = own_bits(one, 0.5, 9, 0)
    assert copies(one, kept).texts == copies(other, kept).texts


def test_copies_are_distinct_and_weighted_by_hand() -> None:
    kept = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1]], dtype=bool)
    made = copies("oak lamp oak", kept)
    assert dict(zip(made.texts, made.shares.tolist(), strict=True)) == {
        "oak": 0.5, "lamp": 0.25, "oak lamp oak": 0.25,
    }  # fmt: skip
    nothing = copies(" ", bits(0, 0.5, 7, np.random.default_rng(0)))
    assert (nothing.texts, nothing.shares.tolist()) == (("",), [1.0])


def test_bits_keep_the_share_that_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    assert bits(50, 0.3, 4000, rng).mean() == pytest.approx(0.3, abs=0.005)
    assert bits(5, 1.0, 10, rng).all() and not bits(5, 0.0, 10, rng).any()
    rows, shares = patterns(bits(2, 0.5, 1000, rng))
    assert rows.shape == (4, 2) and shares.sum() == pytest.approx(1)


# The theorem


Edit = tuple[str, int, str]
EDITS = st.lists(
    st.tuples(st.sampled_from(["insert", "delete", "replace"]), st.integers(0, 9),
              st.sampled_from("abcd")),
    max_size=4,
)  # fmt: skip


def edited(words: list[str], edits: list[Edit]) -> list[str]:
    out = list(words)
    for what, at, word in edits:
        if what == "insert":
            out.insert(at % (len(out) + 1), word)
        elif out and what == "delete":
            del out[at % len(out)]
        elif out:
            out[at % len(out)] = word
    return out


def expectation(words: list[str], keep: float, f: Callable[[str], float]) -> float:
    total = 0.0
    for kept in product([False, True], repeat=len(words)):
        chance = np.prod([keep if there else 1 - keep for there in kept])
        total += chance * f(joined([w for w, there in zip(words, kept, strict=True) if there]))
    return float(total)


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=4), EDITS, st.floats(0, 1), st.integers(0, 99))
def test_coupling_bound(words: list[str], edits: list[Edit], keep: float, seed: int) -> None:
    """For random functions into [0, 1], half of them as extreme as can be."""
    rng, table = np.random.default_rng(seed), dict[str, float]()

    def f(text: str) -> float:
        if text not in table:
            drawn = rng.random()
            table[text] = float(drawn < 0.5) if seed % 2 else drawn
        return table[text]

    moved = expectation(edited(words, edits), keep, f) - expectation(words, keep, f)
    assert abs(moved) <= reach(keep, len(edits)) + 1e-12


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("r", [1, 2, 3])
def test_coupling_bound_is_met(keep: float, r: int) -> None:
    """Nothing, then r words, and a function that asks whether there is any."""
    moved = expectation(["a"] * r, keep, bool) - expectation([], keep, bool)
    assert moved == pytest.approx(reach(keep, r), abs=1e-12)


def test_reach_by_hand() -> None:
    assert reach(0.1, 1) == pytest.approx(0.1)
    assert reach(0.1, 3) == pytest.approx(0.271)
    assert (reach(0.3, 0), reach(0.0, 5), reach(1.0, 1)) == (0.0, 0.0, 1.0)
    assert reach(0.3, 10) > 0.97  # a whole title: nothing is promised


# The ranking


def test_score_is_the_mean_vote_of_the_copies() -> None:
    """A slow twin, copy by copy."""
    model = smoothed(masks=7)
    found = model.score(QUERIES, whole(model.items))
    for item, title in enumerate(TITLES):
        votes = [
            model.votes(QUERIES, Slate(items=np.array([item]), texts=(made,)))[:, 0]
            for kept in model.own_bits(title)
            for made in [" ".join(w for w, there in zip(title.split(), kept, strict=True) if there)]
        ]
        assert np.allclose(found[:, item], np.mean(votes, axis=0), atol=1e-6)


def test_a_vote_by_hand() -> None:
    """One half at the standing score of rank `place`, 1 / (1 + e) one width below."""
    model = smoothed(softness=0.5)
    scores = model.base.score(QUERIES, whole(model.items))
    centre = np.sort(scores, axis=1)[:, [-6]]
    width = 0.5 * scores.std(axis=1, keepdims=True)
    votes = model.vote(QUERIES, np.concatenate([centre, centre - width], axis=1))
    assert np.allclose(votes[:, 0], 0.5) and np.allclose(votes[:, 1], 1 / (1 + np.e), atol=1e-5)


def test_many_masks_come_near_the_expectation() -> None:
    model = smoothed(keep=0.3, masks=3000)
    exact, titles = Exact(model), [t for t in TITLES if len(t.split()) <= 6]
    columns = np.array([TITLES.index(t) for t in titles])
    served = model.score(QUERIES, Slate(items=columns))
    expected = np.stack([exact.of(words_of(t)) for t in titles], axis=1)
    assert np.abs(served - expected).max() < 0.04


def test_keeping_all_words_leaves_the_order_of_the_base() -> None:
    market = toy_market()
    base = Tfidf().fit(market, RunContext())
    model = Smoothed(base=Tfidf(), keep=1.0, masks=3, place=3).around(base)
    queries, slate = market.histories(), whole(market.items)
    assert np.allclose(model.score(queries, slate), model.votes(queries, slate), atol=1e-6)
    assert np.array_equal(model.top(queries, 10), base.top(queries, 10))


def test_keeping_no_word_reads_nothing() -> None:
    scores = smoothed(keep=0.0).score(QUERIES, whole(smoothed().items))
    assert (scores == scores[:, :1]).all()


def test_equal_texts_score_alike_in_any_company() -> None:
    """The masks are the text's own."""
    model = smoothed()
    rows = np.array([3, 3, 5], dtype=np.int64)
    some = model.score(QUERIES, Slate(items=rows, texts=("a b", "a  b", "c")))
    alone = model.score(QUERIES, Slate(items=rows[:1], texts=("a b",)))
    assert np.array_equal(some[:, 0], some[:, 1]) and np.array_equal(some[:, :1], alone)
    other = smoothed(seed=1).score(QUERIES, Slate(items=rows[:1], texts=("a b",)))
    assert not np.array_equal(other, alone)


def test_many_queries_and_many_items_are_cut_into_blocks() -> None:
    model = smoothed(masks=64)
    few = model.score(QUERIES, whole(model.items))
    many = Queries.of([[]] * 2050, users=[n % 3 for n in range(2050)])
    rows = np.tile(np.arange(len(TITLES)), 20)
    found = model.score(many, Slate(items=rows))
    assert np.array_equal(found[2047:], np.tile(few, 20)[[1, 2, 0]])


def test_odd_texts_have_votes() -> None:
    world = odd_world()
    model = Smoothed(base=Tfidf(), masks=4).around(world.victim)
    scores = model.score(world.panel, whole(model.items))
    assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1
    assert model.score(Queries.of([]), whole(model.items)).shape == (0, model.items.height)


def test_rewriting_one_listing_moves_no_other() -> None:
    model = smoothed()
    items = model.items.with_columns(
        pl.when(pl.col("item_id") == "i7").then(pl.lit("a b a b a b")).otherwise("title")
        .alias("title")
    )  # fmt: skip
    before, after = (m.score(QUERIES, whole(m.items)) for m in (model, model.on(items)))
    rest = np.arange(len(TITLES)) != 7
    assert np.array_equal(before[:, rest], after[:, rest])
    assert not np.array_equal(before[:, 7], after[:, 7])


def test_refusals() -> None:
    model = smoothed()
    with pytest.raises(Unsupported, match="promises nothing of 'brand'"):
        model.score(QUERIES, Slate(items=np.array([0]), texts=("a",), field="brand"))
    with pytest.raises(SchemaError, match="no such column"):
        Smoothed(base=Tfidf(), field="brand").around(model.base)
    with pytest.raises(Unsupported, match="grants no gradients"):
        model.text_gradient("promote", QUERIES, 0, "a")
    with pytest.raises(Unsupported, match="how it reads words"):
        model.forecast(QUERIES, 0, "a")
    with pytest.raises(Unsupported, match="minimises no such loss"):
        Smoothed(base=Tfidf()).fit(toy_market(), RunContext(), objective=object())


def test_a_base_that_reads_no_text_cannot_be_spelled() -> None:
    with pytest.raises(ValueError, match="base"):
        Smoothed(base=Popularity())  # type: ignore[arg-type]


def test_the_base_is_fitted_as_it_would_be_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the objective, the validation data, and its own weights to begin from."""
    asked: dict[str, Any] = {}
    fit = Tfidf.fit

    def recorded(self: Tfidf, train: Any, run: Any, **rest: Any) -> Any:
        asked.update(rest)
        return fit(self, train, run)

    monkeypatch.setattr(Tfidf, "fit", recorded)
    spec, objective = Smoothed(base=Tfidf(), masks=2), object()
    first = spec.fit(toy_market(), RunContext())
    spec.fit(toy_market(), RunContext(), start=first, objective=objective)
    assert asked == {"valid": None, "objective": objective, "start": first.base}


@pytest.fixture(scope="module")
def learned() -> SmoothedRecommender:
    """Around a text model that was trained for a moment."""
    training = Training(epochs=1, batch_size=32, patience=0)
    base = TextSequence(size=8, whiten=8, max_tokens=16, training=training)
    return Smoothed(base=base, masks=6, place=5).fit(toy_market(), RunContext())


@pytest.mark.slow
def test_standing_copies_are_encoded_once(
    learned: SmoothedRecommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many chunks of users ask."""
    asked = list[int]()
    model = learned.on(learned.items)
    encoder = type(model.base.source.encoder)  # type: ignore[attr-defined]
    encode = encoder.encode

    def counted(self: Any, texts: Any, **rest: Any) -> Any:
        asked.append(len(texts))
        return encode(self, texts, **rest)

    monkeypatch.setattr(encoder, "encode", counted)
    queries = toy_market().histories()
    found = [model.score(queries.take(r), whole(model.items)) for r in np.split(np.arange(30), 3)]
    assert len(asked) == 1
    assert np.allclose(np.concatenate(found), learned.score(queries, whole(model.items)), atol=1e-6)


@pytest.mark.slow
def test_white_box_of_a_text_model(learned: SmoothedRecommender) -> None:
    """Masked to nothing or to one word, the encoder still has a gradient and a forecast."""
    market = toy_market()
    queries, text = market.histories(), market.items["title"][3]
    found = learned.text_gradient("promote", queries, 3, text)
    assert found.words == tuple(text.split()) and found.gradient.shape == found.current.shape
    dropped = ~learned.own_bits(text).any(axis=0)
    assert np.array_equal(np.abs(found.gradient).sum(axis=1) == 0, dropped)
    standing = learned.score(queries, Slate(items=np.array([3]), texts=(text,)))
    forecast = learned.forecast(queries, 3, text)([(), (("shampoo", 1),)])
    assert np.allclose(forecast[:, :1], standing, atol=1e-5)
    assert not np.array_equal(forecast[:, 0], forecast[:, 1])
    climb = learned.relaxed(queries, 3, text, [0, 1], ["tea", "lamp"])
    weights = torch.full((1, 2, 2), 0.5, requires_grad=True)
    (slope,) = torch.autograd.grad(climb(weights).sum(), weights)
    assert torch.isfinite(slope).all() and climb(weights).shape == (1, 30)


# The white box


def planted(keep: float, masks: int = 16) -> SmoothedRecommender:
    spec = Smoothed(base=Tfidf(), keep=keep, masks=masks, place=2, softness=1.0)
    return spec.around(planted_world().victim)


def test_gradient_of_a_word_counts_the_masks_that_keep_it() -> None:
    model, panel = planted(0.5), planted_world().panel
    text = "plain dusty moon"
    found, base = (m.text_gradient("promote", panel, 5, text) for m in (model, model.base))
    share = model.own_bits(text).mean(axis=0, keepdims=True).T
    assert found.words == base.words and np.array_equal(found.current, base.current)
    assert np.allclose(found.gradient, share * base.gradient, atol=1e-6)
    nothing = model.text_gradient("promote", panel, 5, "")
    assert nothing.words == () and nothing.gradient.shape == (0, base.gradient.shape[1])


@pytest.mark.parametrize("keep", [0.4, 1.0])
def test_forecast_is_the_mean_vote_over_masks(keep: float) -> None:
    """The base counts words one by one, so each masked forecast is exact: of many masks the
    mean is that of the rewritten text's own."""
    model, panel = planted(keep, masks=4000), planted_world().panel
    changes = ((), (("moon", 1),), (("dusty", -1), ("velvet", 2)), (("dusty", -1), ("moon", 70)))
    texts = ("plain dusty dusty", "plain dusty dusty moon", "plain dusty velvet velvet",
             "plain dusty " + "moon " * 70)  # fmt: skip
    found = model.forecast(panel, 5, texts[0])(changes)
    there = model.score(panel, Slate(items=np.full(4, 5), texts=texts))
    assert np.abs(found - there).max() < (1e-5 if keep == 1 else 0.04)


def test_relaxed_words_are_words() -> None:
    """A weight of 1 for a word in a slot: the votes of the text with that word there, over
    the masks of the text at hand. A slow twin; and it has a gradient."""
    model, panel = planted(0.5), planted_world().panel
    text, words = "plain dusty lantern", ["moon", "kettle"]
    climb = model.relaxed(panel, 5, text, [0, 2], words)
    weights = torch.zeros(2, 2, 2)
    weights[0, :, 0] = weights[1, 0, 0] = weights[1, 1, 1] = 1.0
    weights.requires_grad_(True)
    found = climb(weights)
    for row, filled in enumerate((["moon", "dusty", "moon"], ["moon", "dusty", "kettle"])):
        votes = [
            model.votes(panel, Slate(items=np.array([5]), texts=(made,)))[:, 0]
            for kept in model.own_bits(text)
            for made in [" ".join(w for w, there in zip(filled, kept, strict=True) if there)]
        ]
        assert np.allclose(found[row].detach().numpy(), np.mean(votes, axis=0), atol=1e-5)
    (slope,) = torch.autograd.grad(found.sum(), weights)
    assert torch.isfinite(slope).all() and (slope[..., 0] > slope[..., 1]).all()


@pytest.mark.parametrize("attack", [GradientWords(), HotFlip()], ids=lambda a: a.kind)
def test_white_box_attacks_see_through_the_masks(attack: Any) -> None:
    """They find the planted word of the base."""
    world = planted_world()
    threat = ThreatModel(goal=Promote(k=2), knowledge="gradients", budget=Budget(words=1))
    match = mount(attack, threat, planted(0.7, 64), world.data, panel=world.panel, target="f")
    assert "moon" in match.patch.rewrites()["f"].text.split()
