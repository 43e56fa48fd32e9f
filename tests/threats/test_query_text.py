"""Attacks on the words of a query: the same attacks as on items, in another court."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from hardrank.attacks import ATTACKS, BertAttack, GreedyWords
from hardrank.attacks.own_lm import OwnLM
from hardrank.attacks.transformations import MaskedLMReplace
from hardrank.audits.query_text import query_audit
from hardrank.context import RunContext
from hardrank.data import Dataset, Patch, Queries, RewriteItem, RewriteQuery, Slate
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.language.pretrain import Pretraining
from hardrank.models.text_retrieval import TextRetrieval
from hardrank.recommender import best, mask_seen
from hardrank.testing.attacks import overlap
from hardrank.testing.worlds import dataset
from hardrank.threats import Budget, Demote, Promote, ThreatModel, play_all
from hardrank.threats.query_text import QueryCourt, QueryPlan, query_plans
from hardrank.types import Ranks, Scores

TITLES = ["red lamp", "blue lamp", "green chair", "moon river", "velvet moon", "plain kettle"]


@dataclass(frozen=True, eq=False, kw_only=True)
class SharedWords:
    """Scores an item by how many of its words the query says."""

    items: pl.DataFrame
    asked: list[int]

    def score(self, queries: Queries, slate: Slate) -> Scores:
        assert queries.texts is not None
        self.asked.append(len(queries))
        words = [set(t.split()) for t in self.items["title"]]
        said = [set(t.split()) for t in queries.texts]
        out = np.array([[len(q & w) for w in words] for q in said], dtype=np.float32)
        return out.reshape(len(said), len(words))[:, slate.items]

    def top(self, queries: Queries, k: int) -> Ranks:
        everything = Slate(items=np.arange(self.items.height, dtype=np.int64))
        return best(mask_seen(self.score(queries, everything), queries), k)

    def on(self, items: pl.DataFrame) -> "SharedWords":
        return replace(self, items=items)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {}


def shop() -> tuple[SharedWords, Dataset]:
    data = dataset(TITLES, [[0], [1, 3, 4]])
    return SharedWords(items=data.items, asked=[]), data


def threat(goal: Any = None, **budget: Any) -> ThreatModel:
    return ThreatModel(
        goal=goal or Promote(k=1), surface="query-text", knowledge="scores",
        budget=Budget(**({"words": 2} | budget)),
    )  # fmt: skip


def court(text: str, item: str) -> tuple[QueryCourt, QueryPlan, SharedWords]:
    victim, data = shop()
    (plan,) = query_plans(data, Queries.of([[]], texts=[text]), [item])
    return QueryCourt.of(victim, data, [plan], overlap), plan, victim


def test_the_words_of_the_item_are_slipped_into_the_query() -> None:
    """`red lamp` brings a (2 words) before b (1). With `moon` and `river`, d has 2: a tie
    with a, which counts against d; nothing better is reached with two words."""
    here, plan, victim = court("red", "d")
    match = here.play(GreedyWords(), threat(), plan.name, 0)
    assert isinstance(match.patch.edits[0], RewriteQuery)
    assert {"moon", "river"} <= set(match.patch.edits[0].text.split())
    assert match.words == 2 and match.target == "0 > d"
    rows = query_audit(
        victim, shop()[1], [match], {plan.name: plan}, subject="m", seed=0, k=1
    ).to_dicts()
    assert (rows[0]["rank_before"], rows[0]["rank_after"], rows[0]["success"]) == (6.0, 1.0, True)
    assert rows[0]["text_before"] == "red"


def test_only_the_attacked_query_may_be_written() -> None:
    here, plan, _ = court("red", "d")
    for edit in (RewriteItem("d", "x"), RewriteQuery("1", "x")):
        with pytest.raises(FoulPlay, match="only query '0' may be written"):
            here.count(Patch((edit,)), threat(), Budget(words=1), plan.name, 0)
    with pytest.raises(FoulPlay, match="3 words changed, budget 1"):
        here.count(
            Patch((RewriteQuery("0", "red a b c"),)), threat(), Budget(words=1), plan.name, 0
        )


def test_what_cannot_be_attacked_is_refused() -> None:
    here, plan, _ = court("red", "d")
    with pytest.raises(DataError, match="no such match"):
        here.play(GreedyWords(), threat(), "7 > d", 0)
    with pytest.raises(DataError, match="have no text"):
        query_plans(shop()[1], Queries.of([[]]), ["d"])
    with pytest.raises(DataError, match="unknown target item 'zz'"):
        query_plans(shop()[1], Queries.of([[]], texts=["a"]), ["zz"])
    (copycat,) = play_all(
        here, [a() for a in ATTACKS if a.kind == "copycat"], threat(), targets=[plan.name]
    )
    assert copycat.error == "attack 'copycat' writes item-text, not query-text"


_QUICK = OwnLM(training=Pretraining(layers=1, size=32, steps=2))
_OTHERS = [a() for a in ATTACKS if "query-text" in a.surfaces and a is not BertAttack]


@pytest.mark.parametrize(
    "attack", [*_OTHERS, BertAttack(words=MaskedLMReplace(model=_QUICK))], ids=lambda a: a.kind
)  # type: ignore[attr-defined]
def test_every_attack_on_queries_stays_inside_its_budget(
    attack: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S0-03: 60 random queries each; the referee would raise."""
    monkeypatch.setenv("HARDRANK_CACHE", str(tmp_path))
    rng = np.random.default_rng(0)
    words = [*{w for t in TITLES for w in t.split()}, "苹果", "👍", "مرحبا"]
    for case in range(60):
        text = " ".join(rng.choice(words, size=rng.integers(0, 5)))
        here, plan, _ = court(text, str(rng.choice(list("abcdef"))))
        goal = Promote(k=1) if rng.random() < 0.5 else Demote(k=1)
        limits = {"words": int(rng.integers(0, 3)), "queries": int(rng.integers(0, 30))}
        (match,) = play_all(here, [attack], threat(goal, **limits), targets=[plan.name], seed=case)
        assert match.words <= limits["words"] and match.queries <= limits["queries"]
        if limits["words"] == 0:
            assert not match.patch


def test_text_retrieval_ranks_by_what_is_asked(tmp_path: Any) -> None:
    """The frozen encoder alone finds the item, and one word of the query turns the list."""
    data = dataset(TITLES, [[0, 5], [1, 3]])
    model = TextRetrieval().fit(data, RunContext(cache=tmp_path))
    queries = Queries.of([[], []], texts=["a chair in green", "something by moonlight on a river"])
    assert model.top(queries, 1)[:, 0].tolist() == [2, 3]
    (plan,) = query_plans(data, queries.take(np.array([0])), ["f"])
    match = QueryCourt.of(model, data, [plan]).play(GreedyWords(), threat(), plan.name, 0)
    rows = query_audit(model, data, [match], {plan.name: plan}, subject="m", seed=0, k=1)
    assert rows["rank_after"][0] < rows["rank_before"][0]
    again = TextRetrieval().restore(model.arrays(), data.items, RunContext(cache=tmp_path))
    slate = Slate(items=np.arange(6))
    assert np.array_equal(again.score(queries, slate), model.score(queries, slate))
    with pytest.raises(Unsupported, match="give queries texts"):
        model.score(Queries.of([[]]), slate)


def test_queries_carry_their_texts() -> None:
    queries = Queries.of([[1], [2]], texts=["a", "b"])
    assert queries.take(np.array([1])).texts == ("b",)
    assert queries.fingerprint != Queries.of([[1], [2]], texts=["a", "c"]).fingerprint
    assert queries.fingerprint != Queries.of([[1], [2]]).fingerprint


def test_ties_count_against_the_item() -> None:
    """`lamp` is said by a and b alike: each of them stands second."""
    for item in ("a", "b"):
        here, plan, _ = court("lamp", item)
        asked = replace(threat(), knowledge="ranks")
        view, _, meter = here.open(GreedyWords(), asked, asked.budget, plan.name)
        assert view.standing_ranks(item).tolist() == [2] and meter.spent == 0
        assert view.ranks(item, ["red lamp"]).tolist() == [[1 if item == "a" else 2]]
        assert meter.spent == 1
