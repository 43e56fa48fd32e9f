"""Forms of words: expected by hand, and the inverse undoes what was done."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.language.forms import inflect, lemmas, like, shell


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("blue", ("", "blue", "")),
        ('("Blue"),', ('("', "Blue", '"),')),
        ("anti-aging.", ("", "anti-aging", ".")),
        ("🎉", ("", "🎉", "")),
        ("🎉red", ("🎉", "red", "")),
        ("红", ("", "红", "")),
        ("שלום!", ("", "שלום", "!")),
        ("हिन्दी", ("", "हिन्दी", "")),  # ends with a combining vowel
        ("", ("", "", "")),
    ],
)
def test_shell(word: str, parts: tuple[str, str, str]) -> None:
    assert shell(word) == parts


@settings(deadline=None)
@given(st.text(max_size=20))
def test_shell_loses_nothing(word: str) -> None:
    assert "".join(shell(word)) == word


@pytest.mark.parametrize(
    ("word", "pattern", "made"),
    [
        ("azure", "Blue", "Azure"),
        ("azure", "BLUE", "AZURE"),
        ("azure", "blue", "azure"),
        ("Paris", "city", "Paris"),
        ("azure", "A", "Azure"),
        ("azure", "bLUE", "azure"),
        ("azure", "", "azure"),
        ("azure", "红", "azure"),
        ("", "Blue", ""),
    ],
)
def test_like(word: str, pattern: str, made: str) -> None:
    assert like(word, pattern) == made


@pytest.mark.parametrize(
    ("word", "form", "made"),
    [
        ("lotion", "plural", "lotions"),
        ("brush", "plural", "brushes"),
        ("box", "plural", "boxes"),
        ("berry", "plural", "berries"),
        ("toy", "plural", "toys"),
        ("knife", "plural", "knives"),
        ("child", "plural", "children"),
        ("nail polish", "plural", "nail polishes"),
        ("wash", "third", "washes"),
        ("dry", "third", "dries"),
        ("go", "third", "goes"),
        ("leaf", "third", "leafs"),  # a verb here: leaves is the noun's
        ("stop", "ing", "stopping"),
        ("quit", "ing", "quitting"),
        ("fix", "ing", "fixing"),
        ("open", "ing", "opening"),
        ("begin", "ing", "beginning"),
        ("make", "ing", "making"),
        ("see", "ing", "seeing"),
        ("die", "ing", "dying"),
        ("make up", "ing", "making up"),
        ("paint", "ed", "painted"),
        ("like", "ed", "liked"),
        ("dry", "ed", "dried"),
        ("play", "ed", "played"),
        ("plan", "ed", "planned"),
        ("make", "ed", "made"),
        ("red", "base", "red"),
        ("", "plural", ""),
    ],
)
def test_inflect_and_back(word: str, form: str, made: str) -> None:
    assert inflect(word, form) == made
    if form != "base" and word and " " not in word:
        assert (word, form) in set(lemmas(made))


def test_lemmas_tell_hop_from_hope() -> None:
    assert "hope" in dict(lemmas("hoping")) and "hop" not in dict(lemmas("hoping"))
    assert "hop" in dict(lemmas("hopping")) and "hope" not in dict(lemmas("hopping"))
    assert ("travel", "ed") in set(lemmas("travelled"))


@settings(deadline=None)
@given(st.text(max_size=15))
def test_lemmas_are_what_inflects_to_the_word(word: str) -> None:
    for base, form in lemmas(word):
        assert inflect(base, form) == word or word.startswith(base + "l")
