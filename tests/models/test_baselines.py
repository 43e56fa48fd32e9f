"""Baselines: popularity, item-kNN, TF-IDF, their hybrid, BPR-MF."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.data.sources import MovieLens, Sequences
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.errors import BundleError, SchemaError, Unsupported
from hardrank.metrics.ranking import hit, ndcg
from hardrank.models.bpr_mf import BprMf
from hardrank.models.common import (
    dot_scores,
    holdout_ndcg,
    slate_texts,
    target_ranks,
    tiles,
    top_of,
    whole,
)
from hardrank.models.item_knn import ItemKnn
from hardrank.models.knn_tfidf import KnnTfidf
from hardrank.models.popularity import Popularity
from hardrank.models.textspace import TextSpace
from hardrank.models.tfidf import Tfidf
from hardrank.testing import RecommenderContract, dataset, toy_market

RUN = RunContext()
SPECS: tuple[Any, ...] = (
    Popularity(),
    ItemKnn(),
    Tfidf(),
    KnnTfidf(),
    BprMf(size=8, epochs=2, batch_size=32),
)


class TestPopularityContract(RecommenderContract):
    spec = Popularity()
    tolerance = 0.0


class TestItemKnnContract(RecommenderContract):
    spec = ItemKnn()
    tolerance = 0.0


class TestTfidfContract(RecommenderContract):
    spec = Tfidf()
    tolerance = 0.0


class TestKnnTfidfContract(RecommenderContract):
    spec = KnnTfidf()
    tolerance = 0.0


class TestBprMfContract(RecommenderContract):
    spec = BprMf(size=8, epochs=3, batch_size=32)
    tolerance = 0.0


# What each model is, worked out by hand


def test_popularity_counts_training_events() -> None:
    model = Popularity().fit(dataset(["a", "b", "c"], [[0, 1], [1], [1, 2]]), RUN)
    scores = model.score(Queries.of([[], [1]]), Slate(items=np.array([2, 1, 0])))
    assert scores.tolist() == [[1, 3, 1], [1, 3, 1]]


def test_item_knn_is_the_decayed_sum_of_cosines() -> None:
    """Item 0: users 0, 1. Item 1: users 0, 1, 2. Item 2: user 2. A repetition counts once."""
    data = dataset(["a", "b", "c"], [[0, 1, 0], [1, 0], [1, 2]])
    model = ItemKnn(decay=0.5).fit(data, RUN)
    near, far = 2 / np.sqrt(6), 1 / np.sqrt(3)
    scores = model.score(Queries.of([[0], [2, 0], [1]]), whole(data.items))
    expected = [[0, near, 0], [0, near + 0.5 * far, 0], [near, 0, far]]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_tfidf_reads_the_rewritten_text_with_the_idf_of_the_fit() -> None:
    data = dataset(["red lamp", "red lamp", "blue kettle"], [[0], [1], [2]])
    model = Tfidf().fit(data, RUN)
    slate = Slate(items=np.array([2, 2, 2]), texts=("red lamp", "unheard of", "blue kettle"))
    scores = model.score(Queries.of([[0]]), slate)
    np.testing.assert_allclose(scores, [[1, 0, 0]], atol=1e-6)


def test_hybrid_is_the_sum_of_its_parts() -> None:
    data = toy_market()
    queries, slate = data.histories(), whole(data.items)
    together = KnnTfidf(decays=(0.6,), mixes=(0.3,)).fit(data, RUN).score(queries, slate)
    knn = ItemKnn(decay=0.6).fit(data, RUN).score(queries, slate)
    text = Tfidf(decay=0.6).fit(data, RUN).score(queries, slate)
    np.testing.assert_allclose(together, knn + np.float32(0.3) * text, rtol=1e-6)


def test_hybrid_chooses_what_validates_best() -> None:
    """The chosen pair is the best of all pairs, each fitted and measured alone."""
    split = LeaveOneOut().split(toy_market())
    decays, mixes = (0.9, 0.4), (0.0, 5.0, 0.5)
    chosen = KnnTfidf(decays=decays, mixes=mixes).fit(split.train, RUN, valid=split.valid)
    found = {
        (d, m): holdout_ndcg(KnnTfidf(decays=(d,), mixes=(m,)).fit(split.train, RUN), split.valid)
        for d in decays
        for m in mixes
    }
    assert found[chosen.decay, chosen.mix] == max(found.values()) > min(found.values())
    again = KnnTfidf(decays=decays, mixes=mixes).restore(chosen.arrays(), split.train.items, RUN)
    assert (again.decay, again.mix) == (chosen.decay, chosen.mix)


def checkerboard(users: int = 20, items: int = 16) -> Dataset:
    """Even users take even items, odd users odd ones; each lacks one of its colour."""
    histories = [
        [i for i in range(items) if i % 2 == u % 2 and i // 2 != u // 2 % (items // 2)]
        for u in range(users)
    ]
    return dataset([f"item{i}" for i in range(items)], histories)


@pytest.mark.parametrize(
    "spec", [ItemKnn(), BprMf(size=8, epochs=60, batch_size=16, learning_rate=0.02)], ids=str
)
@pytest.mark.parametrize("known", [True, False], ids=["known users", "new users"])
def test_checkerboard_has_one_right_answer(spec: Any, known: bool) -> None:
    """The one unseen item of the user's colour comes first (S3-11: each beats popularity)."""
    data = checkerboard()
    queries = data.histories()
    missing = np.array([2 * (u // 2 % 8) + u % 2 for u in range(data.n_users)])
    if not known:
        queries = replace(queries, users=np.full(len(queries), -1))
    model = spec.fit(data, RunContext(seed=1))
    assert model.top(queries, 1)[:, 0].tolist() == missing.tolist()
    holdout = Holdout(queries=queries, targets=missing)
    assert holdout_ndcg(model, holdout) == 1.0 > holdout_ndcg(Popularity().fit(data, RUN), holdout)


def test_bpr_answers_a_known_user_from_its_factors() -> None:
    """The history of a known user is not read; that of a user without training events is."""
    data = dataset(["a", "b", "c", "d"], [[0, 1], [2, 3], []])
    model = BprMf(size=4, epochs=1).fit(data, RUN)
    slate = whole(data.items)
    first, other = (model.score(Queries.of([h], users=[0]), slate) for h in ([0, 1], [3]))
    assert np.array_equal(first, other)
    mean = model.score(Queries.of([[2, 3], [2, 3]], users=[2, -1]), slate)
    assert np.array_equal(mean[0], mean[1])
    folded = model.factors[[2, 3]].mean(axis=0) @ model.factors.T + model.biases
    np.testing.assert_allclose(mean[0], folded, rtol=1e-5, atol=1e-7)
    assert np.array_equal(model.score(Queries.of([[]]), slate)[0], model.biases)


def test_bpr_stops_and_keeps_the_best_epoch() -> None:
    split = LeaveOneOut().split(toy_market())
    spec = BprMf(size=8, epochs=12, batch_size=16, learning_rate=0.05, patience=2)
    chosen = spec.fit(split.train, RUN, valid=split.valid)
    by_epoch = [
        holdout_ndcg(replace(spec, epochs=n).fit(split.train, RUN), split.valid)
        for n in range(1, 13)
    ]
    waited = next(n for n in range(12) if n - int(np.argmax(by_epoch[: n + 1])) >= 2)
    assert waited < 11, "the test is void unless it stops early"
    assert holdout_ndcg(chosen, split.valid) == max(by_epoch[: waited + 1])


def test_bpr_begins_from_given_weights() -> None:
    data = toy_market()
    begun = BprMf(size=8, epochs=20, learning_rate=0.01).fit(data, RUN)
    tiny = BprMf(size=8, epochs=1, learning_rate=1e-12)
    np.testing.assert_allclose(tiny.fit(data, RUN, start=begun).factors, begun.factors, atol=1e-6)
    assert np.abs(tiny.fit(data, RUN).factors - begun.factors).max() > 0.01
    with pytest.raises(Unsupported, match="equal shape"):
        BprMf(size=4).fit(data, RUN, start=begun)


def test_bpr_survives_a_user_who_has_everything() -> None:
    model = BprMf(size=4, epochs=2).fit(dataset(["a", "b"], [[0, 1], [0]]), RUN)
    assert all(np.isfinite(a).all() for a in model.arrays().values())
    assert model.top(Queries.of([[0, 1]]), 2).tolist() == [[-1, -1]]


# What they refuse


class _Named:
    kind = "adversarial"


@pytest.mark.parametrize(
    "spec", [s for s in SPECS if not isinstance(s, BprMf)], ids=lambda s: str(s.kind)
)
def test_an_objective_is_refused(spec: Any) -> None:
    """By all that are counted, not trained; what BPR-MF does with one is in test_bpr.py."""
    with pytest.raises(Unsupported, match=f"{spec.kind}.*'adversarial' would have no effect"):
        spec.fit(toy_market(), RUN, objective=_Named())


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: str(s.kind))
def test_another_catalogue_is_refused(spec: Any) -> None:
    model = spec.fit(toy_market(), RUN)
    with pytest.raises(SchemaError, match="other items or another order"):
        model.on(model.items.reverse())


@pytest.mark.parametrize("spec", [s for s in SPECS if s.kind != "popularity"] + [Popularity()],
                         ids=lambda s: str(s.kind))  # fmt: skip
def test_a_missing_array_is_named(spec: Any) -> None:
    arrays = spec.fit(toy_market(), RUN).arrays()
    gone = next(iter(arrays))
    del arrays[gone]
    with pytest.raises(BundleError, match=f"'{gone}' is missing"):
        spec.restore(arrays, toy_market().items, RUN)


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(SchemaError, match=r"no field 'blurb'.*it has: item_id, title"):
        Tfidf(fields=("blurb",)).fit(toy_market(), RUN)


@pytest.mark.parametrize("empty", [{"decays": ()}, {"mixes": ()}])
def test_a_hybrid_without_choices_is_refused(empty: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        KnnTfidf(**empty)  # type: ignore[arg-type]


# Shared parts


ITEMS = pl.DataFrame(
    {"item_id": ["a", "b"], "title": ["red lamp", None], "brand": ["", "acme"], "price": [1, 2]}
)


def test_slate_texts_puts_a_rewrite_among_the_other_fields() -> None:
    rewrite = Slate(items=np.array([1, 0, 1]), texts=("x", "y", ""))
    assert slate_texts(ITEMS, whole(ITEMS), ("title", "brand")) == ["red lamp", "acme"]
    assert slate_texts(ITEMS, rewrite, ("title", "brand")) == ["x . acme", "y", "acme"]
    assert slate_texts(ITEMS, rewrite, ("brand", "title")) == ["acme . x", "y", "acme"]
    assert slate_texts(ITEMS, replace(rewrite, field="brand"), ("title",)) == ["", "red lamp", ""]
    assert slate_texts(ITEMS, replace(rewrite, field="price"), ("price",)) == ["x", "y", ""]
    with pytest.raises(SchemaError, match="rewrites 'blurb'"):
        slate_texts(ITEMS, replace(rewrite, field="blurb"), ("title",))


@given(st.lists(st.text(alphabet="abAB1_ é-\n", max_size=24), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_text_vectors_equal_scikit_learns(texts: list[str]) -> None:
    items = pl.DataFrame({"item_id": [str(n) for n in range(len(texts))], "title": texts})
    space = TextSpace.fitted(items, ("title",))
    if not space.columns:
        assert space.vectors.nnz == 0
        return
    oracle = TfidfVectorizer(sublinear_tf=True)
    expected = oracle.fit_transform(texts).toarray()
    assert list(space.columns) == oracle.get_feature_names_out().tolist()
    np.testing.assert_allclose(space.vectors.toarray(), expected, atol=1e-12)


def test_text_space_reads_again_only_what_changed() -> None:
    """The updated vectors are those of a space made from scratch with the same vocabulary."""
    data = toy_market()
    space = TextSpace.fitted(data.items, ("title",))
    titles = data.items["title"].to_list()
    titles[3], titles[20] = titles[5], "nothing known here"
    items = data.items.with_columns(pl.Series("title", titles))
    moved = space.on(items)
    scratch = TextSpace.restored(space.arrays(), items, ("title",))
    assert (moved.vectors != scratch.vectors).nnz == 0
    assert moved.vectors[20].nnz == 0 < space.vectors[20].nnz


@given(st.integers(1, 130), st.integers(1, 600), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_dot_scores_do_not_depend_on_companions(q: int, i: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = (rng.normal(size=(n, d)).astype(np.float32) for n in (q, i))
    scores = dot_scores(left, right)
    np.testing.assert_allclose(scores, left @ right.T, rtol=1e-4, atol=1e-5)
    rows, columns = rng.permutation(q)[: q // 2 + 1], rng.permutation(i)[: i // 3 + 1]
    part = dot_scores(left[rows], right[columns])
    assert np.array_equal(part, scores[np.ix_(rows, columns)])


def test_tiles_cover_every_query_once() -> None:
    parts = tiles(1000, 50_000)
    assert len(parts) > 1
    assert np.concatenate(parts).tolist() == list(range(1000))
    assert [len(p) for p in tiles(3, 10**9)] == [1, 1, 1]
    assert tiles(0, 5) == []


def test_ties_count_against_the_model() -> None:
    """A constant model ranks every target last among the unseen items."""
    data = dataset(["a"] * 5, [[0], [1], [2], [3], [4]])
    model = Popularity().fit(data, RUN)
    holdout = Holdout(queries=Queries.of([[0, 1], [], [3]]), targets=np.array([2, 0, 1]))
    assert target_ranks(model, holdout).tolist() == [3, 5, 4]
    assert top_of(model, holdout.queries, 9).tolist() == [
        [2, 3, 4, -1, -1],
        [0, 1, 2, 3, 4],
        [0, 1, 2, 4, -1],
    ]


# Real data


def _beauty(folder: Path) -> Split:
    """With titles as published: the reader resolves entities such as `&quot;`, of which the
    published figures made words."""
    items = folder / "amazon-beauty/derived/items.jsonl"
    source = Sequences(path=folder / "amazon-beauty/raw/sequential_data.txt", items=items)
    data = source.load()
    titles = [json.loads(line)["title"] for line in items.read_text("utf-8").splitlines()]
    raw = data.items.with_columns(pl.Series("title", titles))
    return LeaveOneOut().split(replace(data, items=raw))


def _quality(spec: Any, split: Split) -> tuple[float, float]:
    """HR@10 and NDCG@10 to four digits."""
    model = spec.fit(split.train, RUN, valid=split.valid)
    ranks = target_ranks(model, split.test)
    return round(float(hit(ranks, 10).mean()), 4), round(float(ndcg(ranks, 10).mean()), 4)


@pytest.mark.slow
def test_published_strength_on_beauty(data_folder: Path) -> None:
    """S3-11: training-free baselines at their measured strength, and the hybrid above each
    part. Leave-one-out, full ranking, seen items removed, ties against the model."""
    split = _beauty(data_folder)
    assert (len(split.test), split.train.n_items) == (22_363, 12_101)
    fields = ("title", "categories")
    assert _quality(Popularity(), split) == (0.0110, 0.0053)
    assert _quality(ItemKnn(), split) == (0.0643, 0.0391)
    assert _quality(Tfidf(fields=fields), split) == (0.0694, 0.0419)
    hybrid = KnnTfidf(fields=fields, decays=(0.7,), mixes=(0.3, 0.6))
    assert _quality(hybrid, split) == (0.0956, 0.0564)


@pytest.mark.slow
def test_published_strength_on_movielens(data_folder: Path) -> None:
    """RecBole's BPR reaches NDCG@10 0.0496 and its popularity 0.04 in the same protocol."""
    split = LeaveOneOut().split(MovieLens(path=data_folder / "ml-100k/raw").load())
    assert _quality(ItemKnn(), split)[1] >= 0.098
    assert _quality(BprMf(epochs=50), split)[1] >= 0.055
