"""Listings that become another product once people trust them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Le, Lt
from numpy.typing import NDArray

from hardrank.errors import BundleError
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.lesson import Lesson, border, share_above
from hardrank.types import Count, spec
from hardrank.wording import split

__all__ = ["ChangeOfText", "FittedChangeOfText", "text_distance"]

Doubles = NDArray[np.float64]
_MARKS = ".,;:!?()[]\"'*"


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedChangeOfText:
    """Two borders: how much of a text may go, and how many words an edit may bring."""

    spec: "ChangeOfText"
    borders: Doubles
    """(2,) share of the words of the old text that may go with all at stake, and new words: n
    of them after w may be n / (w + n) of a text, where that is more than `most`."""

    @property
    def kind(self) -> str:
        return self.spec.kind

    @property
    def threshold(self) -> float:
        """Of `raw`."""
        return 1.0

    def raw(self, listings: Sequence[Listing], shop: Shop) -> Doubles:
        """(N,) stake times the larger of both shares, each over its border; above 1 is held."""
        changes = _changes(listings)
        came = self.borders[1] / np.maximum(changes[:, 3] + self.borders[1], 1)
        edges = np.column_stack([np.full(len(came), self.borders[0]), came])
        shares = changes[:, :2] / np.maximum(edges, self.spec.most)
        events = np.asarray([one.events for one in listings], dtype=np.float64)
        worst: Doubles = shares.max(axis=1, initial=0.0) * events / (events + self.spec.half)
        return worst

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        raw = self.raw(listings, shop)
        return [
            Verdict("quarantine", self.kind, share, _reason(one))
            if value > self.threshold
            else admit(self.kind, share)
            for one, value, share in zip(listings, raw, share_above(raw, 1.0), strict=True)
        ]

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"borders": self.borders}


@spec
class ChangeOfText:
    """change of the text x stake, with stake = events / (events + half).

    A listing earns its events under one text; who rewrites it takes them to another product
    (review hijacking). A new item has nothing at stake, a bestseller that swaps most of its
    words a lot. `half` and `most` are policy. Of a short text an honest edit changes more than
    `most` when it brings a few words: as many as simulated honest edits of the catalogue bring
    are let in, and as large a share may go as they take.
    """

    kind: Literal["change-of-text"] = "change-of-text"
    half: Count = 20
    """Events at which half of them are at stake."""
    most: Annotated[float, Gt(0), Le(1)] = 0.5
    """Share of the words, with all at stake, above which somebody has to look."""
    false_alarms: Annotated[float, Gt(0), Lt(1)] = 0.001
    """Share of honest edits, held out, that may be stopped."""

    def fit(self, lesson: Lesson) -> FittedChangeOfText:
        """From honest edits of the lesson's catalogue."""
        _, aside = lesson.rows()
        changes = _changes(lesson.edits(aside))
        if not len(changes):
            return self.restore({})
        edges = [border(changes[:, n], self.false_alarms / 2) for n in (0, 2)]
        return FittedChangeOfText(spec=self, borders=np.asarray(edges))

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedChangeOfText:
        """The inverse of `arrays`; of guards that were kept before borders were learned, the
        policy alone. Raises `BundleError` for other than two borders."""
        borders = np.asarray(arrays.get("borders", np.zeros(2)), dtype=np.float64)
        if borders.shape != (2,):
            raise BundleError(f"{self.kind}: borders of shape {borders.shape}; fit it again")
        return FittedChangeOfText(spec=self, borders=borders)


def text_distance(before: str, after: str) -> float:
    """Share of the words of the longer text that the other does not have, without case, order
    and marks around words: 0 for the same words, 1 for none in common; 0 for two empty texts."""
    return max(_change(before, after)[:2])


def _changes(listings: Sequence[Listing]) -> Doubles:
    """(N, 4) of `_change`; 0 for a new item."""
    rows = [
        (0.0,) * 4 if one.before is None else _change(one.text_before, one.text) for one in listings
    ]
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), 4)


def _change(before: str, after: str) -> tuple[float, float, float, float]:
    """Share of the words of before that went, share of the words of after that are new; how
    many those are; words of before."""
    old, new = _words(before), _words(after)
    both = (old & new).total()
    went, came = old.total() - both, new.total() - both
    return went / max(old.total(), 1), came / max(new.total(), 1), came, old.total()


def _words(text: str) -> Counter[str]:
    words = Counter(word.strip(_MARKS) for word in split(text.lower()))
    words.pop("", None)  # a comma that moves from word to word changes none
    return words


def _reason(listing: Listing) -> str:
    distance = text_distance(listing.text_before, listing.text)
    return f"{distance:.0%} of the words changed after {listing.events} events"
