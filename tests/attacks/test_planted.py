"""In the planted world the best attack is known, and the attacks find it."""

from typing import Any

import numpy as np
import pytest

from hardrank.attacks import Copycat, GreedyWords, RandomWords
from hardrank.attacks.vocabulary import insert, plain_words, vocabulary
from hardrank.data import Patch, RewriteItem
from hardrank.testing import dataset, overlap, planted_world, random_world
from hardrank.threats import Budget, Demote, Match, Promote, ThreatModel, mount

WORLD = planted_world()


def play(
    attack: Any, *, goal: Any = None, seed: int = 0, judge: Any = None, **limits: Any
) -> Match:
    model = ThreatModel(goal=goal or Promote(k=2), budget=Budget(**limits))
    return mount(attack, model, WORLD.victim, WORLD.data, panel=WORLD.panel, target="f",
                 seed=seed, judge=judge)  # fmt: skip


def rewrite(text: str) -> Patch:
    return Patch((RewriteItem("f", text),))


def test_greedy_words_inserts_exactly_the_planted_words() -> None:
    """7 fresh words at 2 places, then 6: 14 + 12 queries."""
    one = play(GreedyWords(), words=1)
    assert one.patch == rewrite(f"{WORLD.best_word} plain dusty")
    assert (one.queries, one.words) == (14, 1)
    two = play(GreedyWords(), words=2)
    assert two.patch == rewrite(f"{WORLD.second_word} {WORLD.best_word} plain dusty")
    assert (two.queries, two.words) == (26, 2)
    end = play(GreedyWords(positions=("end",)), words=1)
    assert end.patch == rewrite(f"plain dusty {WORLD.best_word}")
    assert end.queries == 7


def test_copycat_copies_exactly_the_planted_title() -> None:
    match = play(Copycat(), whole_text=True)
    assert match.patch == rewrite(WORLD.best_title)
    assert (match.queries, match.words, match.word_share) == (5, 2, 1.0)


def test_copycat_tries_the_most_popular_first() -> None:
    """'silver lantern' is bought most; it is all that one query allows."""
    for match in (play(Copycat(candidates=1), whole_text=True),
                  play(Copycat(), whole_text=True, queries=1)):  # fmt: skip
        assert match.queries == 1
        assert match.patch == rewrite("silver lantern")


@pytest.mark.parametrize("attack", [Copycat(), GreedyWords(), RandomWords()])
def test_no_words_no_patch(attack: Any) -> None:
    assert play(attack, words=0).patch == Patch()


@pytest.mark.parametrize("attack", [Copycat(), GreedyWords()])
def test_no_queries_no_patch(attack: Any) -> None:
    assert play(attack, words=3, whole_text=True, queries=0).patch == Patch()


def test_a_bestseller_is_not_made_worse() -> None:
    """Nothing beats what stands there: the patch is empty, whoever asks."""
    model = ThreatModel(goal=Promote(k=2), budget=Budget(words=9, whole_text=True))
    match = mount(Copycat(), model, WORLD.victim, WORLD.data, panel=WORLD.panel, target="b")
    assert match.patch == Patch() and match.queries == 5


def test_greedy_words_stops_when_nothing_gains() -> None:
    """All good words inserted (moon, velvet, river, silver, lantern, copper), kettle is worth
    nothing and is left out."""
    text = play(GreedyWords(), words=7).patch.rewrites()["f"].text
    assert set(text.split()) == {"plain", "dusty", "moon", "velvet", "river", "silver", "lantern",
                                 "copper"}  # fmt: skip


def test_greedy_words_demotes() -> None:
    """Of the words in stock none is below 0 but dusty, which stands there already."""
    assert play(GreedyWords(), goal=Demote(k=2), words=2).patch == Patch()
    model = ThreatModel(goal=Demote(k=2), budget=Budget(words=1))
    match = mount(GreedyWords(), model, WORLD.victim, WORLD.data, panel=WORLD.panel, target="d")
    assert match.patch == Patch((RewriteItem("d", "dusty velvet river"),))


def test_greedy_words_keeps_to_queries_and_characters() -> None:
    """With 10 queries only the first 10 of 14 texts are tried: moon is among them."""
    few = play(GreedyWords(), words=3, queries=10)
    assert few.queries == 10 and few.patch == rewrite("moon plain dusty")
    short = play(GreedyWords(), words=3, characters=10)
    assert short.patch == rewrite("moon plain dusty")  # a second word would be too long
    alike = play(GreedyWords(), words=3, similarity=0.6, judge=overlap)
    assert alike.patch == rewrite("moon plain dusty")


def test_greedy_words_sees_a_slope_from_far_below() -> None:
    """A target thousands of spreads below every threshold still gains its best word."""
    far = WORLD.victim.taste.copy()
    far[:, WORLD.victim.words.index("dusty")] = -100_000
    victim = type(WORLD.victim)(items=WORLD.data.items, words=WORLD.victim.words, taste=far)
    model = ThreatModel(goal=Promote(k=2), budget=Budget(words=1))
    match = mount(GreedyWords(), model, victim, WORLD.data, panel=WORLD.panel, target="f")
    assert match.patch == rewrite("moon plain dusty")


def test_random_words_are_as_many_and_blind() -> None:
    match = play(RandomWords(), words=3)
    new = match.patch.rewrites()["f"].text.split()
    assert match.queries == 0 and match.words == 3
    assert len(new) == 5 and {"plain", "dusty"} < set(new)
    assert len({play(RandomWords(), words=3, seed=s).patch for s in range(20)}) > 10


def test_greedy_beats_random_on_random_worlds() -> None:
    """Exposure in the top 2 over 60 worlds with nothing planted: greedy's is higher."""
    gaps = []
    for case in range(60):
        world = random_world(np.random.default_rng(case))
        row = world.data.item_rows[world.target]
        if all(row in world.panel.history(q) for q in range(len(world.panel))):
            continue
        shares = [_exposure(world, attack) for attack in (RandomWords(), GreedyWords())]
        gaps.append(shares[1] - shares[0])
    assert len(gaps) > 30 and np.mean(gaps) > 0


def _exposure(world: Any, attack: Any) -> float:
    model = ThreatModel(goal=Promote(k=2), budget=Budget(words=2))
    match = mount(attack, model, world.victim, world.data, panel=world.panel, target=world.target)
    after = world.victim.on(world.data.apply(match.patch).items)
    row = world.data.item_rows[world.target]
    users = [q for q in range(len(world.panel)) if row not in world.panel.history(q)]
    top = after.top(world.panel.take(np.array(users)), 2)
    return float((top == row).any(axis=1).mean())


def test_without_anybody_to_win_nothing_is_written() -> None:
    """Every panel user has the target."""
    data = dataset(["red tea", "blue cup"], [[0], [0, 1]])
    victim = type(WORLD.victim)(
        items=data.items, words=("red", "tea"), taste=np.ones((2, 2), np.float32)
    )
    model = ThreatModel(goal=Promote(k=1), budget=Budget(words=2, whole_text=True))
    for attack in (Copycat(), GreedyWords()):
        match = mount(attack, model, victim, data, panel=data.histories(), target="a")
        assert match.patch == Patch()


def test_vocabulary() -> None:
    """Weighted by purchases, once a title; no digits, short or function words."""
    titles = ["The Blue-Lamp 60W lamp", "red lamp", None, "unsold thing", "Caf\u00e9 of_tea"]
    assert vocabulary(titles, np.array([3, 2, 9, 0, 2]), 9) == (
        "lamp", "blue", "caf\u00e9", "red", "tea",
    )  # fmt: skip
    assert vocabulary(titles, np.array([3, 2, 9, 0, 2]), 2) == ("lamp", "blue")
    assert plain_words("Who's THE best, 4th?") == ["best"]


def test_insert() -> None:
    assert insert("red tea", "best", "front") == "best red tea"
    assert insert("red tea", "best", "end") == "red tea best"
    assert insert("", "best", "end") == "best"
