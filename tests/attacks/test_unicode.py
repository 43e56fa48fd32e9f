"""What the eye does not see and a tokeniser does."""

import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hardrank.attacks import Homoglyph, ZeroWidth
from hardrank.attacks.draft import Draft
from hardrank.attacks.tables.confusables import SCRIPTS, alike
from hardrank.attacks.transformations import ConfuseCharacters, InsertZeroWidth
from hardrank.attacks.transformations.zero_width import INVISIBLE
from hardrank.data import Patch
from hardrank.testing import planted_world
from hardrank.threats import Budget, Demote, Match, Promote, ThreatModel, count_edit, mount
from hardrank.wording import split

WORLD = planted_world()
ALL = 1000
SHOP: Any = None  # none of these edits looks at the shop


def ways(edit: Any, word: str) -> list[str]:
    return sorted(edit(Draft.of(word), 0, SHOP, np.random.default_rng(0)))


def play(attack: Any, target: str = "f", *, goal: Any = None, **limits: Any) -> Match:
    model = ThreatModel(goal=goal or Promote(k=2), budget=Budget(**limits))
    return mount(attack, model, WORLD.victim, WORLD.data, panel=WORLD.panel, target=target)


@pytest.mark.parametrize("script", ["cyrillic", "greek"])
def test_twins_are_letters_of_their_script(script: Any) -> None:
    """Named as such by Unicode, of the same case, and untouched by NFKC."""
    assert len(SCRIPTS[script]) > 20
    for latin, twin in SCRIPTS[script].items():
        name = unicodedata.name(twin)
        assert name.startswith(script.upper()), name
        assert latin.isascii() and latin.isalpha() and len(twin) == 1
        same = latin in ("b", "l") or latin.isupper() == twin.isupper()  # \u042c, \u04c0
        assert same or twin in "\u03f2\u03f3", name
        assert unicodedata.normalize("NFKC", twin) in (twin, "\u03c2", "\u03a3")


@pytest.mark.parametrize("script", ["fullwidth", "mathematical"])
def test_compatible_twins_become_latin_again(script: Any) -> None:
    for latin, twin in SCRIPTS[script].items():
        assert twin != latin and unicodedata.normalize("NFKC", twin) == latin


def test_known_twins() -> None:
    assert alike("a", ("cyrillic", "greek")) == ("\u0430", "\u03b1")
    assert alike("A", ("fullwidth",)) == ("\uff21",)
    assert alike("z", ("mathematical",)) == ("\U0001d5d3",)
    assert alike("7", ("mathematical", "cyrillic")) == ("\U0001d7e9",)
    assert alike("\u624b", ("cyrillic", "greek", "fullwidth", "mathematical")) == ()


def test_one_letter_or_all() -> None:
    one = ConfuseCharacters(scripts=("cyrillic",), candidates=ALL)
    assert ways(one, "cap") == ["ca\u0440", "c\u0430p", "\u0441ap"]
    whole = ConfuseCharacters(scripts=("cyrillic", "greek"), whole_word=True)
    assert ways(whole, "cap") == ["\u03f2\u03b1\u03c1", "\u0441\u0430\u0440"]
    assert ways(whole, "64-bit")  # what has no twin stays
    assert ways(whole, "\u624b") == ways(one, "") == []


def test_scripts_are_checked() -> None:
    for wrong in ((), ("runic",)):
        with pytest.raises(ValidationError):
            ConfuseCharacters(scripts=wrong)  # type: ignore[arg-type]


def test_invisible_characters_are_what_they_are_called() -> None:
    assert {unicodedata.name(c) for c in INVISIBLE.values()} == {
        "ZERO WIDTH SPACE", "ZERO WIDTH NON-JOINER", "ZERO WIDTH JOINER", "WORD JOINER",
        "SOFT HYPHEN",
    }  # fmt: skip
    assert {unicodedata.category(c) for c in INVISIBLE.values()} == {"Cf"}


def test_where_invisible_characters_stand() -> None:
    space = InsertZeroWidth(characters=("space",), candidates=ALL)
    assert ways(space, "cup") == ["cu\u200bp", "c\u200bup"]
    assert ways(space, "a") == ["a\u200b"]
    assert ways(space, "\u624b") == ["\u624b\u200b"]
    assert ways(space, "") == []
    assert len(ways(InsertZeroWidth(candidates=ALL), "cup")) == 10


def test_joiners_shape_nothing() -> None:
    """Between Arabic, Indic and emoji characters joiners would be seen: they are left out."""
    joiners = InsertZeroWidth(characters=("joiner", "non-joiner"), candidates=ALL)
    for word in ("\u0647\u0627\u062a\u0641", "\u0915\u0916", "\U0001f468\U0001f469"):
        assert ways(joiners, word) == []
    assert len(ways(joiners, "ab")) == 2 and len(ways(joiners, "\u0430\u0431")) == 2


@given(st.text(max_size=8), st.integers(0, 9))
def test_nothing_is_seen(text: str, seed: int) -> None:
    """Taken out again, the text is what it was; each edit costs one word and one character."""
    draft, rng = Draft.of(text), np.random.default_rng(seed)
    for slot in range(len(draft.words)):
        for filling in InsertZeroWidth()(draft, slot, SHOP, rng):
            after = draft.put(slot, filling).text
            (added,) = set(filling) & set(INVISIBLE.values()) - set(text) or {""}
            if added:
                assert after.replace(added, "") == text
            cost = count_edit(text, after)
            assert (cost.words, cost.characters) == (1, 1)


@given(st.text("acepxyABHM-7", min_size=1, max_size=6), st.integers(0, 9))
def test_twins_cost_what_they_replace(word: str, seed: int) -> None:
    draft, rng = Draft.of(word), np.random.default_rng(seed)
    for filling in ConfuseCharacters()(draft, 0, SHOP, rng):
        cost = count_edit(word, filling)
        assert (cost.words, cost.characters) == (1, 1)


@pytest.mark.parametrize("attack", [Homoglyph(), Homoglyph(whole_word=True), ZeroWidth()])
def test_the_bad_word_is_hidden(attack: Any) -> None:
    """dusty is worth -1 as long as the victim knows it: 2 queries for the order, then at most
    three ways to write it; plain costs none, the budget is full."""
    match = play(attack, words=1)
    first, second = split(match.patch.rewrites()["f"].text)
    assert first == "plain" and second != "dusty"
    assert match.words == 1 and 2 < match.queries <= 5
    assert play(ZeroWidth(), words=1).characters == 1


def test_own_words_can_be_hidden_to_demote() -> None:
    match = play(ZeroWidth(), "b", goal=Demote(k=2), words=2)
    text = match.patch.rewrites()["b"].text
    bare = "".join(c for c in text if c not in INVISIBLE.values())
    assert bare == "moon river" and not {"moon", "river"} & set(text.split())


def test_without_twins_nothing_happens() -> None:
    """No letter of 'muddle' has a Greek twin but u: written 'mddle', none has."""
    assert ways(ConfuseCharacters(scripts=("greek",)), "mddle") == []
    assert play(Homoglyph(), words=0).patch == Patch()
