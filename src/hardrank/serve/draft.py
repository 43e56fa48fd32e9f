"""The life of an item's texts, apart from any database."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hardrank.serve.records import (
    ItemState,
    checked_fields,
    checked_id,
    checked_number,
    checked_text,
    dumped,
)

if TYPE_CHECKING:
    from hardrank.guards.base import Verdict

__all__ = ["Draft", "Entry", "entry_of"]


@dataclass(frozen=True)
class Entry:
    """A text as somebody wants it, and what the guards say."""

    item_id: str
    asked: str
    """JSON, as `dumped` writes it; equal texts are equal strings."""
    shown: str
    verdict: "Verdict"

    def row(self, version: int, now: int) -> dict[str, Any]:
        """Of table `versions`."""
        said = self.verdict
        return {
            "item_id": self.item_id,
            "version": version,
            "asked": self.asked,
            "shown": self.shown,
            "action": said.action,
            "guard": checked_text(said.guard, "guard"),
            "score": checked_number(float(said.score), "score"),
            "reason": checked_text(said.reason, "reason"),
            "written": now,
        }

    def case(self, draft: "Draft") -> dict[str, Any]:
        """Of table `quarantine`."""
        return {
            "item_id": self.item_id,
            "version": draft.latest,
            "before": draft.live,
            "spans": dumped([list(span) for span in self.verdict.spans]),
        }


@dataclass
class Draft:
    """An item while a transaction works on it. Columns of `items` first, in their order."""

    item_id: str
    state: ItemState = "quarantined"
    live: int | None = None
    waiting: int | None = None
    latest: int = 0
    created: int = 0
    updated: int = 0
    change: int = 0
    asked: str | None = None
    """The text asked for that stands, and the one shown for it."""
    shown: str | None = None
    held: str | None = None
    """The text that waits."""
    idle: int | None = field(default=None)
    """The version that the last `take` kept from ever being decided."""

    def take(self, entry: Entry) -> tuple[ItemState, bool]:
        """What becomes of a text, and whether that changes anything."""
        self.idle = None
        if entry.verdict.action == "quarantine":
            return "quarantined", self._hold(entry)
        return "live", self._show(entry)

    def withdraw(self) -> int | None:
        """Delete the item; the version that waited."""
        idle, self.waiting = self.waiting, None
        self.state, self.live = "deleted", None
        return idle

    def row(self, now: int, change: int) -> dict[str, Any]:
        """Of table `items`."""
        return {
            "item_id": self.item_id,
            "state": self.state,
            "live": self.live,
            "waiting": self.waiting,
            "latest": self.latest,
            "created": self.created,
            "updated": now,
            "change": change,
        }

    def _hold(self, entry: Entry) -> bool:
        if self.waiting is not None and entry.asked == self.held:
            return False
        self._next()
        self.waiting, self.held = self.latest, entry.asked
        self.state = "quarantined" if self.live is None else "live"
        return True

    def _show(self, entry: Entry) -> bool:
        stands = self.live is not None and (entry.asked, entry.shown) == (self.asked, self.shown)
        if stands and self.waiting is None:
            return False
        self._next()
        self.state, self.live = "live", self.latest
        self.asked, self.shown = entry.asked, entry.shown
        return True

    def _next(self) -> None:
        self.latest += 1
        self.idle, self.waiting, self.held = self.waiting, None, None


def entry_of(item_id: str, fields: Mapping[str, str], verdict: "Verdict") -> Entry:
    """Raises `DataError` where a text cannot be stored."""
    asked = checked_fields(fields)
    mended = verdict.fields if verdict.action == "mend" else None
    shown = asked if mended is None else checked_fields(mended)
    return Entry(checked_id(item_id, "item_id"), dumped(asked), dumped(shown), verdict)
