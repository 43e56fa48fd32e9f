"""Unicode tricks undone: hidden characters, look-alikes, turned directions."""

from collections.abc import Sequence
from typing import Literal

from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.characters import mended
from hardrank.guards.lesson import Lesson
from hardrank.types import Share, spec

__all__ = ["Normaliser"]


@spec
class Normaliser:
    """Texts as a reader takes them; see `hardrank.guards.characters`.

    Boucher et al., IEEE S&P 2022, arXiv:2106.09898, section VIII (invisible characters,
    homoglyphs, reorderings, deletions) name the tricks; rules are those of Unicode Technical
    Standard 39. A text with a few such characters is mended; one that is made of them was
    written to be read by a machine alone, and somebody should see it.
    """

    kind: Literal["normaliser"] = "normaliser"
    most: Share = 0.3
    """Share of a listing's characters that may be mended; above it goes to quarantine."""

    def fit(self, lesson: Lesson) -> "Normaliser":
        """Nothing is learned."""
        return self

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        return [self._verdict(listing) for listing in listings]

    def _verdict(self, listing: Listing) -> Verdict:
        read = {name: mended(text) for name, text in listing.fields.items()}
        fields = {name: done.text for name, done in read.items()}
        if fields == dict(listing.fields):
            return admit(self.kind)
        spans = tuple((name, *span) for name, done in read.items() for span in done.spans)
        changed = sum(len(done.changed) for done in read.values())
        share = changed / max(sum(map(len, listing.fields.values())), 1)
        if share > self.most:
            reason = f"{changed} characters ({share:.0%}) are not what they look like"
            return Verdict("quarantine", self.kind, share, reason, fields, spans)
        return Verdict("mend", self.kind, share, _told(changed), fields, spans)


def _told(changed: int) -> str:
    if not changed:
        return "characters are composed"
    return f"{changed} hidden or disguised character{'s' if changed > 1 else ''} undone"
