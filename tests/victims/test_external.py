"""A ranker that is asked is the ranker itself: scores, ranks, matches, audits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hardrank.attacks import Copycat, GreedyWords
from hardrank.audits.promotion import promotion
from hardrank.context import RunContext
from hardrank.data import Dataset, Queries, Slate
from hardrank.errors import Unsupported, VictimError
from hardrank.recommender import mask_seen
from hardrank.testing import RecommenderContract, World, planted_world, random_world
from hardrank.threats import Budget, Promote, ThreatModel, digest_victim, mount_all
from hardrank.threats.panel import watch
from hardrank.types import Scores
from hardrank.victims import External, Line
from hardrank.victims.call import CallPort


@dataclass(frozen=True, eq=False)
class Ranker:
    """A world's victim as somebody else would write it; `apart` tells equal items apart by a
    little, so that an order says as much as scores do."""

    world: World
    apart: float = 0.0
    n: int | None = None
    """Answer the ids of the n best instead of scores; 0 for all."""

    def __call__(
        self, histories: list[list[str]], items: list[dict[str, Any]], users: list[str | None]
    ) -> Any:
        rows = self.world.data.item_rows
        numbers = [self.world.data.user_rows[u] if u else -1 for u in users]
        queries = Queries.of([[rows[i] for i in h] for h in histories], numbers)
        texts = [item["text"]["title"] for item in items]
        scores = self.scores(queries, [rows[item["item_id"]] for item in items], texts)
        if self.n is None:
            return scores.tolist()
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self.n or None]
        return [[items[c]["item_id"] for c in row] for row in order.tolist()]

    def scores(self, queries: Queries, rows: list[int], texts: list[str]) -> Scores:
        tastes = self.world.victim.tastes(queries)
        found = tastes @ self.world.victim.counts(texts).T + self.apart * np.array(rows)
        return np.asarray(found, dtype=np.float32)


def external(ranker: Ranker, **more: Any) -> External:
    world = ranker.world
    port = CallPort(function=ranker, name="world:rank")
    answers: Any = "scores" if ranker.n is None else "ranks"
    line = Line(port=port, answers=answers, identity="one", **more)
    return External(items=world.data.items, users=world.data.users["user_id"].to_list(), line=line)


def promote(knowledge: Any, **budget: Any) -> ThreatModel:
    return ThreatModel(goal=Promote(k=2), knowledge=knowledge, budget=Budget(**budget))


seeds = st.integers(0, 10_000)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, queries=st.integers(1, 9), candidates=st.integers(1, 14))
def test_scores_are_the_rankers_own_in_whatever_batches(
    seed: int, queries: int, candidates: int
) -> None:
    world = random_world(np.random.default_rng(seed))
    victim = external(Ranker(world), queries=queries, candidates=candidates)
    every = Slate(items=np.arange(world.data.n_items))
    assert np.array_equal(victim.score(world.panel, every), world.victim.score(world.panel, every))
    assert np.array_equal(victim.top(world.panel, 3), world.victim.top(world.panel, 3))
    row = world.data.item_rows[world.target]
    slate = Slate(items=np.full(3, row), texts=("", "moon", "sebako 7th"))
    assert np.array_equal(victim.score(world.panel, slate), world.victim.score(world.panel, slate))


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_matches_and_audits_are_those_of_the_ranker_itself(seed: int) -> None:
    world = random_world(np.random.default_rng(seed))
    found = []
    for victim in (world.victim, external(Ranker(world))):
        matches = mount_all(
            [Copycat(), GreedyWords(vocabulary=6)],
            promote("scores", words=2, queries=60, whole_text=True),
            victim, world.data, panel=world.panel, targets=[world.target],
        )  # fmt: skip
        samples = promotion(victim, matches, world.panel, subject="x", seed=0, k=2)
        found.append(([m.patch for m in matches], samples.drop("seconds")))
    assert found[0][0] == found[1][0]
    assert found[0][1].equals(found[1][1])


@settings(max_examples=80, deadline=None)
@given(seed=seeds, data=st.data())
def test_ranks_of_a_victim_that_answers_ranks_are_exact(seed: int, data: st.DataObject) -> None:
    """Against the slow twin: rank the whole catalogue with the text changed, and count."""
    world = random_world(np.random.default_rng(seed))
    n = data.draw(st.sampled_from([0, 1, 2, 5]))
    ranker = Ranker(world, apart=2**-8, n=n)
    victim, row = external(ranker), world.data.item_rows[world.target]
    words = [*world.victim.words, ""]
    texts = [" ".join(data.draw(st.lists(st.sampled_from(words), max_size=4))) for _ in range(3)]
    texts.append(world.data.items["title"][row])
    lists = watch(victim, world.panel)
    people = lists.eligible(row)
    if not len(people):
        return
    slate = Slate(items=np.full(len(texts), row), texts=tuple(texts))
    ranks = lists.ranks(row, victim.score(world.panel.take(people), slate))
    titles = world.data.items["title"].to_list()
    for t, text in enumerate(texts):
        changed = [text if i == row else title for i, title in enumerate(titles)]
        queries = world.panel.take(people)
        truth = ranker.scores(queries, list(range(len(titles))), changed)
        whole = np.argsort(np.argsort(-truth, axis=1, kind="stable"), axis=1)[:, row]
        mask_seen(truth, queries)
        unseen = np.isfinite(truth).sum(axis=1)
        expected = 1 + (truth > truth[:, [row]]).sum(axis=1)
        expected = np.where((whole >= n) & (n > 0), unseen, expected)
        assert ranks[:, t].tolist() == expected.tolist()


def test_the_planted_world_by_ranks_alone() -> None:
    """Copied, 'moon river' brings the target to ranks 1, 2, 2, as a person works it out."""
    world = planted_world()
    victim = external(Ranker(world, apart=-1e-3, n=0))
    (match,) = mount_all(
        [Copycat()], promote("ranks", words=0, whole_text=True), victim, world.data,
        panel=world.panel, targets=["f"],
    )  # fmt: skip
    assert match.patch.rewrites()["f"].text == world.best_title
    assert match.error is None


def test_ties_count_against_the_target() -> None:
    """All scores equal: the target is last among the unseen items, before and after."""
    world = planted_world()

    def flat(histories: list[Any], items: list[Any]) -> list[list[float]]:
        return [[1.0] * len(items) for _ in histories]

    line = Line(port=CallPort(function=flat, name="flat"), answers="scores", identity="one")
    victim = External(items=world.data.items, users=("u0", "u1", "u2", "u3"), line=line)
    lists = watch(victim, world.panel)
    row = world.data.item_rows["f"]
    people = lists.eligible(row)
    slate = Slate(items=np.array([row]), texts=("moon",))
    ranks = lists.ranks(row, victim.score(world.panel.take(people), slate))
    assert ranks[:, 0].tolist() == [4, 4, 4]  # of 4 unseen items each


def test_a_field_that_is_not_sent_cannot_be_rewritten() -> None:
    victim = external(Ranker(planted_world()))
    slate = Slate(items=np.array([0]), texts=("x",), field="description")
    with pytest.raises(Unsupported, match="not sent the field 'description'"):
        victim.score(Queries.of([[1]]), slate)


def test_who_it_is_follows_answers_and_catalogue() -> None:
    world = planted_world()
    one, same = external(Ranker(world)), external(Ranker(world))
    assert digest_victim(one) == digest_victim(same)
    titles = world.data.items.with_columns(pl.lit("x").alias("title"))
    assert digest_victim(one.on(titles)) != digest_victim(one)
    one.line.port.traffic.requests = 0
    digest_victim(one)
    assert one.line.port.traffic.requests == 0, "the digest asked the victim"


def test_a_budget_is_spent_to_the_last_score_and_not_beyond() -> None:
    world = planted_world()
    victim = external(Ranker(world), budget=4 * 6 + 1)
    every = Slate(items=np.arange(6))
    victim.score(world.panel, every)
    assert victim.line.spent == 24
    victim.score(world.panel.take(np.array([0])), Slate(items=np.array([2])))
    with pytest.raises(VictimError, match=r"25 scores asked for, 6 more wanted.*query_budget = 25"):
        victim.score(world.panel.take(np.array([0])), every)
    assert victim.line.spent == 25


def test_a_victim_that_changes_what_it_answers_is_refused() -> None:
    world = planted_world()
    port = CallPort(function=Ranker(world, n=0), name="world:rank")
    line = Line(port=port, answers="scores", identity="one")
    victim = External(items=world.data.items, users=("u0", "u1", "u2", "u3"), line=line)
    with pytest.raises(VictimError, match="answered ranks after it had answered scores"):
        victim.score(world.panel, Slate(items=np.arange(6)))


def test_repeats_are_averaged() -> None:
    world = planted_world()
    asked: list[int] = []

    def drifting(histories: list[Any], items: list[Any]) -> list[list[float]]:
        asked.append(len(asked))
        return [[float(asked[-1] + c) for c in range(len(items))] for _ in histories]

    line = Line(
        port=CallPort(function=drifting, name="d"), answers="scores", identity="one", repeats=4
    )
    victim = External(items=world.data.items, users=("u0", "u1", "u2", "u3"), line=line)
    scores = victim.score(Queries.of([[0]]), Slate(items=np.array([0, 1])))
    assert scores.tolist() == [[1.5, 2.5]]  # means of 0..3 and 1..4
    assert line.spent == 2 * 4


class _Fitted:
    """Fits the words of a history, and is then asked from outside."""

    kind = "asked"

    def fit(self, train: Dataset, run: RunContext, **_: Any) -> External:
        words = tuple(sorted({w for t in train.texts() for w in t.split()}))
        place = {w: n for n, w in enumerate(words)}

        def rank(histories: list[list[str]], items: list[dict[str, Any]]) -> Any:
            def counts(texts: list[str]) -> NDArray[np.float64]:
                out = np.zeros((len(texts), len(words)))
                for n, text in enumerate(texts):
                    for w in text.split():
                        out[n, place.get(w, 0)] += w in place
                return out

            titles = dict(train.items.select("item_id", "title").iter_rows())
            tastes = counts([" ".join(titles[i] for i in h) for h in histories])
            return tastes @ counts([item["text"]["title"] for item in items]).T

        port = CallPort(function=rank, name="asked:rank")
        line = Line(port=port, answers="scores", identity="one", queries=7, candidates=10)
        return External(items=train.items, users=train.users["user_id"].to_list(), line=line)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> External:
        from hardrank.testing.recommenders import toy_market

        assert not arrays
        return self.fit(toy_market(), run)


class TestExternalContract(RecommenderContract):
    """What audits and attacks rely on holds for a victim from outside."""

    spec: ClassVar[Any] = _Fitted()
    tolerance = 0
