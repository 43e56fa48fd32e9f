"""What happens to text without anybody's intent: slips of keys, misreadings, lost words.

Every kind of noise makes a wanted number of edits: of characters or of words, as the referee
counts them. Where a text has too little that can be hit, it gets fewer.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.letters import units
from hardrank.attacks.tables.hanzi import read
from hardrank.attacks.tables.keyboard import NEIGHBOURS
from hardrank.attacks.tables.lookalikes import MISREAD
from hardrank.wording import split

__all__ = ["RATES", "Noise", "add_noise", "nominal"]

Noise = Literal["typos", "ocr", "homophones", "truncation", "shuffled-words", "missing-words"]

_CHARACTERS = (0.02, 0.04, 0.06, 0.08, 0.10)
_WORDS = (0.05, 0.10, 0.20, 0.30, 0.40)
RATES: dict[Noise, tuple[float, ...]] = {
    "typos": _CHARACTERS,
    "ocr": _CHARACTERS,
    "homophones": _CHARACTERS,
    "truncation": _WORDS,
    "shuffled-words": _WORDS,
    "missing-words": _WORDS,
}
"""Edit rate at severities 1 to 5: of the characters of the text, for the last three of its
words."""


def nominal(text: str, kind: Noise, severity: int, rng: np.random.Generator) -> int:
    """Edits at this severity; the part of an edit that is left over is drawn, so that short
    texts have the rate on average."""
    size = len(text) if RATES[kind] is _CHARACTERS else len(Draft.of(text).words)
    whole, part = divmod(RATES[kind][severity - 1] * size, 1)
    return int(whole) + int(rng.random() < part)


def add_noise(text: str, kind: Noise, amount: int, rng: np.random.Generator) -> str:
    """`text` with about `amount` edits. More of them hit what fewer hit, and more, where the
    generator is in the same state."""
    return _KINDS[kind](text, amount, rng) if amount > 0 else text


Slip = Callable[[Sequence[str], int, np.random.Generator], tuple[int, str, int] | None]
"""(units, place, rng) -> (how many units are replaced, by what, at what cost), or None."""


def _slips(slip: Slip) -> Callable[[str, int, np.random.Generator], str]:
    """Slips at places drawn by chance, no two side by side, until their costs add up."""

    def hit(text: str, amount: int, rng: np.random.Generator) -> str:
        cut = units(text)
        free, changed, spent = [True] * (len(cut) + 3), list(cut), 0
        for place in rng.permutation(len(cut)).tolist():
            if spent >= amount:
                break
            found = slip(cut, place, rng) if all(free[place : place + 4]) else None
            if found is None or spent + found[2] > amount:
                continue
            width, new, cost = found
            changed[place : place + width] = [new, *[""] * (width - 1)]
            free[place + 1 : place + 1 + width] = [False] * width
            spent += cost
        return "".join(changed)

    return hit


def _typo(cut: Sequence[str], place: int, rng: np.random.Generator) -> tuple[int, str, int] | None:
    """A neighbouring key, a key hit twice or not at all, or two keys in the wrong order."""
    now, ways = cut[place], ["double", "drop"]
    after = cut[place + 1] if place + 1 < len(cut) else ""
    if not now[0].isalnum():
        return None
    if now in NEIGHBOURS:
        ways.append("beside")
    if after[:1].isalnum() and after != now:
        ways.append("order")
    way = ways[int(rng.integers(len(ways)))]
    if way == "order":
        return 2, after + now, len(now) + len(after)
    if way == "beside":
        return 1, NEIGHBOURS[now][int(rng.integers(len(NEIGHBOURS[now])))], 1
    return 1, now * 2 if way == "double" else "", len(now)


def _misread(
    cut: Sequence[str], place: int, rng: np.random.Generator
) -> tuple[int, str, int] | None:
    """What optical character recognition takes a shape for."""
    now = cut[place]
    shapes = MISREAD.get(now) or tuple(read().glyphs.get(now, ""))
    if not shapes:
        return None
    new = shapes[int(rng.integers(len(shapes)))]
    return 1, new, len(new)


def _homophone(
    cut: Sequence[str], place: int, rng: np.random.Generator
) -> tuple[int, str, int] | None:
    """The wrong choice of an input method that is fed pinyin."""
    sounds = read().homophones(cut[place])
    return (1, sounds[int(rng.integers(len(sounds)))], 1) if sounds else None


def _truncate(text: str, amount: int, rng: np.random.Generator) -> str:
    """The end is cut off; one word is left."""
    draft = Draft.of(text)
    words = len(draft.words)
    for slot in range(max(1, words - amount), words):
        draft = draft.put(slot, "")
    return draft.text


def _miss(text: str, amount: int, rng: np.random.Generator) -> str:
    """Words are left out here and there; one is left."""
    draft = Draft.of(text)
    for slot in rng.permutation(len(draft.words)).tolist()[1:]:
        if amount < 1:
            break
        if not _merges(draft, slot, [""]):
            draft, amount = draft.put(slot, ""), amount - 1
    return draft.text


def _shuffle(text: str, amount: int, rng: np.random.Generator) -> str:
    """Different neighbours change places: two edits each, no two pairs side by side."""
    draft, free = Draft.of(text), set(range(-1, len(Draft.of(text).words) + 1))
    for slot in rng.permutation(len(draft.words) - 1).tolist():
        if amount < 2:
            break
        first, second = draft.words[slot : slot + 2]
        if first == second or not free >= {slot - 1, slot, slot + 1, slot + 2}:
            continue
        if not _merges(draft, slot, [second, first]):
            draft = draft.put(slot, second).put(slot + 1, first)
            free -= {slot, slot + 1}
            amount -= 2
    return draft.text


def _merges(draft: Draft, slot: int, words: Sequence[str]) -> bool:
    """Whether these words in `slot` and after it would run together with those beside them,
    as Latin letters do where only a Chinese character stood between."""
    if "" not in draft.gaps[1:-1]:
        return False
    end = slot + len(words)
    left = next((n for n in range(slot - 1, -1, -1) if draft.words[n]), slot)
    right = next((n for n in range(end, len(draft.words)) if draft.words[n]), end - 1)
    part = Draft(
        (*draft.words[left:slot], *words, *draft.words[end : right + 1]),
        draft.original[left : right + 1],
        draft.gaps[left : right + 2],
    )
    return split(part.text) != [word for word in part.words if word]


_KINDS: dict[Noise, Callable[[str, int, np.random.Generator], str]] = {
    "typos": _slips(_typo),
    "ocr": _slips(_misread),
    "homophones": _slips(_homophone),
    "truncation": _truncate,
    "missing-words": _miss,
    "shuffled-words": _shuffle,
}
