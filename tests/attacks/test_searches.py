"""Searches find what a person can work out, and what an exhaustive twin finds."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.attacks import Composed, GreedyWords
from hardrank.attacks.additive import Additive, change
from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.orderings import AsRead
from hardrank.attacks.parts import Shop, fillings
from hardrank.attacks.searches import SEARCHES, Beam, Frugal, Genetic, Greedy, Steepest, Weighted
from hardrank.attacks.trail import Trail, moves
from hardrank.attacks.transformations import DeleteWords, InsertWords, SubstituteWords
from hardrank.data import Patch, RewriteItem
from hardrank.testing import World, planted_world, random_world
from hardrank.threats import Budget, Demote, ListingCourt, Match, Promote, ThreatModel

WORLD = planted_world()
RNG = np.random.default_rng(0)


def composed(search: Any, *transformations: Any) -> Composed:
    return Composed(
        transformations=transformations or (SubstituteWords(),), ordering=AsRead(), search=search
    )


def play(
    attack: Any, world: World = WORLD, *, seed: int = 0, goal: Any = None, **limits: Any
) -> Match:
    threat = ThreatModel(goal=goal or Promote(k=2), budget=Budget(**limits))
    court = ListingCourt.of(world.victim, world.data, world.panel, None)
    return court.play(attack, threat, world.target, seed)


def aim_in(world: World, *, goal: Any = None, **limits: Any) -> Aim | None:
    threat = ThreatModel(goal=goal or Promote(k=2), budget=Budget(**limits))
    court = ListingCourt.of(world.victim, world.data, world.panel, None)
    view, aimed, _ = court.open(GreedyWords(), threat, threat.budget, world.target)
    return Aim.of(view, world.target, aimed)


def rewrite(text: str) -> Patch:
    return Patch((RewriteItem("f", text),))


def written(text: str) -> Draft:
    """The planted target's draft, rewritten to a text of two words."""
    first, second = text.split()
    return Draft.of("plain dusty").put(0, first).put(1, second)


def text_of(match: Match, world: World) -> str:
    row = world.data.item_rows[world.target]
    standing = str(world.data.items["title"][row] or "")
    found = match.patch.rewrites().get(world.target)
    return found.text if found else standing


# What a person can work out


@pytest.mark.parametrize("search", [Steepest(), Beam(), Frugal(), Genetic(generations=60)])
def test_the_best_words_take_the_place_of_dusty_and_plain(search: Any) -> None:
    """moon (4) for dusty (-1), then velvet (2) for plain (0)."""
    assert play(composed(search), words=1).patch == rewrite("plain moon")
    both = play(composed(search), words=2)
    assert sorted(text_of(both, WORLD).split()) == ["moon", "velvet"]


def test_steepest_counts() -> None:
    """7 fresh words in 2 slots. With a second word: beside 'moon' 6 words and dusty (the other
    slot's were asked). Beside 'velvet', instead of moon, 5 words and plain: nothing gains."""
    assert play(composed(Steepest()), words=0).queries == 0
    assert play(composed(Steepest()), words=1).queries == 14
    assert play(composed(Steepest()), words=2).queries == 14 + 7 + 6


def test_greedy_goes_slot_by_slot() -> None:
    """7 fillings of plain: moon. Then 6 of dusty, and plain, which is free again: velvet."""
    match = play(composed(Greedy()), words=2)
    assert match.patch == rewrite("moon velvet") and match.queries == 14


def test_weighted_combines_what_each_slot_likes_best() -> None:
    """2 queries for saliency, 14 for fillings: moon is best in both slots. dusty is salient
    (+1), plain is not (0), so dusty goes first: 'plain moon' is known, 'moon moon' is new."""
    match = play(composed(Weighted()), words=2)
    assert match.patch == rewrite("moon moon") and match.queries == 17
    assert play(composed(Weighted()), words=1).patch == rewrite("plain moon")


def test_weighted_orders_by_saliency_and_gain() -> None:
    """With 1 word allowed only the first of the order can be put in; gains are 5 and 4."""
    match = play(composed(Weighted()), words=1)
    assert match.queries == 16 and match.patch == rewrite("plain moon")


def test_frugal_asks_for_each_word_once() -> None:
    """7 words, whose two places count as one, in one round; the rest confirms combinations:
    `greedy-words` asks 14 and 26."""
    one, two = (play(composed(Frugal(), InsertWords()), words=n) for n in (1, 2))
    assert text_of(one, WORLD) == "moon plain dusty" and one.queries < 14
    assert sorted(text_of(two, WORLD).split()) == ["dusty", "moon", "plain", "velvet"]
    assert two.queries < 26


def test_genetic_asks_no_more_than_its_generations() -> None:
    match = play(composed(Genetic(population=5, generations=3)), words=2)
    assert match.queries <= 12
    assert play(composed(Genetic(population=1)), words=2).patch == Patch()


def test_deleting_finds_the_one_bad_word() -> None:
    for search in (Steepest(), Beam(), Frugal(), Genetic()):
        assert play(composed(search, DeleteWords()), words=2).patch == rewrite("plain")


# Against slower twins


def test_steepest_is_greedy_words() -> None:
    """Another way to write the same search, down to ties."""
    for case in range(150):
        world = random_world(np.random.default_rng(case))
        goal = Promote(k=2) if case % 2 else Demote(k=2)
        limits = {"words": case % 4} if case % 5 else {"words": 3, "characters": 11}
        one = play(composed(Steepest(), InsertWords()), world, goal=goal, **limits)
        other = play(GreedyWords(), world, goal=goal, **limits)
        assert one.patch == other.patch, case


def _all_texts(draft: Draft, parts: Any, shop: Shop, depth: int) -> set[str]:
    """Everything within `depth` fillings, by recursion and without any memory."""
    found = {draft.text}
    for slot in range(len(draft.words)) if depth else ():
        for further in fillings(draft, slot, parts, shop, RNG):
            found |= _all_texts(further, parts, shop, depth - 1)
    return found


@pytest.mark.parametrize("goal", [Promote(k=2), Demote(k=2)])
def test_a_beam_without_end_is_exhaustive(goal: Any) -> None:
    parts, compared = (SubstituteWords(vocabulary=3), DeleteWords()), 0
    for case in range(60):
        world = random_world(np.random.default_rng(case))
        aim = aim_in(world, goal=goal, words=2)
        if aim is None or len(Draft.of(aim.text).words) > 4:
            continue
        texts = _all_texts(Draft.of(aim.text), parts, Shop.of(aim.view), 2) - {aim.text}
        most = max([*aim(sorted(texts)).values.tolist(), float(aim.standing.values[0])])
        match = play(composed(Beam(width=10**6), *parts), world, goal=goal, words=2)
        assert _value(aim, text_of(match, world)) == pytest.approx(most), case
        compared += 1
    assert compared > 30


def _value(aim: Aim, text: str) -> float:
    return float((aim.standing if text == aim.text else aim([text])).values[0])


def test_frugal_finds_more_per_query_than_greedy() -> None:
    """In 100 worlds where words add up, it ends at or above the steepest ascent nearly always,
    and asks for less than half."""
    better, spent = [], []
    for case in range(100):
        world = random_world(np.random.default_rng(case))
        aim = aim_in(world, words=3)
        if aim is None:
            continue
        ours, theirs = (
            play(composed(s, SubstituteWords(), InsertWords()), world, words=3)
            for s in (Frugal(), Steepest())
        )
        gap = _value(aim, text_of(ours, world)) - _value(aim, text_of(theirs, world))
        better.append(gap > -1e-6)
        spent.append((ours.queries, theirs.queries))
    asked = np.array(spent).sum(axis=0)
    assert len(better) > 60 and np.mean(better) > 0.9
    assert asked[0] < 0.5 * asked[1]


# What all searches keep


@pytest.mark.parametrize("search", [s() for s in SEARCHES], ids=lambda s: s.kind)
def test_it_never_ends_below_where_it_began(search: Any) -> None:
    for case in range(60):
        world = random_world(np.random.default_rng(case))
        goal = Promote(k=2) if case % 2 else Demote(k=2)
        aim = aim_in(world, goal=goal, words=2)
        if aim is None:
            continue
        match = play(composed(search), world, goal=goal, words=2, queries=case)
        assert match.queries <= case
        assert _value(aim, text_of(match, world)) >= float(aim.standing.values[0])


@pytest.mark.parametrize("search", [s() for s in SEARCHES], ids=lambda s: s.kind)
def test_it_stops_once_the_goal_is_reached(search: Any) -> None:
    """A third of the users is enough: one word does it, though five may be edited."""
    attack = composed(search, InsertWords(), SubstituteWords())
    until = play(attack, goal=Promote(k=2, until=0.3), words=5)
    assert until.patch and until.queries < play(attack, words=5).queries
    assert until.words < 5


@pytest.mark.parametrize("search", [s() for s in SEARCHES], ids=lambda s: s.kind)
def test_an_empty_text_and_an_empty_shop(search: Any) -> None:
    """No slot but the empty one, and no word in stock."""
    from hardrank.testing import dataset

    data = dataset(["", "red", "blue"], [[1], [2], [1, 2]])
    world = World(
        data=data,
        victim=type(WORLD.victim)(
            items=data.items, words=("red",), taste=np.ones((3, 1), np.float32)
        ),
        panel=data.histories(),
        target="a",
    )
    match = play(composed(search, InsertWords()), world, goal=Promote(k=1), words=2)
    assert "red" in text_of(match, world).split()
    assert play(composed(search, DeleteWords()), world, goal=Promote(k=1), words=2).patch == Patch()


def test_queries_are_shared_among_the_words_of_the_budget() -> None:
    """12 queries and 3 words: 4 a step, so that three words are edited, not one."""
    match = play(composed(Steepest(), InsertWords()), words=3, queries=12)
    assert match.words == 3 and match.queries == 12


# The parts of searches


def test_moves_are_fair_to_slots() -> None:
    shop = Shop(WORLD.data.items, WORLD.data.counts, "title")
    draft = Draft.of("plain dusty")
    found = [d.text for d in moves(draft, [1, 0], (SubstituteWords(vocabulary=2),), shop, RNG)]
    first, second = shop.vocabulary(2)
    assert found == [f"plain {first}", f"{first} dusty", f"plain {second}", f"{second} dusty"]


def test_a_trail_asks_nothing_twice_and_keeps_the_best() -> None:
    aim = aim_in(WORLD, words=1, queries=4)
    assert aim is not None
    trail = Trail.of(aim)

    def fresh(*texts: str, most: int | None = None) -> list[str]:
        return list(trail.fresh((written(t) for t in texts), most))

    assert fresh("plain dusty", "moon dusty", "moon river", "moon dusty") == ["moon dusty"]
    assert fresh("moon dusty", "kettle dusty", most=1) == ["moon dusty"]
    trail.ask(["moon dusty", "kettle dusty"])
    assert trail.text == "moon dusty" and trail.value == trail.asked["moon dusty"]
    assert fresh("moon dusty", "plain moon") == ["plain moon"]
    trail.ask(["kettle dusty"])
    assert trail.text == "moon dusty"
    assert fresh("plain moon", "plain river") == ["plain moon"]  # one query is left


def test_a_share_is_an_equal_part() -> None:
    aim = aim_in(WORLD, words=3, queries=10)
    assert aim is not None
    shares = [Trail.of(aim).share(Budget(words=3), step) for step in range(4)]
    assert shares == [4, 5, 10, 10]
    free = aim_in(WORLD, words=3)
    assert free is not None and Trail.of(free).share(Budget(words=3), 0) is None


def test_additive_learns_linear_effects_exactly() -> None:
    """Two users, two words; without noise and with almost no penalty the effects come back,
    and a word that was never seen does nothing."""
    seen = [(("moon", 1),), (("dusty", -1), ("moon", 1))]
    model = Additive.fit(seen, np.array([[4.0, 8.0], [5.0, 10.0]]), 1e-9)
    asked = [(("dusty", -1),), (("moon", 2), ("kettle", 1))]
    np.testing.assert_allclose(model(asked), [[1.0, 2.0], [8.0, 16.0]], rtol=1e-6)


def test_a_change_is_a_bag_of_words() -> None:
    draft = Draft.of("Plain, dusty lamp")
    assert change(draft) == ()
    assert change(draft.put(0, "Moon, Plain,")) == (("moon", 1),)
    assert change(draft.put(1, "")) == (("dusty", -1),)
    assert change(draft.put(0, "dusty").put(1, "plain")) == ()


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 9), st.text("ab ", max_size=4))))
def test_places_say_where_fillings_stand(text: str, puts: list[tuple[int, str]]) -> None:
    draft = Draft.of(text)
    for slot, filling in puts:
        draft = draft.put(slot % len(draft.words), filling)
    for word, (start, end) in zip(draft.words, draft.places, strict=True):
        assert draft.text[start:end] == word
