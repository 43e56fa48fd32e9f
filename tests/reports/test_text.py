"""Escaping, numbers, word differences."""

import math
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.reports.diffs import Piece, diff_words, folded
from hardrank.reports.markdown import plainly
from hardrank.reports.markup import Html, escape, tag, visible
from hardrank.reports.numbers import count, decimal, interval, metric_k, percent, plain, signed
from hardrank.reports.sections.method import toml

THIN = "\u202f"


@given(st.text())
def test_nothing_gets_out_of_an_element_or_an_attribute(words: str) -> None:
    safe = escape(words)
    assert not set("<>\"'") & set(safe)
    assert unescape(safe) == visible(words)
    assert tag("a", words, title=words) == f'<a title="{safe}">{safe}</a>'


def test_markup_is_escaped_once_and_only_text() -> None:
    inner = tag("b", "<i>")
    assert inner == "<b>&lt;i&gt;</b>" and isinstance(inner, Html)
    made = tag("p", inner, ["x", 1, None], class_="a", aria_label="b", id=None)
    assert made == '<p class="a" aria-label="b"><b>&lt;i&gt;</b>x1</p>'
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_hidden_characters_are_spelt_out() -> None:
    assert visible("a\u200bb\u202ec\x00\nd") == "a‹U+200B›b‹U+202E›c‹U+0000›\nd"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (plain(-0.00001), "0.0000"),
        (plain(-1234.5, 1), f"−1{THIN}234.5"),
        (plain(math.nan), "not finite"),
        (decimal(0.05964), "0.0596"),
        (count(3.0), "3"),
        (count(11.44), "11.4"),
        (count(6551.3), f"6{THIN}551"),
        (percent(0.165), f"16.5{THIN}%"),
        (percent(0.0012), f"0.12{THIN}%"),
        (percent(0.0), f"0.0{THIN}%"),
        (signed(percent)(0.02), f"+2.0{THIN}%"),
        (signed(decimal)(0.00001), "0.0000"),
        (interval(0.1, 0.2, percent), f"[10.0, 20.0{THIN}%]"),
        (interval(0.1, None, percent), ""),
    ],
)
def test_numbers_have_one_spelling(made: str, text: str) -> None:
    assert made == text


def test_metric_names_are_read_with_and_without_cutoff() -> None:
    assert metric_k("ndcg@10") == ("ndcg", "10")
    assert metric_k("price(ndcg@5)") == ("price", "5")
    assert metric_k("defence_effect(er_gain)") == ("defence_effect", "")
    assert metric_k("mrr") == ("mrr", "")


def test_difference_is_exact() -> None:
    assert diff_words("red lip balm honey", "best red balm honey argan") == (
        Piece("inserted", ("best",)),
        Piece("same", ("red",)),
        Piece("deleted", ("lip",)),
        Piece("same", ("balm", "honey")),
        Piece("inserted", ("argan",)),
    )
    assert diff_words("a b", "c d e") == (
        Piece("deleted", ("a", "b")),
        Piece("inserted", ("c", "d", "e")),
    )
    assert diff_words("", "") == ()
    assert diff_words("a", "a") == (Piece("same", ("a",)),)


def lcs(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Slow twin: the definition."""
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + lcs(a[1:], b[1:])
    return max(lcs(a[1:], b), lcs(a, b[1:]))


words = st.lists(st.sampled_from("abc"), max_size=6).map(tuple)


@given(words, words)
def test_difference_rebuilds_both_texts_with_fewest_edits(
    a: tuple[str, ...], b: tuple[str, ...]
) -> None:
    pieces = diff_words(" ".join(a), " ".join(b))
    kept = tuple(w for p in pieces if p.op == "same" for w in p.words)
    assert tuple(w for p in pieces if p.op != "inserted" for w in p.words) == a
    assert tuple(w for p in pieces if p.op != "deleted" for w in p.words) == b
    assert len(kept) == lcs(a, b)


def test_long_unchanged_runs_are_folded_beside_the_change() -> None:
    long = tuple(str(i) for i in range(50))
    pieces = diff_words(" ".join(long), " ".join((*long[:25], "new", *long[25:])))
    assert folded(pieces, keep=2) == (
        Piece("same", ("…", "23", "24")),
        Piece("inserted", ("new",)),
        Piece("same", ("25", "26", "…")),
    )


def test_markdown_takes_text_as_text() -> None:
    assert plainly("a|b\n<script> [x](http://y) `c`") == (
        "a\\|b &lt;script&gt; \\[x\\]\\(http\\://y\\) \\`c\\`"
    )


def test_configuration_is_spelt_as_toml_that_reads_back() -> None:
    import tomllib

    config = {
        "seeds": [0, 1],
        "name": 'a "b" \\ \n\x00',
        "odd key": True,
        "data": {"kind": "x", "none": None, "columns": {"user": "u"}},
        "trials": [{"attack": {"kind": "copycat"}, "k": 1.5}, {"attack": {"kind": "y"}}],
    }
    back = tomllib.loads("\n".join(toml(config)))
    assert back == {
        **config,
        "data": {"kind": "x", "columns": {"user": "u"}},
    }
