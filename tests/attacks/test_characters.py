"""Edits of single characters: exactly what may come out, and what it gains and costs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.attacks import DeepWordBug, NaturalNoise, RandomCharacters, TextBugger
from hardrank.attacks.draft import Draft
from hardrank.attacks.letters import draw, places, units
from hardrank.attacks.noise import RATES, Noise, add_noise, nominal
from hardrank.attacks.orderings import AsRead
from hardrank.attacks.tables.hanzi import read
from hardrank.attacks.tables.keyboard import NEIGHBOURS
from hardrank.attacks.tables.lookalikes import LEET, MISREAD
from hardrank.attacks.transformations import (
    ChangeCase,
    DeleteCharacter,
    DeleteWords,
    InsertCharacter,
    SpaceLetters,
    SubstituteCharacters,
    SwapCharacters,
)
from hardrank.data import Patch, RewriteItem
from hardrank.testing import WordTaste, dataset, odd_world, planted_world
from hardrank.threats import Budget, Demote, Match, Promote, ThreatModel, count_edit, mount
from hardrank.wording import split

WORLD = planted_world()
ALL = 1000
SHOP: Any = None  # none of these edits looks at the shop


def ways(edit: Any, word: str) -> list[str]:
    return sorted(edit(Draft.of(word), 0, SHOP, np.random.default_rng(0)))


def play(
    attack: Any, target: str = "f", *, goal: Any = None, seed: int = 0, **limits: Any
) -> Match:
    model = ThreatModel(goal=goal or Promote(k=2), budget=Budget(**limits))
    return mount(
        attack, model, WORLD.victim, WORLD.data, panel=WORLD.panel, target=target, seed=seed
    )


def test_swaps() -> None:
    assert ways(SwapCharacters(candidates=ALL), "lamp") == ["lmap"]
    assert ways(SwapCharacters(candidates=ALL, keep_ends=False), "lamp") == [
        "almp", "lapm", "lmap",
    ]  # fmt: skip
    assert ways(SwapCharacters(candidates=ALL, keep_ends=False), "book") == ["boko", "obok"]
    assert ways(SwapCharacters(candidates=ALL), "cup") == []


def test_deletions() -> None:
    assert ways(DeleteCharacter(candidates=ALL), "lamp") == ["lap", "lmp"]
    assert ways(DeleteCharacter(candidates=ALL, keep_ends=False), "cup") == ["cp", "cu", "up"]
    assert ways(DeleteCharacter(candidates=ALL, keep_ends=False), "a") == []
    assert ways(DeleteCharacter(candidates=ALL), "ab") == []


def test_insertions() -> None:
    blank = InsertCharacter(what="blank", candidates=ALL)
    assert ways(blank, "lamp") == ["l amp", "la mp", "lam p"]
    letters = ways(InsertCharacter(candidates=ALL), "cUp")
    assert len(letters) == 52
    assert {"caUp", "czUp", "cUAp", "cUZp"} < set(letters)
    assert ways(InsertCharacter(candidates=ALL), "a") == ways(blank, "a") == []


def test_substitutions() -> None:
    letters = ways(SubstituteCharacters(candidates=ALL), "aB")
    assert len(letters) == 50 and {"bB", "zB", "aA", "aZ"} < set(letters) and "aB" not in letters
    assert ways(SubstituteCharacters(by="keyboard", candidates=ALL), "q-") == [
        "1-", "2-", "a-", "w-",
    ]  # fmt: skip
    alike = SubstituteCharacters(by="lookalike", candidates=ALL)
    assert ways(alike, "lamp") == ["1amp", "l4mp", "l@mp", "|amp"]
    assert ways(SubstituteCharacters(by="lookalike", candidates=ALL, keep_ends=True), "lamp") == [
        "l4mp", "l@mp",
    ]  # fmt: skip
    assert ways(alike, "-") == []


def test_spelled_out() -> None:
    assert ways(SpaceLetters(), "lamp") == ["l a m p"]
    assert ways(SpaceLetters(mark="."), "lamp") == ["l.a.m.p"]
    assert ways(SpaceLetters(), "a") == []


def test_case() -> None:
    assert ways(ChangeCase(), "Lamp") == ["LAMP", "lAmP", "lamp"]
    assert ways(ChangeCase(), "64") == []


def test_candidates_are_drawn() -> None:
    """As many as are wanted, all of those there are, and not always the same."""
    edit = SubstituteCharacters(candidates=3)
    found = {tuple(edit(Draft.of("lamp"), 0, SHOP, np.random.default_rng(n))) for n in range(9)}
    assert len(found) > 5 and {len(f) for f in found} == {3}


edits = st.sampled_from(
    [
        SwapCharacters(candidates=ALL),
        SwapCharacters(candidates=ALL, keep_ends=False),
        SubstituteCharacters(candidates=ALL),
        SubstituteCharacters(by="keyboard", candidates=ALL),
        SubstituteCharacters(by="lookalike", candidates=ALL),
        DeleteCharacter(candidates=ALL, keep_ends=False),
        InsertCharacter(candidates=ALL),
        InsertCharacter(what="blank", candidates=ALL),
        ChangeCase(),
        SpaceLetters(),
    ]
)


@given(edits, st.text(max_size=6), st.integers(0, 9))
def test_no_edit_offers_what_stands_there(edit: Any, text: str, seed: int) -> None:
    draft = Draft.of(text)
    rng = np.random.default_rng(seed)
    for slot, word in enumerate(draft.words):
        for filling in edit(draft, slot, SHOP, rng):
            assert filling != word
            assert filling, "a character edit left nothing"
            if not isinstance(edit, ChangeCase | SpaceLetters):
                most = sum(sorted(map(len, units(word)))[-2:]) + 1
                assert 1 <= count_edit(word, filling).characters <= most


@given(st.text(max_size=30))
def test_units_are_the_text(text: str) -> None:
    assert "".join(units(text)) == text


def test_units_are_what_a_reader_counts() -> None:
    family, flag, thumb = "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", (
        "\U0001f44d\U0001f3fd"
    )  # fmt: skip
    text = ["e\u0301", "a", family, flag, flag, thumb, "\u624b", "1\ufe0f\u20e3", "\u0915\u094d"]
    assert units("".join(text)) == text


def test_emoji_are_edited_whole() -> None:
    """A family of three stays together, whatever changes beside it."""
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    word = f"a{family}b"
    assert ways(SwapCharacters(candidates=ALL, keep_ends=False), word) == sorted(
        [f"{family}ab", f"ab{family}"]
    )
    assert ways(DeleteCharacter(candidates=ALL), word) == ["ab"]
    assert ways(InsertCharacter(what="blank", candidates=ALL), word) == [
        f"a {family}b", f"a{family} b",
    ]  # fmt: skip


def test_places_and_draw() -> None:
    assert list(places(4, keep_ends=True)) == [1, 2] and list(places(2, keep_ends=True)) == []
    assert list(places(2, keep_ends=False)) == [0, 1] and list(places(0, keep_ends=True)) == []
    drawn = draw("abcdef", 4, np.random.default_rng(0))
    assert len(drawn) == len(set(drawn)) == 4
    assert draw("", 4, np.random.default_rng(0)) == []


def test_neighbours_are_mutual() -> None:
    assert set(NEIGHBOURS["g"]) == set("fhtyvb") and set(NEIGHBOURS["A"]) == set("SQWZ")
    for key, near in NEIGHBOURS.items():
        for other in near:
            back = NEIGHBOURS[other]
            assert key in back or key in back.upper() or key in back.lower(), (key, other)


def test_tables_hold_no_character_for_itself() -> None:
    for table in (NEIGHBOURS, LEET, MISREAD):
        for character, others in table.items():
            assert others and character not in others and len(set(others)) == len(others)


def test_deepwordbug_breaks_the_bad_word() -> None:
    """'plain dusty': without dusty f would gain a point, so it is tried first, and misspelt:
    two queries for the order, four for the edits; the budget is then full, plain costs none."""
    match = play(DeepWordBug(), words=1)
    text = match.patch.rewrites()["f"].text
    assert text.split()[0] == "plain" and text.split()[1] != "dusty"
    assert (match.words, match.queries) == (1, 6)
    assert play(DeepWordBug(ordering=AsRead()), words=1).queries == 8


def test_deepwordbug_demotes() -> None:
    """'moon river' is left with neither word that is worth anything."""
    match = play(DeepWordBug(), "b", goal=Demote(k=2), words=2)
    assert not {"moon", "river"} & set(match.patch.rewrites()["b"].text.split())
    assert match.queries == 2 + 4 + 4


def test_nothing_is_done_for_nothing() -> None:
    """'copper kettle': no misspelling is worth more than copper; all are asked for."""
    match = play(DeepWordBug(), "c", words=2)
    assert match.patch == Patch() and match.queries == 2 + 4 + 4


def test_a_goal_that_is_reached_ends_the_search() -> None:
    """Without velvet d leaves one of its three users' lists (river is worth as much as c)."""
    goals = [Demote(k=2, until=until) for until in (None, 0.7, 1.0)]
    whole, soon, at_once = (play(DeepWordBug(), "d", goal=goal, words=2) for goal in goals)
    assert (whole.queries, soon.queries, at_once.queries) == (10, 6, 0)
    assert (whole.words, soon.words, at_once.words) == (2, 1, 0)


def test_textbugger_asks_for_five_bugs() -> None:
    """dusty: a blank, a deletion, a swap, a look-alike, a key: two more queries for the order.
    A blank costs two words, so that with one word to spend four are left."""
    match = play(TextBugger(), words=2, characters=1)
    assert match.queries == 2 + 4 and match.characters == 1  # a swap costs two characters
    text = match.patch.rewrites()["f"].text
    assert text.startswith("plain ") and text != "plain dusty"
    assert play(TextBugger(), words=1).queries == 2 + 4


def test_textbugger_keeps_the_ends_under_delete_and_swap() -> None:
    for seed in range(20):
        text = play(TextBugger(), words=1, seed=seed).patch.rewrites()["f"].text
        word = text.split()[1]
        if sorted(word) == sorted("dusty") or len(word) == 4:
            assert word[0] + word[-1] == "dy"


def test_textbugger_with_substitutions() -> None:
    """Sub-W: whatever word edits stand beside the bugs; here leaving the word out."""
    more = TextBugger(words=(DeleteWords(),))
    assert play(more, words=1).queries == play(TextBugger(), words=1).queries + 1


def test_queries_on_a_title_of_twelve_words() -> None:
    """W for the order and 4 for each word, until the budget is full."""
    title = "silver lantern with copper handle and velvet cover for river moon nights"
    data = dataset([title, "moon", "river"], [[1], [1, 2], [2]])
    victim = WordTaste(items=data.items, words=tuple(title.split()),
                       taste=np.full((3, 12), -1, np.float32))  # fmt: skip
    counts = []
    for limits in ({"words": 1}, {"words": 3}, {"words": 12}):
        model = ThreatModel(goal=Promote(k=1), budget=Budget(**limits))
        match = mount(DeepWordBug(), model, victim, data, panel=data.histories(), target="a")
        counts.append((match.words, match.queries))
    assert counts == [(1, 16), (3, 24), (12, 60)]


def test_random_characters_are_as_many_and_blind() -> None:
    match = play(RandomCharacters(), words=2)
    assert (match.queries, match.words) == (0, 2)
    new = {play(RandomCharacters(), words=1, seed=s).patch for s in range(20)}
    assert len(new) > 10
    assert {w for p in new for w in p.rewrites()["f"].text.split()} > {"plain", "dusty"}


def test_random_characters_know_no_goal() -> None:
    """Only the seed decides; the goal does not."""
    up, down = (play(RandomCharacters(), goal=g, words=1) for g in (Promote(k=2), Demote(k=2)))
    assert up.patch == down.patch


@pytest.mark.parametrize("attack", [DeepWordBug(), TextBugger()])
def test_the_search_beats_chance(attack: Any) -> None:
    """Word d of ten is bad for everybody: the search finds it, chance does one time in ten."""
    title = "a1 b1 c1 d1 e1 f1 g1 h1 i1 j1"
    data = dataset([title, "x", "y"], [[1]])
    taste = np.array([[1, 1, 1, -5, 1, 1, 1, 1, 1, 1]], np.float32)
    victim = WordTaste(items=data.items, words=tuple(title.split()), taste=taste)

    def hits(player: Any) -> int:
        model = ThreatModel(goal=Promote(k=1), budget=Budget(words=1))
        texts = [
            mount(player, model, victim, data, panel=data.histories(), target="a", seed=s)
            .patch.rewrites()["a"].text
            for s in range(20)
        ]  # fmt: skip
        return sum("d1" not in text.split() for text in texts)

    assert hits(attack) == 20 and hits(RandomCharacters()) < 10


def test_edits_reach_into_a_long_text() -> None:
    """10,000 characters: without an order to pay for, 40 queries are ten words' worth."""
    world = odd_world()
    model = ThreatModel(goal=Demote(k=1), budget=Budget(words=10, queries=40))
    match = mount(DeepWordBug(ordering=AsRead()), model, world.victim, world.data,
                  panel=world.panel, target="h")  # fmt: skip
    assert 2 <= match.words < 10 and match.queries == 40


def lorem(size: int, seed: int) -> str:
    line = "The quick brown fox, jumps over lazy dogs: Stainless copper Kettle 2.5 litres"
    text = " ".join(np.random.default_rng(seed).choice(line.split(), size=size))
    return text[:size]


def hanzi(size: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list(read().readings), size=size))


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", sorted(RATES))
def test_noise_has_its_nominal_rate(kind: Noise, severity: int) -> None:
    """S1-04: within 10 % of nominal at each severity, as the referee counts edits."""
    for seed in range(2):
        rng = np.random.default_rng(seed)
        text = hanzi(1500, seed) if kind == "homophones" else lorem(3000, seed)
        cost = count_edit(text, add_noise(text, kind, nominal(text, kind, severity, rng), rng))
        whole = len(text) if RATES[kind][0] == 0.02 else len(Draft.of(text).words)
        edits = cost.characters if RATES[kind][0] == 0.02 else cost.words
        assert edits / whole == pytest.approx(RATES[kind][severity - 1], rel=0.1)


@given(st.sampled_from(sorted(RATES)), st.text(max_size=30), st.integers(0, 9), st.integers(0, 99))
def test_noise_is_never_more_than_was_wanted(
    kind: Noise, text: str, amount: int, seed: int
) -> None:
    """S1-04: seeded, and on any text."""
    noisy = add_noise(text, kind, amount, np.random.default_rng(seed))
    assert noisy == add_noise(text, kind, amount, np.random.default_rng(seed))
    cost = count_edit(text, noisy)
    characters = RATES[kind][0] == 0.02
    assert (cost.characters if characters else cost.words) <= amount
    if not characters:
        assert set(split(noisy)) <= set(split(text))


def test_short_texts_have_the_rate_on_average() -> None:
    """2 % of 20 characters are 0.4 edits."""
    drawn = [nominal("a" * 20, "typos", 1, np.random.default_rng(n)) for n in range(1000)]
    assert set(drawn) == {0, 1} and np.mean(drawn) == pytest.approx(0.4, abs=0.05)


def test_word_noise_by_hand() -> None:
    rng = np.random.default_rng
    assert add_noise("a b c d", "truncation", 2, rng(0)) == "a b"
    assert add_noise("a b c d", "truncation", 9, rng(0)) == "a"
    assert len(add_noise("a b c d", "missing-words", 1, rng(0)).split()) == 3
    assert len(add_noise("a b c d", "missing-words", 9, rng(0)).split()) == 1
    assert add_noise("a b", "shuffled-words", 2, rng(0)) == "b a"
    assert add_noise("a b", "shuffled-words", 1, rng(0)) == "a b"
    assert add_noise("a a", "shuffled-words", 2, rng(0)) == "a a"
    assert add_noise("- -", "typos", 5, rng(0)) == "- -"
    assert {add_noise("m", "ocr", 2, rng(n)) for n in range(20)} == {"rn", "nn"}
    assert add_noise("m", "ocr", 1, rng(0)) == "m"  # either would cost two


def test_natural_noise_is_free_and_stays_small() -> None:
    match = play(NaturalNoise(severity=5, noise=("missing-words",)), words=2)
    assert match.queries == 0 and match.words <= 1
    assert len(match.patch.rewrites().get("f", RewriteItem("f", "x")).text.split()) == 1


def test_natural_noise_gives_way_to_the_budget() -> None:
    """Severity 5 on 10,000 characters would be 1,000 edits."""
    world, sizes = odd_world(), []
    for limits in ({"characters": 30}, {"words": 4}, {"characters": 2000}):
        model = ThreatModel(goal=Promote(k=2), budget=Budget(**limits))
        match = mount(NaturalNoise(severity=5), model, world.victim, world.data,
                      panel=world.panel, target="h")  # fmt: skip
        sizes.append((match.characters, match.words))
    assert 28 <= sizes[0][0] <= 30
    assert 3 <= sizes[1][1] <= 4
    assert sizes[2][0] == pytest.approx(1000, rel=0.1)


def test_natural_noise_draws_one_of_its_kinds() -> None:
    attack = NaturalNoise(severity=5, noise=("missing-words", "shuffled-words"))
    texts = {play(attack, words=2, seed=n).patch for n in range(30)}
    seen = {p.rewrites()["f"].text for p in texts if p}
    assert seen == {"plain", "dusty"}  # 40 % of two words are less than a pair that swaps
