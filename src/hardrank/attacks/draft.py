"""A text as slots that edits fill: what transformations, orderings and searches share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

from hardrank.wording import spans

__all__ = ["Draft"]


@dataclass(frozen=True)
class Draft:
    """A text cut into W slots, one for each word of the original, with what stands between.

    An edit fills a slot with other text: another word, none, or several (an insertion is a
    slot that holds a new word beside the old one). Slots never move, so edits of different
    slots combine freely, and what was touched is known without comparing texts. An empty
    text has one empty slot.
    """

    words: tuple[str, ...]
    """(W,) as they read now."""
    original: tuple[str, ...]
    """(W,) as they read at first."""
    gaps: tuple[str, ...]
    """(W + 1,) what stands before, between and after the slots."""

    @classmethod
    def of(cls, text: str) -> "Draft":
        found = spans(text) or [(len(text), len(text))]
        words = tuple(text[start:end] for start, end in found)
        ends = [0, *(end for _, end in found)]
        starts = [*(start for start, _ in found), len(text)]
        gaps = tuple(text[a:b] for a, b in zip(ends, starts, strict=True))
        return cls(words, words, gaps)

    @cached_property
    def text(self) -> str:
        """A slot that was emptied takes one of the gaps beside it along, an empty one first."""
        before, after = self._around
        return before + "".join(chain.from_iterable(zip(self.words, after, strict=True)))

    @cached_property
    def places(self) -> tuple[tuple[int, int], ...]:
        """(W,) where in `text` the filling of each slot stands: (start, end)."""
        before, after = self._around
        at, found = len(before), []
        for word, gap in zip(self.words, after, strict=True):
            found.append((at, at + len(word)))
            at += len(word) + len(gap)
        return tuple(found)

    @cached_property
    def _around(self) -> tuple[str, Sequence[str]]:
        """What stands before the first slot and (W,) after each, as they are filled now."""
        before, after = self.gaps[0], self.gaps[1:]
        if all(self.words):
            return before, after
        left, last, kept = -1, len(after) - 1, list(after)
        for slot, word in enumerate(self.words):
            if word or not self.original[slot]:
                left = slot
                continue
            kept[slot] = ""
            if slot == last and left < 0:
                before = after[slot]
            elif slot == last or (left >= 0 and not kept[left]):
                kept[left] = after[slot]
        return before, kept

    @property
    def touched(self) -> tuple[int, ...]:
        """Slots that read otherwise than at first."""
        pairs = enumerate(zip(self.words, self.original, strict=True))
        return tuple(slot for slot, (now, first) in pairs if now != first)

    def put(self, slot: int, filling: str) -> "Draft":
        """The same with `filling` in the slot."""
        return replace(self, words=(*self.words[:slot], filling, *self.words[slot + 1 :]))
