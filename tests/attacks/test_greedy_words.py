"""Greedy insertion by ranks and by scores, and with fewer words as it goes on."""

from typing import Any

import numpy as np
import pytest

from hardrank.attacks import GreedyWords
from hardrank.data import Patch, RewriteItem
from hardrank.testing import planted_world, random_world
from hardrank.threats import Budget, Match, Promote, ThreatModel, mount
from hardrank.types import Knowledge

WORLD = planted_world()


def play(
    attack: GreedyWords, knowledge: Knowledge = "scores", goal: Any = None, **limits: Any
) -> Match:
    threat = ThreatModel(goal=goal or Promote(k=2), knowledge=knowledge, budget=Budget(**limits))
    return mount(attack, threat, WORLD.victim, WORLD.data, panel=WORLD.panel, target=WORLD.target)


def rewrite(text: str) -> Patch:
    return Patch((RewriteItem("f", text),))


def test_ranks_are_enough_for_the_planted_word() -> None:
    """Moon brings f to ranks 2, 3, 3. Then any good word brings it first to all three: ranks
    do not tell lantern, the first of them, from velvet."""
    match = play(GreedyWords(), "ranks", words=2)
    assert match.patch == rewrite("lantern moon plain dusty")
    assert (match.queries, match.attack) == (26, "greedy-words [ranks]")


def test_keep_prunes_by_the_first_step() -> None:
    """7 fresh words at the front, then the 3 best of them less the one that is in, at 2 places."""
    match = play(GreedyWords(keep=3), words=2)
    assert match.patch == rewrite("velvet moon plain dusty")
    assert match.queries == 7 + 2 * 2
    alone = play(GreedyWords(keep=1), words=2)
    assert alone.patch == rewrite("moon plain dusty") and alone.queries == 7


def test_it_stops_where_the_goal_is_reached() -> None:
    """With moon, user 0 gets f: a third of the three users who can be shown it."""
    match = play(GreedyWords(), goal=Promote(k=2, until=0.3), words=3)
    assert match.patch == rewrite("moon plain dusty") and match.queries == 14


@pytest.mark.parametrize("knowledge", ["ranks", "scores"])
def test_fewer_words_go_on_and_nearly_as_far(knowledge: Knowledge) -> None:
    """Additive worlds: a word that gains least alone is never the best later, for one user."""
    same = 0
    for case in range(40):
        world = random_world(np.random.default_rng(case))
        row = world.data.item_rows[world.target]
        free = [q for q in range(len(world.panel)) if row not in world.panel.history(q)]
        if not free:
            continue
        panel = world.panel.take(np.array(free[:1]))
        threat = ThreatModel(goal=Promote(k=1), knowledge=knowledge, budget=Budget(words=2))
        full, pruned = (
            mount(a, threat, world.victim, world.data, panel=panel, target=world.target)
            for a in (GreedyWords(positions=("front",)), GreedyWords(positions=("front",), keep=3))
        )
        assert pruned.queries <= full.queries
        if knowledge == "scores":
            assert full.patch == pruned.patch, case
        same += full.patch == pruned.patch
    assert same > 25
