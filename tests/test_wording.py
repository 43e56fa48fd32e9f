"""What a word is."""

from hypothesis import given
from hypothesis import strategies as st

from hardrank.wording import spans, split


def test_blanks_separate_and_han_stands_alone() -> None:
    assert split("苹果手机 Pro 2.0版") == ["苹", "果", "手", "机", "Pro", "2.0", "版"]
    assert split("すごいCD") == ["す", "ご", "い", "CD"]
    assert split("مرحبا بالعالم 👍🏽!") == ["مرحبا", "بالعالم", "👍🏽!"]
    assert split("") == [] and split(" \t\n") == []


@given(st.text())
def test_spans_are_the_words_and_leave_only_blanks(text: str) -> None:
    found = spans(text)
    assert [text[a:b] for a, b in found] == split(text)
    rest = list(text)
    for start, end in found:
        rest[start:end] = [" "] * (end - start)
    assert "".join(rest).strip() == "" and all(a < b for a, b in found)


@given(st.text(st.characters(max_codepoint=0x2FFF)))
def test_without_han_or_kana_it_is_str_split(text: str) -> None:
    assert split(text) == text.split()
