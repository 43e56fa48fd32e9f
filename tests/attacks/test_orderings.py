"""Orderings put first what a person would put first, and ask no more than they may."""

from typing import Any

import numpy as np
import pytest

from hardrank.attacks import GreedyWords
from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.orderings import ORDERINGS, AsRead, Importance, LeastSold, Shuffled, Unknown
from hardrank.testing import planted_world, random_world
from hardrank.threats import Budget, Demote, ListingCourt, Promote, ThreatModel

WORLD = planted_world()


def aim_in(world: Any = WORLD, *, target: str = "", goal: Any = None, **limits: Any) -> Aim | None:
    threat = ThreatModel(goal=goal or Promote(k=2), budget=Budget(words=2, **limits))
    court = ListingCourt.of(world.victim, world.data, world.panel, None)
    view, aimed, _ = court.open(GreedyWords(), threat, threat.budget, target or world.target)
    return Aim.of(view, target or world.target, aimed)


def order(ordering: Any, aim: Aim | None, text: str = "") -> list[int]:
    assert aim is not None
    return list(ordering(Draft.of(text or aim.text), aim, np.random.default_rng(0)))


@pytest.mark.parametrize("ordering", [Importance(), Unknown()])
def test_the_word_that_hurts_comes_first(ordering: Any) -> None:
    """Of 'plain dusty' it is dusty (-1); to demote, plain (0) before dusty (-1)."""
    aim = aim_in()
    assert order(ordering, aim) == [1, 0]
    assert aim is not None and aim.view.spent == 2
    assert order(ordering, aim_in(goal=Demote(k=2))) == [0, 1]


@pytest.mark.parametrize("ordering", [Importance(), Unknown()])
def test_it_asks_as_far_as_queries_reach(ordering: Any) -> None:
    """With one query plain alone is asked for, and stays first."""
    aim = aim_in(queries=1)
    assert order(ordering, aim) == [0, 1]
    assert aim is not None and aim.view.spent == 1
    assert order(ordering, aim_in(queries=0)) == [0, 1]


def test_unknown_keeps_the_length() -> None:
    """What the victim is asked for holds the token in the word's place."""
    asked: list[str] = []
    aim = aim_in()
    assert aim is not None
    before = aim.view._scores

    def scores(target: str, texts: Any) -> Any:
        asked.extend(texts)
        return before(target, texts)

    aim.view._scores = scores
    order(Unknown(token="[MASK]"), aim)
    assert asked == ["[MASK] dusty", "plain [MASK]"]


def test_least_sold_reads_the_shop_alone() -> None:
    """Of 'silver, 12 dusty river': 12 is no word (0); bought were dusty 1 + 1, silver 3,
    river 2 + 1. Equal ones stay as they are read; to demote it is the other way round."""
    aim = aim_in()
    assert order(LeastSold(), aim, "silver, 12 dusty river") == [1, 2, 0, 3]
    assert aim is not None and aim.view.spent == 0
    turned = aim_in(goal=Demote(k=2))
    assert order(LeastSold(), turned, "silver, 12 dusty river") == [0, 3, 2, 1]


def test_blind_orders() -> None:
    aim = aim_in()
    assert order(AsRead(), aim, "a b c") == [0, 1, 2]
    assert sorted(order(Shuffled(), aim, "a b c d e")) == [0, 1, 2, 3, 4]
    assert aim is not None and aim.view.spent == 0


@pytest.mark.parametrize("ordering", [o() for o in ORDERINGS], ids=lambda o: o.kind)
def test_every_slot_once(ordering: Any) -> None:
    """In random worlds, empty texts among them, whatever the queries."""
    for case in range(60):
        aim = aim_in(random_world(np.random.default_rng(case)), queries=case % 5)
        if aim is None:
            continue
        slots = order(ordering, aim)
        assert sorted(slots) == list(range(len(Draft.of(aim.text).words)))
        assert aim.view.spent <= case % 5
