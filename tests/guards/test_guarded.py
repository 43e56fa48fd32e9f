"""A guarded recommender is a recommender: what attacks win through a guard."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.attacks import Copycat, GreedyWords
from hardrank.audits.promotion import promotion
from hardrank.data import Patch, RewriteItem, Slate
from hardrank.errors import DataError, FoulPlay, SchemaError, Unsupported
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.guarded import Guarded
from hardrank.guards.pipeline import Pipeline
from hardrank.guards.shadow import FittedShadowRanking, ShadowRanking
from hardrank.recommender import Recommender
from hardrank.testing import planted_world
from hardrank.threats import Budget, Match, Promote, ThreatModel, digest_victim, mount

WORLD = planted_world()
QUERIES = WORLD.panel


@dataclass(frozen=True)
class Without:
    """Holds listings with any of `held` words, leaves out `mended` ones."""

    held: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()
    seen: list[Listing] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "without"

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        self.seen.extend(listings)
        return [self._one(listing) for listing in listings]

    def arrays(self) -> dict[str, Any]:
        return {"n": np.array([len(self.held)])}

    def _one(self, listing: Listing) -> Verdict:
        words = listing.text.split()
        if set(self.held) & set(words):
            return Verdict("quarantine", self.kind, 1.0, "a word that is not wanted")
        fields = {
            name: " ".join(w for w in text.split() if w not in self.mended)
            for name, text in listing.fields.items()
        }
        if fields != listing.fields:
            return Verdict("mend", self.kind, 0.5, "a word left out", fields)
        return admit(self.kind)


def guarded(guard: Any) -> Guarded:
    return Guarded.of(WORLD.victim, guard, counts=WORLD.data.counts, queries=QUERIES)


def play(attack: Any, victim: Any, **limits: Any) -> Match:
    threat = ThreatModel(goal=Promote(k=2), budget=Budget(**limits))
    return mount(attack, threat, victim, WORLD.data, panel=QUERIES, target="f")


def exposure(victim: Recommender, match: Match) -> float:
    found = promotion(victim, [match], QUERIES, subject="x", seed=0, k=2)
    return float(found["hits_after"][0] / found["eligible"][0])


def scores(victim: Recommender, *texts: str, row: int = 5) -> Any:
    rows = np.full(len(texts), row)
    return victim.score(QUERIES, Slate(items=rows, texts=texts)).tolist()


def test_held_mended_and_admitted_texts() -> None:
    """Held: the standing 'plain dusty' is ranked; mended: 'velvet' without 'moon'."""
    shop = guarded(Without(held=("river",), mended=("moon",)))
    assert isinstance(shop, Recommender)
    base = WORLD.victim
    asked = ("moon river", "moon velvet", "velvet", "plain dusty", "moon")
    live = ("plain dusty", "velvet", "velvet", "plain dusty", "")
    assert scores(shop, *asked) == scores(base, *live)
    verdicts = shop.verdicts(Slate(items=np.full(5, 5), texts=asked))
    assert [v.action if v else None for v in verdicts] == [
        "quarantine", "mend", "admit", None, "mend"
    ]  # fmt: skip
    whole = Slate(items=np.arange(6))
    assert shop.score(QUERIES, whole).tolist() == base.score(QUERIES, whole).tolist()
    assert shop.top(QUERIES, 3).tolist() == base.top(QUERIES, 3).tolist()
    assert shop.verdicts(whole) == [None] * 6


def test_the_guard_is_told_what_stands_and_what_it_earned() -> None:
    """And asked once for each text, however often an attack or an audit looks."""
    guard = Without()
    shop = guarded(guard)
    slate = Slate(items=np.array([5, 0]), texts=("moon", "plain"))
    for part in (slate, slate, replace(slate), Slate(items=np.array([5]), texts=("moon",))):
        shop.score(QUERIES, part)
    assert guard.seen == [
        Listing("f", {"title": "moon"}, {"title": "plain dusty"}, events=1),
        Listing("a", {"title": "plain"}, {"title": "silver lantern"}, events=3),
    ]


def test_a_catalogue_that_its_sellers_rewrite() -> None:
    shop = guarded(Without(held=("river",), mended=("moon",)))
    titles = ["silver lantern", "moon river river", "moon kettle", "velvet", "dusty kettle", ""]
    live = shop.on(shop.items.with_columns(title=pl.Series(titles)))
    assert live.items["title"].to_list() == [
        "silver lantern", "moon river", "kettle", "velvet", "dusty kettle", ""
    ]  # fmt: skip
    assert shop.items["title"].to_list() == WORLD.data.items["title"].to_list()
    assert scores(live, "plain river") == scores(WORLD.victim, "")
    assert live.shop.recommender is live.recommender
    other = shop.items.with_columns(item_id=pl.Series(list("uvwxyz")))
    assert shop.on(shop.items).items.equals(shop.items)
    with pytest.raises(DataError):
        shop.on(other)


def test_attacks_get_less_through_a_guard_and_adapt_to_it() -> None:
    """S0-29, S1-03. Bare, one word wins 'moon' and one of the three users. Through a guard that
    holds 'moon' the same attack finds that it gains nothing, takes 'velvet', and wins none."""
    shop = guarded(Without(held=(WORLD.best_word,)))
    bare, through = (play(GreedyWords(), v, words=1) for v in (WORLD.victim, shop))
    assert bare.patch == Patch((RewriteItem("f", "moon plain dusty"),))
    assert through.patch == Patch((RewriteItem("f", "velvet plain dusty"),))
    assert through.queries == bare.queries == 14
    assert exposure(WORLD.victim, bare) == pytest.approx(1 / 3)
    assert exposure(shop, bare) == 0.0  # replayed, not adapted
    assert exposure(shop, through) == 0.0


def test_an_attack_that_stays_below_the_gate_wins_what_the_gate_lets_through() -> None:
    """Honest: a gate that holds what shows f to more than 0.4 of the users stops the copy of
    'moon river', which wins them all, and not that of 'silver lantern', which wins one of three."""
    gate = FittedShadowRanking(
        spec=ShadowRanking(k=2),
        knots=np.zeros(1),
        levels=np.array([0.4]),
        newcomer=0.4,
        rise=1.0,
    )
    shop = guarded(Pipeline((Without(), gate)))
    bare, through = (play(Copycat(), v, whole_text=True) for v in (WORLD.victim, shop))
    assert bare.patch.rewrites()["f"].text == WORLD.best_title
    assert exposure(WORLD.victim, bare) == 1.0
    assert exposure(shop, bare) == 0.0
    assert through.patch.rewrites()["f"].text == "silver lantern"
    assert exposure(shop, through) == pytest.approx(1 / 3)
    (verdict,) = shop.verdicts(Slate(items=np.array([5]), texts=("moon river",)))
    assert verdict is not None and "ER@2 moves from 0.000 to 1.000" in verdict.reason


def test_no_gradients_through_a_guard() -> None:
    shop = guarded(Without())
    for name in ("sites", "surface", "text_gradient", "word_embeddings", "forecast", "relaxed"):
        assert not hasattr(shop, name)
    threat = ThreatModel(goal=Promote(k=2), knowledge="gradients", budget=Budget(words=1))
    with pytest.raises(Unsupported, match="this victim shows scores"):
        mount(GreedyWords(), threat, shop, WORLD.data, panel=QUERIES, target="f")


def test_another_guard_is_another_victim_and_asking_changes_none() -> None:
    shop = guarded(Without(held=("moon",)))
    before = digest_victim(shop)
    scores(shop, "moon", "velvet")
    assert digest_victim(shop) == before != digest_victim(guarded(Without()))
    arrays = guarded(Pipeline((Without(), Without(held=("moon",))))).arrays()
    base, guard = Guarded.parted(arrays)
    assert base.keys() == WORLD.victim.arrays().keys()
    assert {name: a.tolist() for name, a in guard.items()} == {"0.n": [0], "1.n": [1]}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SchemaError, match="no field 'brand'"):
        Guarded.of(WORLD.victim, Without(), fields=("brand",))
    shop = Shop(items=WORLD.data.items.reverse())
    with pytest.raises(DataError, match="other items"):
        Guarded(recommender=WORLD.victim, guard=Without(), shop=shop)
    with pytest.raises(FoulPlay):
        play(GreedyWords(), _Leaky.of(WORLD.victim, Without()), words=1)


class _Leaky(Guarded):
    """A guarded victim that an attack can change is found out by the referee."""

    def arrays(self) -> dict[str, Any]:
        return {"asked": np.array([len(self._known)])}
