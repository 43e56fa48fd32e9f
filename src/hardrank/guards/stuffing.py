"""Listings that say too much, or the same again and again."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.lesson import Lesson, clean_border, share_above
from hardrank.types import spec
from hardrank.wording import split

__all__ = ["MEASURES", "FittedStuffing", "Stuffing", "measures"]

Doubles = NDArray[np.float64]
MEASURES = (
    "words", "repeated words", "times of one word", "one character in a row", "marks", "commas",
)  # fmt: skip
"""What is counted, in the order of the columns of `measures`."""
_RUN = re.compile(r"(.)\1+", re.DOTALL)
_FREE = 2
"""Times that a word may stand: in a short title the second time is no habit."""


def measures(texts: Sequence[str]) -> Doubles:
    """(N, 6) logarithms of 1 + counts: words; words that stood before, beyond twice; how often
    the commonest word stands; longest run of one character; characters that are neither letter,
    digit nor blank; separators of lists."""
    rows = [_counted(text) for text in texts]
    return np.log1p(np.asarray(rows, dtype=np.float64).reshape(len(texts), len(MEASURES)))


def _counted(text: str) -> tuple[int, ...]:
    words = Counter(word.strip(".,;:!?()[]\"'").lower() for word in split(text))
    words.pop("", None)
    runs = max((m.end() - m.start() for m in _RUN.finditer(text)), default=1)
    return (
        sum(words.values()),
        sum(max(n - _FREE, 0) for n in words.values()),
        max(words.values(), default=0),
        runs,
        sum(not c.isalnum() and not c.isspace() for c in text),
        sum(c in ",;|/\u3001\uff0c" for c in text),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedStuffing:
    """A listing's worst measure, in widths of the catalogue's upper tail."""

    spec: "Stuffing"
    middle: Doubles
    """(6,) medians."""
    width: Doubles
    """(6,) from the median to the 99th percentile; above 0."""
    threshold: float

    @property
    def kind(self) -> str:
        return self.spec.kind

    def raw(self, listings: Sequence[Listing], shop: Shop) -> Doubles:
        """(N,) 0 and more; quarantined is who is above `threshold`."""
        worst: Doubles = self._widths(listings).max(axis=1, initial=0.0)
        return worst

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        widths = self._widths(listings)
        raw = widths.max(axis=1, initial=0.0)
        shares = share_above(raw, self.threshold)
        return [
            Verdict("quarantine", self.kind, share, _reason(row))
            if value > self.threshold
            else admit(self.kind, share)
            for row, value, share in zip(widths, raw, shares, strict=True)
        ]

    def arrays(self) -> dict[str, NDArray[Any]]:
        border = np.asarray([self.threshold])
        return {"middle": self.middle, "width": self.width, "border": border}

    def _widths(self, listings: Sequence[Listing]) -> Doubles:
        found: Doubles = (measures([one.text for one in listings]) - self.middle) / self.width
        return found


@spec
class Stuffing:
    """Words, repetitions and marks far beyond what listings of this catalogue have.

    Each of six counts is compared, on a log scale, with the median and the 99th percentile of
    the catalogue; the worst one decides. Spam filters of the web count the same (Ntoulas et
    al., WWW 2006, section 4).
    """

    kind: Literal["stuffing"] = "stuffing"
    false_alarms: Annotated[float, Gt(0), Lt(1)] = 0.001
    """Share of clean listings, held out, and of honest edits of them, that may be stopped."""

    def fit(self, lesson: Lesson) -> FittedStuffing:
        """From the lesson's catalogue and honest edits of it."""
        texts, (learned, _) = lesson.texts, lesson.rows()
        counts = measures([texts[row] for row in learned])
        middle = np.median(counts, axis=0)
        width = np.maximum(np.quantile(counts, 0.99, axis=0) - middle, np.log(2.0))
        draft = FittedStuffing(spec=self, middle=middle, width=width, threshold=1.0)
        threshold = clean_border(draft.raw, lesson, self.false_alarms)
        return FittedStuffing(spec=self, middle=middle, width=width, threshold=threshold)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedStuffing:
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        return FittedStuffing(
            spec=self, middle=arrays["middle"], width=arrays["width"],
            threshold=float(arrays["border"][0]),
        )  # fmt: skip


def _reason(widths: Doubles) -> str:
    at = int(widths.argmax())
    return f"{MEASURES[at]}: far beyond the listings of this catalogue ({widths[at]:.1f} widths)"
