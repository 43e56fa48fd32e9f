"""The generated marketplace: planted structure that text and ids both can learn."""

import time

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from sklearn.feature_extraction.text import TfidfVectorizer

from hardrank.data import Dataset
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.sources.marketplace_words import BRANDS, PLACES, STYLES, TOPICS
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.recommender import mask_seen


@pytest.fixture(scope="module")
def market() -> Dataset:
    return Marketplace().load()


def quality(split: Split, scores: np.ndarray) -> float:
    """NDCG@10 over the whole catalogue, seen items masked, ties against the model."""
    scores = mask_seen(scores.astype(np.float32), split.test.queries)
    own = scores[np.arange(len(scores)), split.test.targets]
    rank = (scores >= own[:, None]).sum(axis=1)
    return float(np.where(rank <= 10, 1 / np.log2(rank + 1), 0).mean())


def recent(split: Split, decay: float) -> np.ndarray:
    """(Q, I) weight decay**age of each item of the history."""
    out = np.zeros((len(split.test), split.train.n_items))
    for q in range(len(out)):
        history = split.test.queries.history(q)
        out[q, history] = decay ** np.arange(len(history))[::-1]
    return out


@pytest.mark.parametrize("seed", [0, 1])
def test_text_and_ids_beat_popularity_by_a_tenth(seed: int) -> None:
    """S0-01: NDCG@10 of a text model is at least popularity's + 0.10."""
    split = LeaveOneOut().split(Marketplace(seed=seed).load())
    weight = recent(split, 0.7)
    popular = quality(split, np.tile(split.train.counts, (len(weight), 1)))
    words = TfidfVectorizer(sublinear_tf=True).fit_transform(
        split.train.texts(("title", "description"))
    )
    words = words.toarray()
    text = quality(split, weight @ words @ words.T)
    owned = np.zeros((split.train.n_users, split.train.n_items))
    owned[split.train.events["user"].to_numpy(), split.train.event_items] = 1
    norm = np.sqrt(owned.sum(axis=0) + 10)
    near = owned.T @ owned / np.outer(norm, norm)
    np.fill_diagonal(near, 0)
    ids = quality(split, weight @ near)
    assert 0.01 < popular < 0.06
    assert text >= popular + 0.10
    assert ids >= popular + 0.10


def test_the_same_seed_gives_the_same_world_and_another_does_not() -> None:
    one, two, other = (Marketplace(seed=s, users=100, items=120).load() for s in (7, 7, 8))
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_shape_of_the_default_world(market: Dataset) -> None:
    assert (market.n_users, market.n_items) == (1200, 800)
    assert 15_000 < market.n_events < 20_000
    assert 10 <= np.median(np.diff(market.offsets)) <= 14
    assert np.diff(market.offsets).min() >= 3
    assert market.items["title"].n_unique() == 800
    assert market.items.columns == [
        "item_id", "title", "description", "categories", "provider", "born",
    ]  # fmt: skip
    assert set(market.items["categories"]) == set(TOPICS)
    assert set(market.users["group"]) == {"a", "b"}
    assert market.users["country"].n_unique() == 5


def test_it_is_labelled_synthetic(market: Dataset) -> None:
    assert market.synthetic
    assert market.name == "synthetic marketplace (seed 0)"
    assert market.notes[0].startswith("Synthetic:")


def test_nobody_buys_twice_or_before_an_item_is_on_offer(market: Dataset) -> None:
    assert not market.events.select("user", "item").is_duplicated().any()
    born = market.items["born"].to_numpy()[market.event_items]
    assert (market.events["time"].to_numpy() >= born).all()
    assert market.events.equals(market.events.sort("user", "time", maintain_order=True))


def test_some_items_are_new_and_popularity_has_a_head(market: Dataset) -> None:
    assert (market.counts == 0).sum() >= 20
    ordered = np.sort(market.counts)[::-1]
    assert ordered[:80].sum() > 0.25 * market.n_events  # a tenth of the items


def test_few_big_sellers_and_many_small_ones(market: Dataset) -> None:
    sizes = market.items["provider"].value_counts(sort=True)["count"].to_numpy()
    assert len(sizes) >= 40
    assert 0.5 < sizes[:4].sum() / 800 < 0.85
    assert np.median(sizes) <= 10


def test_groups_differ_in_what_they_buy(market: Dataset) -> None:
    topics = list(TOPICS)
    rare = market.items["categories"].is_in(topics[8:]).to_numpy()[market.event_items]
    group = (market.users["group"] == "b").to_numpy()[market.events["user"].to_numpy()]
    assert rare[group].mean() > rare[~group].mean() + 0.1


def test_tastes_drift() -> None:
    """With drift a user's first and last purchases share a topic less often."""

    def stay(drift: float) -> float:
        data = Marketplace(drift=drift).load()
        topic = data.items["categories"].to_numpy()[data.event_items]
        return float(np.mean(topic[data.offsets[:-1]] == topic[data.offsets[1:] - 1]))

    assert stay(0.0) > stay(1.0) + 0.1


def test_no_taste_leaves_popularity_alone() -> None:
    data = Marketplace(taste=1e-6, zipf=1.0, late_share=0.0, new_share=0.0).load()
    topic = pl.Series(data.items["categories"].to_numpy()[data.event_items])
    pairs = topic.to_numpy()
    follow = np.mean(pairs[1:] == pairs[:-1])  # by chance: sum of squared topic shares
    shares = topic.value_counts()["count"].to_numpy() / len(pairs)
    assert follow == pytest.approx(np.sum(shares**2), abs=0.02)


def test_it_is_quick() -> None:
    began = time.process_time()
    Marketplace(seed=11).load()
    assert time.process_time() - began < 4  # usually 0.6 s; it may share its core


def test_smallest_world_and_limits() -> None:
    assert Marketplace(users=2, items=60, median_events=3).load().n_events >= 6
    for wrong in ({"items": 59}, {"users": 1}, {"seed": -1}, {"drift": 1.5}, {"topics": 3}):
        with pytest.raises(ValidationError):
            Marketplace(**wrong)


def test_words_fit_together() -> None:
    assert len(TOPICS) == 12
    assert all(8 <= len(concepts) <= 10 for concepts in TOPICS.values())
    assert all(len(c) == 3 for concepts in TOPICS.values() for c in concepts)
    assert list(PLACES) == list(TOPICS)
    assert len(set(BRANDS)) == 3 * len(TOPICS)
    assert len(STYLES) == 6
    every = [word for concepts in TOPICS.values() for concept in concepts for word in concept]
    assert len(set(every)) == len(every)
