"""Listings that become another product once people trust them."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.lesson import Lesson
from hardrank.types import Count, Share, spec
from hardrank.wording import split

__all__ = ["ChangeOfText", "text_distance"]


@spec
class ChangeOfText:
    """distance of the texts x stake, with stake = events / (events + half).

    A listing earns its events under one text; who rewrites it takes them to another product
    (review hijacking). A new item has nothing at stake, a bestseller that swaps most of its
    words a lot. Nothing is learned: `half` and `most` are policy.
    """

    kind: Literal["change-of-text"] = "change-of-text"
    half: Count = 20
    """Events at which half of them are at stake."""
    most: Share = 0.5
    """Score above which somebody has to look."""

    def fit(self, lesson: Lesson) -> "ChangeOfText":
        """Nothing is learned."""
        return self

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        return [self._verdict(listing) for listing in listings]

    def _verdict(self, listing: Listing) -> Verdict:
        if listing.before is None or listing.events == 0:
            return admit(self.kind)
        distance = text_distance(listing.text_before, listing.text)
        score = distance * listing.events / (listing.events + self.half)
        if score <= self.most:
            return admit(self.kind, score)
        reason = f"{distance:.0%} of the words changed after {listing.events} events"
        return Verdict("quarantine", self.kind, score, reason)


def text_distance(before: str, after: str) -> float:
    """Share of the words of the longer text that the other does not have, without case and
    order: 0 for the same words, 1 for none in common; 0 for two empty texts."""
    old, new = (Counter(split(text.lower())) for text in (before, after))
    most = max(old.total(), new.total())
    return 1 - (old & new).total() / most if most else 0.0
