"""Slots that edits fill: the foundation of every composed attack."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.attacks.draft import Draft
from hardrank.threats import count_edit
from hardrank.wording import split

texts = st.text(st.sampled_from("ab\u00e9 \t\u624b\u30b1\u0647\U0001f44d\u200d"), max_size=20)
fillings = st.text(st.sampled_from("xy \u673a"), max_size=4)


@given(st.text(max_size=50))
def test_a_draft_reads_as_its_text(text: str) -> None:
    draft = Draft.of(text)
    assert draft.text == text
    assert draft.words == draft.original == (tuple(split(text)) or ("",))
    assert len(draft.gaps) == len(draft.words) + 1
    assert draft.touched == ()


@given(texts, st.data())
def test_a_filling_stands_where_the_slot_is(text: str, data: st.DataObject) -> None:
    """Whatever is put into whichever slots: those are touched, and read where `places` says."""
    draft = first = Draft.of(text)
    for slot in data.draw(st.lists(st.integers(0, len(first.words) - 1), max_size=4)):
        draft = draft.put(slot, data.draw(fillings))
    assert draft.original == first.original and draft.gaps == first.gaps
    changed = [s for s, w in enumerate(draft.words) if w != first.words[s]]
    assert draft.touched == tuple(changed)
    for (start, end), word in zip(draft.places, draft.words, strict=True):
        assert draft.text[start:end] == word
    assert first.text == text, "a draft was changed in place"


@given(texts, st.data())
def test_order_of_edits_does_not_matter(text: str, data: st.DataObject) -> None:
    draft = Draft.of(text)
    slots = data.draw(st.lists(st.integers(0, len(draft.words) - 1), unique=True, max_size=4))
    edits = [(slot, data.draw(fillings)) for slot in slots]
    there, back = draft, draft
    for edit in edits:
        there = there.put(*edit)
    for edit in reversed(edits):
        back = back.put(*edit)
    assert there == back and there.text == back.text


@given(st.text(st.sampled_from("ab "), max_size=20), st.data())
def test_a_slot_with_another_word_costs_one_word(text: str, data: st.DataObject) -> None:
    """The referee counts no more words than slots that were touched."""
    draft = Draft.of(text)
    for slot in data.draw(st.lists(st.integers(0, len(draft.words) - 1), max_size=3)):
        draft = draft.put(slot, data.draw(st.sampled_from(["x", "yy", ""])))
    assert count_edit(text, draft.text).words <= len(draft.touched)


@pytest.mark.parametrize(
    ("text", "slot", "left"),
    [
        ("red tea cup", 0, "tea cup"),
        ("red tea cup", 1, "red cup"),
        ("red tea cup", 2, "red tea"),
        ("red  tea\tcup", 1, "red  cup"),
        (" red tea ", 1, " red "),
        (" red ", 0, " "),
        ("red", 0, ""),
        ("", 0, ""),
        ("\u624b\u673a\u58f3", 1, "\u624b\u58f3"),
        ("red \u624b\u673a", 1, "red \u673a"),
        ("red \u624b\u673a", 0, "\u624b\u673a"),
        ("iPhone\u58f3 case", 1, "iPhone case"),
        ("\u624b\u673a", 0, "\u673a"),
    ],
)
def test_an_empty_slot_takes_a_gap_along(text: str, slot: int, left: str) -> None:
    assert Draft.of(text).put(slot, "").text == left


def test_all_slots_emptied() -> None:
    draft = Draft.of("red tea cup")
    for slot in (1, 2, 0):
        draft = draft.put(slot, "")
    assert draft.text == "" and draft.touched == (0, 1, 2)
    assert Draft.of("red tea cup").put(1, "").put(2, "").text == "red"
    assert Draft.of("iPhone\u624b\u58f3 case").put(1, "").put(2, "").text == "iPhone case"


def test_an_empty_text_has_one_slot() -> None:
    assert Draft.of("").put(0, "best tea").text == "best tea"
    assert Draft.of(" \n").put(0, "best").text == " \nbest"
    assert Draft.of("").put(0, "best").touched == (0,)


def test_an_edit_taken_back_is_none() -> None:
    draft = Draft.of("red tea")
    assert draft.put(0, "blue").put(0, "red") == draft


def test_a_long_text_is_cut_once() -> None:
    text = "red tea cup " * 833 + "\U0001f44d"
    draft = Draft.of(text)
    assert len(text) == 9997 and len(draft.words) == 2500
    assert draft.put(2499, "x").text == "red tea cup " * 833 + "x"
