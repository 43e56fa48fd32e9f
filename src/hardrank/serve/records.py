"""What goes into the store and what comes out, and which texts it takes."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hardrank.errors import DataError

__all__ = [
    "ROLES",
    "AuditRow",
    "Counts",
    "Decision",
    "Erased",
    "EventIn",
    "EventRow",
    "HeldGroup",
    "HeldReview",
    "ItemRow",
    "ItemState",
    "KeyRow",
    "QuarantineRow",
    "ReviewIn",
    "Role",
    "Taken",
    "VersionRow",
    "checked_fields",
    "checked_id",
    "checked_number",
    "checked_text",
    "checked_time",
    "dumped",
    "loaded",
]

Role = Literal["read", "ingest", "review", "admin"]
ROLES: tuple[Role, ...] = ("read", "ingest", "review", "admin")
ItemState = Literal["live", "quarantined", "rejected", "deleted"]
"""`live`: some text of it stands. `quarantined`: none stands and one waits. `rejected`: none
stands and the last was refused."""
Decision = Literal["admit", "reject"]
Taken = Literal["kept", "known", "held"]
"""What became of an event or review: `known` was kept or held before, or its user is erased."""

LONGEST_ID = 256
"""Characters: 1024 bytes at most, which an index of PostgreSQL still takes (2704)."""
LATEST = 2**53 - 1
"""The largest whole number that JSON carries safely."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class EventIn:
    """One event of a user. Two with the same `event_id` are one."""

    event_id: str
    user_id: str
    item_id: str
    time: int
    """Unix seconds, as the sender's clock had it."""
    kind: str = "view"
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class EventRow:
    """A stored event; `sequence` grows in the order of commits, and has gaps."""

    sequence: int
    event_id: str
    user_id: str
    item_id: str
    time: int
    kind: str
    weight: float
    received: int
    """Unix seconds, by the clock of the service."""


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """Events that wait for one decision: all of an item, or all of a user."""

    name: str
    """The item's or user's id."""
    events: int
    users: int
    items: int
    first: int
    """Earliest and latest unix seconds that they claim."""
    last: int
    score: float
    """The worst."""
    reason: str
    """Of the latest."""
    until: int
    """Number of the latest: a decision may stop there."""


@dataclass(frozen=True, slots=True)
class ReviewIn:
    """What a user wrote of an item. Two with the same `review_id` are one."""

    review_id: str
    user_id: str
    item_id: str
    text: str
    time: int
    rating: float | None = None


@dataclass(frozen=True, slots=True)
class HeldReview:
    """A review that waits for a person."""

    id: int
    review_id: str
    user_id: str
    item_id: str
    text: str
    rating: float | None
    time: int
    received: int
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item as it stands."""

    item_id: str
    state: ItemState
    fields: dict[str, str]
    """The texts that stand; those of the last version where none stands."""
    version: int
    """Of `fields`; versions of an item count from 1."""
    waiting: int | None
    """The version that waits for a decision, if one does."""
    created: int
    updated: int
    change: int = 0
    """Grows with every change of any item, in the order of commits."""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One text that somebody asked for, and what became of it."""

    version: int
    asked: dict[str, str]
    shown: dict[str, str]
    """What goes live: `asked`, or the texts as a guard mended them."""
    action: str
    guard: str
    score: float
    reason: str
    written: int


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A text that waits for a person, or that one decided on."""

    id: int
    item_id: str
    before: dict[str, str] | None
    after: dict[str, str]
    guard: str
    score: float
    reason: str
    spans: tuple[tuple[str, int, int], ...]
    created: int
    decision: str | None
    """`admit`, `reject`, or `superseded` where a later text or a deletion made it idle."""
    decider: str | None
    decided: int | None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who did what, and when. Keys appear by id, erased users by their tombstone."""

    id: int
    time: int
    who: str
    action: str
    subject: str
    detail: dict[str, str]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key, without its secret: that is shown once and kept nowhere."""

    id: str
    name: str
    role: Role
    quota: int | None
    """Units a day; None for no limit."""
    created: int
    revoked: int | None

    def may(self, role: Role) -> bool:
        """Whether the key opens what needs `role`: its own, and everything to an admin."""
        return self.revoked is None and self.role in (role, "admin")


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows an erasure took."""

    events: int
    reviews: int
    cached: int


@dataclass(frozen=True, slots=True)
class Counts:
    events: int
    users: int
    reviews: int
    live: int
    waiting: int
    """Quarantine cases without a decision."""
    erased: int
    """Users whose tombstone stands."""


def checked_text(value: str, field: str) -> str:
    """`value`, if both databases can keep it as it is. Raises `DataError`, without the value."""
    if not isinstance(value, str):
        raise DataError(f"must be text (is {type(value).__name__})", field=field)
    if _UNSTORABLE.search(value):
        remedy = "remove zero bytes and unpaired surrogates"
        raise DataError("holds a character that cannot be stored", field=field, remedy=remedy)
    return value


def checked_id(value: str, field: str) -> str:
    """As `checked_text`, and of 1 to 256 characters."""
    if not 1 <= len(checked_text(value, field)) <= LONGEST_ID:
        raise DataError(f"must have 1 to {LONGEST_ID} characters (has {len(value)})", field=field)
    return value


def checked_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """Texts by name. Raises `DataError`."""
    return {
        checked_id(name, "name of a field"): checked_text(text, name)
        for name, text in fields.items()
    }


def checked_time(value: int, field: str) -> int:
    """Whole, from 0 to 2**53 - 1. Raises `DataError`."""
    if type(value) is not int or not 0 <= value <= LATEST:
        raise DataError("must be a whole number from 0 to 2**53 - 1", field=field)
    return value


def checked_number(value: float, field: str) -> float:
    """Finite. Raises `DataError`."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise DataError("must be a finite number", field=field)
    return float(value)


def dumped(value: object) -> str:
    """JSON with sorted keys, so that equal texts are equal rows."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


def loaded(text: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in json.loads(text).items()}
