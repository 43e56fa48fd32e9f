"""White-box attacks on words: exact where the victim is a bag of words (C4, order of strength)."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from hardrank.attacks import (
    Gbda,
    GradientGuided,
    GradientWords,
    GreedyWords,
    HotFlip,
    RandomWords,
)
from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.flips import Flips, fill, opened
from hardrank.attacks.foresight import between
from hardrank.attacks.transformations import SubstituteWords
from hardrank.attacks.vocabulary import said, vocabulary
from hardrank.data import Patch, Queries, RewriteItem
from hardrank.errors import FoulPlay, Unsupported
from hardrank.recommender import Forecast
from hardrank.testing import AttackContract, WordTaste, World, dataset, planted_world, random_world
from hardrank.threats import (
    Budget,
    Demote,
    GradientView,
    ListingCourt,
    Match,
    Promote,
    ThreatModel,
    mount,
)

WORLD = planted_world()
WHITE = (HotFlip(), GradientWords(), GradientGuided(), Gbda(steps=20))


class TestGbda(AttackContract):
    """With fewer steps than the default: the contract plays hundreds of matches."""

    attack = Gbda(steps=3, batch=2, samples=10)
    cases = 60


class TestNarrowHotFlip(AttackContract):
    attack = HotFlip(width=1, rescored=2, positions=("end",))
    cases = 60


class TestShyGradientWords(AttackContract):
    attack = GradientWords(replace=False, rescored=2, patience=1)
    cases = 60


def play(
    attack: Any, world: World = WORLD, *, goal: Any = None, seed: int = 0, **limits: Any
) -> Match:
    threat = ThreatModel(
        goal=goal or Promote(k=2), knowledge="gradients", budget=Budget(**(limits or {"words": 1}))
    )
    return mount(
        attack, threat, world.victim, world.data, panel=world.panel, target=world.target, seed=seed
    )


def opened_view(world: World = WORLD, **limits: Any) -> GradientView:
    budget = Budget(**(limits or {"words": 3}))
    threat = ThreatModel(goal=Promote(k=2), knowledge="gradients", budget=budget)
    court = ListingCourt.of(world.victim, world.data, world.panel, None)
    view, _, _ = court.open(HotFlip(), threat, budget, world.target)
    assert isinstance(view, GradientView)
    return view


def rewrite(text: str) -> Patch:
    return Patch((RewriteItem("f", text),))


# What the view grants


def test_embeddings_and_gradient_give_the_first_order_gain() -> None:
    """Of the mean score over users 0, 1, 2, whose tastes are 1, 2, 1 times the worth of a word:
    moon (4) for dusty (-1) is worth 5 * 4 / 3."""
    view = opened_view()
    found = view.gradient("f", "plain dusty")
    new, old = view.embed(["moon", "dusty"])
    assert np.array_equal(old, found.current[1])
    assert float(found.gradient[1] @ (new - old)) == pytest.approx(5 * 4 / 3)
    assert view.spent == 1, "one gradient, and the table is public"


def test_a_forecast_is_one_query_and_exact_for_a_bag_of_words() -> None:
    view = opened_view(words=3, queries=3)
    foretold = view.forecast("f", "plain dusty")
    assert view.spent == 1
    changes = [(("moon", 1),), (("moon", 1), ("dusty", -1)), (("velvet", 2),), ()]
    found = foretold(changes)
    assert view.spent == 1, "what is computed from one reading is free"
    texts = ["moon plain dusty", "plain moon", "plain dusty velvet velvet", "plain dusty"]
    assert np.array_equal(found, WORLD.victim.score(*_panel_and(texts)))
    view.forecast("f", "moon"), view.forecast("f", "moon")
    with pytest.raises(FoulPlay, match="4 queries"):
        view.forecast("f", "moon")


def test_mixtures_are_charged_each_and_exact_at_the_corners() -> None:
    view = opened_view(words=3, queries=7)
    mixed = view.relaxed("f", "plain dusty", [1], ["moon", "velvet"])
    assert view.spent == 0
    found = mixed(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[0.5, 0.5]]]))
    assert view.spent == 3
    ends = WORLD.victim.score(*_panel_and(["plain moon", "plain velvet"])).T
    assert np.allclose(found[:2].numpy(), ends)
    assert np.allclose(found[2].numpy(), ends.mean(axis=0))
    with pytest.raises(FoulPlay, match="8 queries"):
        mixed(torch.zeros(5, 1, 2))


def _panel_and(texts: list[str]) -> Any:
    from hardrank.data import Slate

    row = np.full(len(texts), WORLD.data.item_rows["f"])
    return WORLD.panel.take(np.arange(3)), Slate(items=row, texts=tuple(texts))


def test_a_closed_victim_says_so() -> None:
    """One that grants gradients and ranks, and nothing of how it reads."""

    @dataclass(frozen=True, eq=False, kw_only=True)
    class Closed(WordTaste):
        forecast = None  # type: ignore[assignment]

    victim = Closed(items=WORLD.data.items, words=WORLD.victim.words, taste=WORLD.victim.taste)
    view = opened_view(replace(WORLD, victim=victim))
    assert view.gradient("f", "plain dusty").words == ("plain", "dusty")
    for ask in (
        lambda: view.embed(["moon"]),
        lambda: view.forecast("f", "moon"),
        lambda: view.relaxed("f", "moon", [0], ["moon"]),
    ):
        with pytest.raises(Unsupported, match="surrogate"):
            ask()


# Exact answers


def test_hotflip_needs_one_gradient_and_one_look() -> None:
    """The best of all flips, insertions and deletions is moon for dusty (4 + 1), and only the
    first of the ranking is looked at."""
    match = play(HotFlip(rescored=1), words=1)
    assert match.patch == rewrite("plain moon")
    assert (match.queries, match.words) == (2, 1)


def test_the_forecast_needs_one_reading_and_one_look() -> None:
    for attack in (GradientWords(rescored=1, patience=1), GradientGuided(rescored=1, patience=1)):
        match = play(attack, words=1, queries=2)
        assert match.patch == rewrite("plain moon")
        assert (match.queries, match.words) == (2, 1)


def test_gbda_finds_the_planted_word() -> None:
    match = play(Gbda(samples=1), words=1)
    assert match.patch == rewrite("plain moon")
    assert match.queries == 1 + 60 * 4 + 1


@pytest.mark.parametrize("attack", WHITE)
def test_two_words(attack: Any) -> None:
    """The best words for dusty and beside or for plain, which is worth nothing."""
    found = set(play(attack, words=2).patch.rewrites()["f"].text.split()) - {"plain"}
    if isinstance(attack, Gbda):  # nothing keeps it from saying a good word twice
        assert found == {"moon"}
    else:
        assert found == {"moon", "velvet"}


@pytest.mark.parametrize("attack", [GradientWords(rescored=1), GradientGuided(rescored=1)])
def test_the_forecast_finds_the_best_single_edit_there_is(attack: Any) -> None:
    """Against all edits of one word, in worlds with several users and tastes of either sign:
    the first text that is looked at is worth as much as the best of all."""
    checked = 0
    for case in range(80):
        world = random_world(np.random.default_rng(case))
        aim = _aim(world)
        if aim is None:
            continue
        words = vocabulary(world.data.items["title"].to_list(), world.data.counts, 99)
        if isinstance(attack, GradientGuided):  # no deletions among its fillings
            texts = [t for t in _single_edits(aim.text, words) if _no_shorter(t, aim.text)]
        else:
            texts = _single_edits(aim.text, words)
        best = max([float(aim.standing.values[0]), *aim(texts).values.tolist()] if texts else [0])
        match = play(attack, world, words=1, queries=2)
        found = match.patch.rewrites().get(world.target)
        reached = float(aim([found.text]).values[0]) if found else float(aim.standing.values[0])
        assert reached == pytest.approx(best, abs=1e-5), case
        checked += 1
    assert checked > 40


def _no_shorter(text: str, own: str) -> bool:
    return len(text.split()) >= len(own.split())


def _aim(world: World) -> Aim | None:
    court = ListingCourt.of(world.victim, world.data, world.panel, None)
    budget = Budget(words=99)
    threat = ThreatModel(goal=Promote(k=2), knowledge="gradients", budget=budget)
    view, goal, _ = court.open(HotFlip(), threat, budget, world.target)
    return Aim.of(view, world.target, goal)  # type: ignore[arg-type]


def _single_edits(text: str, words: tuple[str, ...]) -> list[str]:
    own, fresh = text.split(), [w for w in words if w not in said(text)]
    ends = [" ".join([w, *own]) for w in fresh] + [" ".join([*own, w]) for w in fresh]
    inside = [
        " ".join([*own[:n], *new, *own[n + 1 :]])
        for n in range(len(own))
        for new in [[], *([w] for w in fresh)]
    ]
    return ends + inside


def test_hotflip_is_exact_for_one_user() -> None:
    """With one user the mean score is the goal, so the first look is the best single edit."""
    checked = 0
    for case in range(80):
        world = random_world(np.random.default_rng(case))
        row = world.data.item_rows[world.target]
        free = [q for q in range(len(world.panel)) if row not in world.panel.history(q)]
        world = replace(world, panel=world.panel.take(np.array(free[:1], dtype=np.int64)))
        aim = _aim(world) if free else None
        if aim is None:
            continue
        words = vocabulary(world.data.items["title"].to_list(), world.data.counts, 99)
        values = [float(aim.standing.values[0]), *aim(_single_edits(aim.text, words)).values]
        found = play(HotFlip(rescored=1), world, words=1, queries=2).patch.rewrites()
        text = found[world.target].text if found else aim.text
        reached = float(aim([text]).values[0]) if found else values[0]
        assert reached == pytest.approx(max(values), abs=1e-6), case
        checked += 1
    assert checked > 40


def test_rescoring_never_accepts_what_loses() -> None:
    """A forecast of the opposite of the truth costs queries, and no exposure."""

    @dataclass(frozen=True, eq=False, kw_only=True)
    class Liar(WordTaste):
        def forecast(
            self, queries: Queries, item: int, text: str, *, field: str = "title"
        ) -> Forecast:
            true = super().forecast(queries, item, text, field=field)
            return lambda changes: -true(changes)

    victim = Liar(items=WORLD.data.items, words=WORLD.victim.words, taste=WORLD.victim.taste)
    lied = replace(WORLD, victim=victim)
    assert play(GradientWords(rescored=1, patience=1), lied, words=1).patch == Patch()
    assert play(GradientWords(rescored=99), lied, words=1).patch == rewrite("plain moon")


@pytest.mark.parametrize("attack", WHITE)
def test_demoting(attack: Any) -> None:
    """Of the words in stock only dusty is worth less than nothing: with one word the best
    title of b, moon river, loses moon to it."""
    world = replace(WORLD, target="b")
    found = play(attack, world, goal=Demote(k=2), words=1).patch
    assert found == Patch((RewriteItem("b", "dusty river"),))


@pytest.mark.parametrize("attack", WHITE)
def test_no_queries_no_patch(attack: Any) -> None:
    for queries in (0, 1):
        assert play(attack, words=3, queries=queries).patch == Patch()


def test_exchanges_go_on_when_the_budget_is_full() -> None:
    """River was put in first (its forecast was all that one look allowed); moon takes its
    place later without a word more."""

    @dataclass(frozen=True, eq=False, kw_only=True)
    class Shy(WordTaste):
        """Foretells the worth of river too high while it is not there."""

        def forecast(
            self, queries: Queries, item: int, text: str, *, field: str = "title"
        ) -> Forecast:
            true = super().forecast(queries, item, text, field=field)

            def foretold(changes: Any) -> Any:
                found = true(changes).copy()
                for n, change in enumerate(changes):
                    found[:, n] += 100 * (dict(change).get("river", 0) > 0)
                return found

            return foretold

    victim = Shy(items=WORLD.data.items, words=WORLD.victim.words, taste=WORLD.victim.taste)
    fooled = replace(WORLD, victim=victim)
    assert play(GradientWords(rescored=1), fooled, words=1).patch == rewrite("plain moon")


# Order of strength and growth


def _values(attack: Any, knowledge: Any, words: int, cases: range) -> np.ndarray[Any, Any]:
    """(N,) soft exposures that an attack reaches in random worlds."""
    out = []
    for case in cases:
        world = random_world(np.random.default_rng(case))
        aim = _aim(world)
        if aim is None:
            continue
        threat = ThreatModel(goal=Promote(k=2), knowledge=knowledge, budget=Budget(words=words))
        match = mount(attack, threat, world.victim, world.data, panel=world.panel,
                      target=world.target)  # fmt: skip
        found = match.patch.rewrites().get(world.target)
        out.append(float(aim([found.text]).values[0] if found else aim.standing.values[0]))
    return np.array(out)


def test_order_of_strength_at_equal_edits() -> None:
    """Random < greedy by ranks < greedy by scores < gradients, on average over 120 worlds."""
    cases = range(120)
    found = [
        _values(attack, knowledge, 2, cases)
        for attack, knowledge in (
            (RandomWords(), "ranks"),
            (GreedyWords(), "ranks"),
            (GreedyWords(), "scores"),
            (GradientWords(), "gradients"),
        )
    ]
    means = [float(values.mean()) for values in found]
    assert means == sorted(means) and len(set(means)) == 4
    assert len(found[0]) > 60


@pytest.mark.parametrize("attack", [GradientWords(), HotFlip(), GradientGuided()])
def test_more_words_are_never_weaker(attack: Any) -> None:
    """In every world, as each step only goes up and one step does not know how many follow."""
    fewer, more = (_values(attack, "gradients", words, range(50)) for words in (1, 3))
    assert (more >= fewer - 1e-9).all() and (more > fewer + 0.1).any()


# Parts


def test_flips_at_open_ends() -> None:
    """`the` is worth nothing, so insertions gain what the word is worth; the mean over users
    is 4/3 of it."""
    view = opened_view()
    aim = Aim.of(view, "f", Promote(k=2, items=("f",)))
    assert aim is not None
    words = ("moon", "velvet")
    flips = Flips.of(aim, Draft.of(aim.text), words, view.embed(words), ("front", "end"))
    assert flips.sites == ((0, "instead"), (1, "instead"), (0, "front"), (1, "end"))
    expected = np.array([[4, 2, 0], [5, 3, 1], [4, 2, -np.inf], [4, 2, -np.inf]]) * 4 / 3
    assert np.allclose(flips.gains, expected)
    texts = [draft.text for draft in flips.best()]
    assert texts[:2] == ["plain moon", "moon dusty"] and len(texts) == 10
    assert view.spent == 1


def test_sites_are_found_where_writing_has_no_blanks() -> None:
    """Han characters are words of their own, and what replaces two neighbours runs together."""
    draft = Draft.of("\u82f9\u679c case").put(0, "red").put(1, "tea")
    assert draft.text == "redtea case"
    sites = [(0, "instead"), (1, "instead"), (2, "instead"), (0, "front"), (2, "end")]
    text, where = opened(draft, sites)  # type: ignore[arg-type]
    assert text == "the redtea case the"
    assert where == [[1], [1], [2], [0], [3]]
    assert opened(Draft.of(""), [(0, "front")]) == ("the", [[0]])
    assert fill(Draft.of(""), (0, "end"), "tea").text == "tea"


def test_between_counts_words_as_written() -> None:
    assert between("red tea", "Red tea cup") == (("Red", 1), ("cup", 1), ("red", -1))
    assert between("tea", "tea") == () and between("a a", "a") == (("a", -1),)


def test_gbda_samples_follow_the_generator() -> None:
    """Another seed draws other mixtures and texts; the same one the same."""
    data = dataset(
        ["dim", *(f"{a}{b}{c}" for a in "bdfg" for b in "aeiou" for c in "lmnr")],
        [[n] for n in range(81)],
    )
    rng = np.random.default_rng(0)
    words = tuple(data.items["title"].to_list())
    victim = WordTaste(
        items=data.items, words=words, taste=rng.normal(size=(81, 81)).astype(np.float32)
    )
    world = World(data=data, victim=victim, panel=data.histories(), target="a")
    attack = Gbda(steps=2, samples=2, learning_rate=5.0, temperature=0.2)
    texts = [play(attack, world, seed=seed, words=3).patch for seed in (0, 0, 1, 2, 3)]
    assert texts[0] == texts[1] and len(set(texts)) > 2


def test_substitutions_alone_can_be_guided() -> None:
    attack = GradientGuided(transformations=(SubstituteWords(),))
    assert play(attack, words=1).patch == rewrite("plain moon")
