"""What guards learn from: a clean catalogue, attacked listings, and orders to a machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.data import render
from hardrank.errors import DataError
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.honest import honest_edit
from hardrank.types import Ints
from hardrank.wording import spans

__all__ = [
    "Example", "Lesson", "border", "clean_border", "edited", "ending", "families", "half_edited",
    "judged", "share_above", "taught",
]  # fmt: skip

Doubles = NDArray[np.float64]
_FEWEST = 20
_TRIES = 8
"""Of an edit that changes something; a title of one word has few."""


@dataclass(frozen=True)
class Example:
    """A listing that an attack wrote, with the honest texts in `before`."""

    listing: Listing
    family: str
    """Kind of the attack."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Lesson:
    """Raises `DataError` for a catalogue of fewer than 20 items: no threshold can be set."""

    shop: Shop
    """A catalogue whose texts count as clean."""
    fields: tuple[str, ...] = ("title",)
    """Text columns of the catalogue that guards read."""
    attacked: tuple[Example, ...] = ()
    orders: tuple[str, ...] = ()
    """Texts written to a machine: prompt injections, strategic text sequences."""
    held_out: float = 0.3
    """Share of the catalogue that sets thresholds and is not trained on; in (0, 1)."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shop.items.height < _FEWEST:
            raise DataError(
                f"the catalogue has {self.shop.items.height} items, guards need {_FEWEST}",
                remedy="give a larger catalogue",
            )

    @property
    def texts(self) -> list[str]:
        """(I,) clean texts, as `Listing.text` joins them."""
        return render(self.shop.items, self.fields)

    def rows(self) -> tuple[Ints, Ints]:
        """Rows that are learned from, and rows that set thresholds; the same for all guards."""
        rng = np.random.default_rng(derive(self.seed, "guards", "held out"))
        order = rng.permutation(self.shop.items.height)
        aside = max(1, min(len(order) - 1, round(self.held_out * len(order))))
        return np.sort(order[aside:]), np.sort(order[:aside])

    def listings(self, rows: Ints) -> list[Listing]:
        """The clean listings of those rows, as new ones."""
        table = self.shop.items[rows]
        columns = [table[name].fill_null("").to_list() for name in self.fields]
        return [
            Listing(item, dict(zip(self.fields, texts, strict=True)))
            for item, *texts in zip(table["item_id"].to_list(), *columns, strict=True)
        ]

    def edits(self, rows: Ints, each: int = 3) -> list[Listing]:
        """Honest edits of those rows, simulated (`hardrank.guards.honest`), with what stood
        before and what it earned: so many of each row, fewer of one that few edits change. One
        alone would leave to chance whether a threshold has met the edits that reach farthest."""
        rng = np.random.default_rng(derive(self.seed, "guards", "honest edits"))
        made, events = self.listings(rows), self.shop.counts[rows].tolist()
        out = []
        for one, earned in [*zip(made, events, strict=True)] * each:
            for _ in range(_TRIES):
                other = made[int(rng.integers(len(made)))]
                fields = edited(one.fields, other.fields, rng)
                if fields != one.fields:
                    out.append(Listing(one.item_id, fields, one.fields, earned))
                    break
        return out

    def without(self, family: str) -> "Lesson":
        """The same, never having seen that family."""
        return replace(self, attacked=tuple(e for e in self.attacked if e.family != family))


def taught(lesson: Lesson, most: int) -> tuple[list[Listing], NDArray[np.bool_], Doubles]:
    """(N,) listings to learn from, which of them an attack wrote, and weights: clean ones, at
    most so many and every other one as an honest edit, then attacked ones, each with and without
    what stood before. Both halves weigh the same, and so does every family. Raises `DataError`
    for a lesson without attacked listings."""
    if not lesson.attacked:
        raise DataError(
            "this guard needs attacked listings to learn from",
            remedy="name attacks, or leave the guard out",
        )
    rows, _ = lesson.rows()
    clean = half_edited(lesson, rows[:most])
    known = [e.family for e in lesson.attacked]
    share = np.asarray([1 / (len(set(known)) * known.count(f)) for f in known]) / 2
    told = [e.listing for e in lesson.attacked]
    listings = [*clean, *told, *(replace(one, before=None) for one in told)]
    labels = np.arange(len(listings)) >= len(clean)
    weight = np.concatenate([np.ones(len(clean)), share * len(clean), share * len(clean)])
    return listings, labels, weight


def half_edited(lesson: Lesson, rows: Ints) -> list[Listing]:
    """Clean listings of those rows, every other one as an honest edit of what stood before."""
    rng = np.random.default_rng(derive(lesson.seed, "honest edits", "learned"))
    made = lesson.listings(rows)

    def other() -> Listing:
        return made[int(rng.integers(len(made)))]

    return [
        replace(one, fields=edited(one.fields, other().fields, rng), before=one.fields)
        if n % 2
        else one
        for n, one in enumerate(made)
    ]


def border(clean: Doubles, false_alarms: float) -> float:
    """Raw score above which a fresh clean listing lies with at most that probability: the
    ceil((N + 1) (1 - false_alarms))-th smallest (split conformal prediction: Vovk, AMAI 2015),
    so that the shares of several guards add up to what is promised of all. Fewer than
    1 / false_alarms - 1 scores cannot promise it: then the largest, which a fresh one exceeds
    with at most 1 / (N + 1).

    clean: (N,) of listings that nothing was learned from; false_alarms in (0, 1). Raises
    `DataError` for no scores."""
    if not len(clean):
        raise DataError("a threshold needs clean listings", remedy="hold some out")
    place = int(np.ceil((len(clean) + 1) * (1 - false_alarms) - 1e-9))
    value = float(np.sort(clean)[min(max(place, 1), len(clean)) - 1])
    return max(value, float(np.finfo(np.float64).tiny))


def clean_border(
    raw: Callable[[Sequence[Listing], Shop], Doubles], lesson: Lesson, false_alarms: float
) -> float:
    """The border that both hold: clean listings that were held out, as new ones, and honest
    edits of them. raw: (N,) scores of N listings"""
    _, aside = lesson.rows()
    kinds = (lesson.listings(aside), lesson.edits(aside))
    return max(border(raw(made, lesson.shop), false_alarms) for made in kinds if made)


def share_above(raw: Doubles, threshold: float) -> list[float]:
    """(N,) raw scores of 0 and more as shares: 0.5 at the threshold, 1 far above it."""
    positive = np.maximum(np.asarray(raw, dtype=np.float64), 0.0)
    return [float(v) for v in positive / (positive + threshold)]


def judged(kind: str, raw: Doubles, threshold: float, reason: str) -> list[Verdict]:
    """The verdict on each of (N,) raw scores: quarantined is who is above the threshold."""
    return [
        Verdict("quarantine", kind, share, reason) if value > threshold else admit(kind, share)
        for value, share in zip(raw, share_above(raw, threshold), strict=True)
    ]


def edited(
    fields: Mapping[str, str], other: Mapping[str, str], rng: np.random.Generator
) -> dict[str, str]:
    """An honest edit of each text; other: texts by the same names, whose endings may be added."""
    return {name: honest_edit(t, ending(other[name]), rng) for name, t in fields.items()}


def families(examples: Sequence[Example]) -> list[str]:
    """Kinds of attacks among the examples, each once, in order."""
    return list(dict.fromkeys(e.family for e in examples))


def ending(text: str) -> str:
    """The second half of a text's words, where size, colour and brand stand; '' of one word.
    What an honest edit may add of another listing: the whole of it is what `append-title` adds."""
    words = spans(text)
    return text[words[(len(words) + 1) // 2][0] :] if len(words) > 1 else ""
