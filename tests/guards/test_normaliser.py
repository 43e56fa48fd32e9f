"""Hidden and disguised characters (S0-29)."""

import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.guards import Listing, Normaliser, Shop
from hardrank.guards.characters import mended
from hardrank.language.confusables import SCRIPTS

SHOP = Shop(items=pl.DataFrame({"item_id": ["a"], "title": ["t"]}))

HONEST = [
    'Plain title, 5 oz. (Pack of 2) - 100% "new"',
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440, T-shirt",
    "\u0441\u043e\u0440",  # a Russian word of look-alikes alone
    "\u62a4\u624b\u971c\uff08\u4fdd\u6e7f\uff09\uff35\uff33\uff22 50ml\uff0c\u6b63\u54c1\uff01",
    "\u30af\u30ea\u30fc\u30e0 \uff34\u30b7\u30e3\u30c4",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian joins with a hidden character
    "\u0645\u0631\u062d\u0628\u0627 \u200fABC",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0915\u094d\u200d\u0937",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family \u2764\ufe0f 1\ufe0f\u20e3",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f flag",
    "Caf\u00e9 \u00bd \u2122 5\u00b2 N\u00ba1 \u2460 \u00b5g",
    "\u03b1-lipoic acid \u03b2-carotene",
    "I\u011fd\u0131r \u0131l\u0131k \u015feker",
    "T\u6064 \u65b0\u54c1",
]


@pytest.mark.parametrize("text", HONEST)
def test_leaves_every_script_as_it_is(text: str) -> None:
    verdict = Normaliser().inspect([Listing("a", {"title": text})], SHOP)[0]
    assert verdict.action == "admit"
    assert mended(text).text == text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("c\u200boc\u2060oa", "cocoa"),
        ("P\u0430yp\u0430l", "Paypal"),
        ("soap \u0441\u043e\u0441\u043e", "soap coco"),
        ("M\u043e\u0441\u043a\u0432a", "\u041c\u043e\u0441\u043a\u0432\u0430"),
        ("\uff35\uff33\uff22 cable", "USB cable"),
        ("\U0001d5a1\U0001d5be\U0001d5cc\U0001d5cd buy", "Best buy"),
        ("\u1d18\u0280\u1d07\u1d0d\u026a\u1d1c\u1d0d soap", "premium soap"),
        ("so\u00adap \u200fsale", "soap sale"),
        ("Z\u0337\u0338\u0335\u0336a", "Z\u0337\u0338a"),
        ("\ud800 soap", "\ufffd soap"),
    ],
)
def test_reads_what_a_reader_reads(written: str, read: str) -> None:
    assert mended(written).text == unicodedata.normalize("NFC", read)


@pytest.mark.parametrize("script", list(SCRIPTS))
def test_undoes_a_twin_inside_a_word(script: str) -> None:
    for letter, twin in SCRIPTS[script].items():  # type: ignore[index]
        if letter.isalpha():
            assert mended(f"mv{twin}mv wax").text == f"mv{letter}mv wax"


def test_mends_a_little_and_stops_much() -> None:
    few = Listing("a", {"title": "Fresh soap with al\u200boe"})
    many = Listing("a", {"title": "s\u200bo\u200ba\u200bp"})
    turned = Listing("a", {"title": "Soap \u202eevol htiw edam\u202c"})
    said = Normaliser().inspect([few, many, turned], SHOP)
    assert [v.action for v in said] == ["mend", "quarantine", "quarantine"]
    assert said[0].fields == {"title": "Fresh soap with aloe"}
    assert said[0].spans == (("title", 18, 19),)
    assert said[0].score == pytest.approx(1 / 21)


@given(st.text(max_size=40))
def test_is_done_at_once(text: str) -> None:
    once = mended(text)
    assert unicodedata.is_normalized("NFC", once.text)
    assert all(0 <= start < end <= len(text) for start, end in once.spans)


@given(st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=60))
def test_ascii_is_never_touched(text: str) -> None:
    assert mended(text).text == text
