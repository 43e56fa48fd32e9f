"""First-order gains: what a gradient by the words of a text says of other words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.vocabulary import said
from hardrank.threats import GradientView
from hardrank.types import Floats
from hardrank.wording import split

__all__ = ["NEUTRAL", "Flips", "Place"]

Place = Literal["front", "end", "instead"]
NEUTRAL = "the"
"""Stands where a word may be inserted while the gradient there is asked for."""


@dataclass(frozen=True, eq=False)
class Flips:
    """Gains of W words at S sites of a draft, to first order:

        instead of the words at a site   mean(g) . e_new - sum g_t . e_t
        inserted                         g . (e_new - e_neutral)

    Sites are the slots that hold something, and the two ends if asked for. One query when it
    is made: the gradient is taken with a neutral word at each open end.
    """

    draft: Draft
    words: tuple[str, ...]
    sites: tuple[tuple[int, Place], ...]
    gains: Floats
    """(S, W + 1), the last column for leaving out what stands there; -inf where nothing is
    changed or nothing can be left out."""

    @classmethod
    def of(
        cls, aim: Aim, draft: Draft, words: Sequence[str], embeddings: Floats, ends: Sequence[Place]
    ) -> "Flips":
        """embeddings: (W, D) of `GradientView.embed`."""
        assert isinstance(aim.view, GradientView)
        open_draft, sites = opened(draft, ends)
        found = aim.view.gradient(aim.target, open_draft.text)
        where = places(open_draft, sites, draft)
        there = said(draft.text)
        stays = np.array([w in there for w in words], dtype=bool)
        gains = np.full((len(sites), len(words) + 1), -np.inf, dtype=np.float32)
        for row, ((_, place), own) in enumerate(zip(sites, where, strict=True)):
            now = float((found.gradient[own] * found.current[own]).sum())
            gains[row, :-1] = embeddings @ found.gradient[own].mean(axis=0) - now
            gains[row, :-1][stays] = -np.inf
            if place == "instead":
                gains[row, -1] = -now
        return cls(draft, tuple(words), tuple(sites), gains)

    def best(self) -> Iterator[Draft]:
        """Drafts one flip or insertion away, the greatest gain first, ties as listed."""
        width = self.gains.shape[1]
        for cell in np.argsort(-self.gains, axis=None, kind="stable").tolist():
            row, column = divmod(cell, width)
            if not np.isneginf(self.gains[row, column]):
                word = self.words[column] if column < width - 1 else ""
                yield fill(self.draft, self.sites[row], word)


def fill(draft: Draft, site: tuple[int, Place], word: str) -> Draft:
    """The draft with a word at a site."""
    slot, place = site
    now = draft.words[slot]
    if place == "instead" or not now:
        return draft.put(slot, word)
    return draft.put(slot, f"{word} {now}" if place == "front" else f"{now} {word}")


def opened(draft: Draft, ends: Sequence[Place]) -> tuple[Draft, list[tuple[int, Place]]]:
    """The draft with a neutral word at each end that is open, and all sites."""
    last = len(draft.words) - 1
    sites: list[tuple[int, Place]] = [
        (slot, "instead") for slot, word in enumerate(draft.words) if word
    ]
    doors: tuple[tuple[Place, int], ...] = (("front", 0), ("end", last))
    for place, slot in doors:
        if place in ends:
            sites.append((slot, place))
            draft = fill(draft, (slot, place), NEUTRAL)
    return draft, sites


def places(open_draft: Draft, sites: Sequence[tuple[int, Place]], draft: Draft) -> list[list[int]]:
    """Which words of the opened text stand at each site."""
    starts = np.cumsum([0, *(len(split(word)) for word in open_draft.words)]).tolist()
    kinds = {place for _, place in sites}
    out = []
    for slot, place in sites:
        first, stop = starts[slot], starts[slot + 1]
        if place == "front":
            stop = first + 1
        elif place == "end":
            first = stop - 1
        else:
            first += int("front" in kinds and slot == 0)
            stop -= int("end" in kinds and slot == len(draft.words) - 1)
        out.append(list(range(first, stop)))
    return out
