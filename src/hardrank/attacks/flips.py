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
from hardrank.wording import spans

__all__ = ["Flips", "Place", "Site", "fill", "opened"]

Place = Literal["front", "end", "instead"]
Site = tuple[int, Place]
"""A slot, and where in it."""
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
    sites: tuple[Site, ...]
    gains: Floats
    """(S, W + 1), the last column for leaving out what stands there; -inf where nothing is
    changed or nothing can be left out."""

    @classmethod
    def of(
        cls, aim: Aim, draft: Draft, words: Sequence[str], embeddings: Floats, ends: Sequence[Place]
    ) -> "Flips":
        """embeddings: (W, D) of `GradientView.embed`."""
        assert isinstance(aim.view, GradientView)
        sites = _sites(draft, ends)
        text, where = opened(draft, sites)
        found = aim.view.gradient(aim.target, text)
        there = said(draft.text)
        stays = np.array([w in there for w in words], dtype=bool)
        gains = np.full((len(sites), len(words) + 1), -np.inf, dtype=np.float32)
        for row, ((_, place), own) in enumerate(zip(sites, where, strict=True)):
            if not own:  # what stands there is no word
                continue
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


def _sites(draft: Draft, ends: Sequence[Place]) -> list[Site]:
    sites: list[Site] = [(slot, "instead") for slot, word in enumerate(draft.words) if word]
    doors: tuple[Site, ...] = ((0, "front"), (len(draft.words) - 1, "end"))
    return [*sites, *(door for door in doors if door[1] in ends)]


def fill(draft: Draft, site: Site, word: str) -> Draft:
    """The draft with a word at a site."""
    slot, place = site
    now = draft.words[slot]
    if place == "instead" or not now:
        return draft.put(slot, word)
    return draft.put(slot, f"{word} {now}" if place == "front" else f"{now} {word}")


def opened(draft: Draft, sites: Sequence[Site]) -> tuple[str, list[list[int]]]:
    """The text with a neutral word wherever one of the sites inserts, and which words of that
    text stand at each site: those that share a character with it."""
    ends = [place for _, place in sites if place != "instead"]
    made = draft
    for site in sites:
        made = fill(made, site, NEUTRAL) if site[1] != "instead" else made
    words, found, last = spans(made.text), [], len(draft.words) - 1
    for slot, place in sites:
        start, end = made.places[slot]
        if place == "front":
            end = start + len(NEUTRAL)
        elif place == "end":
            start = end - len(NEUTRAL)
        else:
            start += (len(NEUTRAL) + 1) * ("front" in ends and slot == 0)
            end -= (len(NEUTRAL) + 1) * ("end" in ends and slot == last)
        found.append([n for n, (a, b) in enumerate(words) if a < end and start < b])
    return made.text, found
