"""Texts that were written to break a guard: every guard answers, and in bounded time."""

import time

import pytest

from hardrank.guards import GUARDS, AdversarialText, Guard, Listing
from hardrank.testing.guards import planted_lesson

MEGABYTE = 1_000_000
LIMIT = 20.0
"""Seconds of CPU for one listing of a megabyte, on a slow machine. The service takes fields of
10,000 characters at most."""
HOSTILE = {
    "nothing": "",
    "blanks": " \t\n" * 20,
    "one zero-width space": "\u200b",
    "only zero-width characters": "\u200b\u200c\u200d\u2060\ufeff" * 2_000,
    "combining marks": "e" + "\u0301" * 10_000,
    "mixed combining marks": "e" + "\u0301\u0323" * 5_000,
    "directions": "\u202e\u2066\u2069\u202c" * 2_500,
    "long words": "alba cream " * (MEGABYTE // 11),
    "one word": "a" * MEGABYTE,
    "no letters": "!?" * (MEGABYTE // 2),
    "distinct words": " ".join(f"w{n}" for n in range(MEGABYTE // 8)),
    "look-alikes": "\u0430\u0435\u043e" * 3_333,
    "other planes": "\U0001f600\U00020000" * 5_000,
    "control characters": "\x00\x1b\x7f" * 100,
    "unpaired surrogate": "alba \ud800 cream",
}


@pytest.fixture(scope="module")
def guards() -> list[Guard]:
    lesson = planted_lesson()
    specs = [AdversarialText(trees=40) if g is AdversarialText else g() for g in GUARDS]
    return [made.fit(lesson) for made in specs]


CASES = [
    pytest.param(name, marks=pytest.mark.slow if len(text) > MEGABYTE // 2 else ())
    for name, text in HOSTILE.items()
]


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_text_is_judged_in_bounded_time(guards: list[Guard], name: str) -> None:
    text, shop = HOSTILE[name], planted_lesson().shop
    stands = {"title": "Alba soft cream 125 ml"}
    asked = [
        Listing("new", {"title": text}),
        Listing("i1", {"title": text}, stands, events=50),
        Listing("i2", stands, {"title": text}, events=50),
    ]
    for guard in guards:
        for listing in asked[:1] if len(text) > 100_000 else asked:
            began = time.process_time()
            [verdict] = guard.inspect([listing], shop)
            spent = time.process_time() - began
            assert verdict.action in ("admit", "mend", "quarantine") and 0 <= verdict.score <= 1
            assert spent < LIMIT, f"{guard.kind}: {spent:.1f} s"


def test_a_listing_without_texts_is_judged(guards: list[Guard]) -> None:
    shop = planted_lesson().shop
    for guard in guards:
        for listing in (Listing("x", {}), Listing("i1", {}, {}, 5), Listing("", {"": ""})):
            [verdict] = guard.inspect([listing], shop)
            assert verdict.guard == guard.kind
