"""What an attack returns: a small, readable, replayable diff of the world."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hardrank.errors import DataError
from hardrank.files import write_text

__all__ = [
    "AddProfile",
    "AddReview",
    "Edit",
    "InsertEvent",
    "MoveEvent",
    "Patch",
    "ReplaceEvent",
    "RewriteFeatures",
    "RewriteItem",
    "RewriteQuery",
]


@dataclass(frozen=True)
class RewriteItem:
    """Item `item_id` now has `text` in its column `field`."""

    item_id: str
    text: str
    field: str = "title"
    kind: Literal["rewrite-item"] = "rewrite-item"


@dataclass(frozen=True)
class InsertEvent:
    """User `user_id` touched `item_id`, at `position` of the history (0 = oldest)."""

    user_id: str
    item_id: str
    position: int
    kind: Literal["insert-event"] = "insert-event"


@dataclass(frozen=True)
class AddProfile:
    """A new (fake) user with this history, oldest first."""

    user_id: str
    item_ids: tuple[str, ...]
    ratings: tuple[float, ...] | None = None
    """What each item is rated; None where the log knows no ratings."""
    times: tuple[int, ...] | None = None
    """Unix seconds of each event, never falling; None for the time of the log's last event."""
    kind: Literal["add-profile"] = "add-profile"


@dataclass(frozen=True)
class AddReview:
    """User `user_id`, who may be new, has written `text` about `item_id`: no event, words only."""

    user_id: str
    item_id: str
    text: str
    rating: float | None = None
    """The stars that stand above it; None where reviews have none."""
    time: int | None = None
    """Unix seconds; None where reviews have no time."""
    kind: Literal["add-review"] = "add-review"


@dataclass(frozen=True)
class ReplaceEvent:
    """The event at `position` of the user's history (0 = oldest) is now one with `item_id`."""

    user_id: str
    item_id: str
    position: int
    kind: Literal["replace-event"] = "replace-event"


@dataclass(frozen=True)
class MoveEvent:
    """The event at `position` of the user's history now stands at `to`."""

    user_id: str
    position: int
    to: int
    kind: Literal["move-event"] = "move-event"


@dataclass(frozen=True)
class RewriteQuery:
    """The query `query_id` now reads `text`."""

    query_id: str
    text: str
    kind: Literal["rewrite-query"] = "rewrite-query"


@dataclass(frozen=True)
class RewriteFeatures:
    """Item `item_id` is now described by these numbers."""

    item_id: str
    values: tuple[float, ...]
    kind: Literal["rewrite-features"] = "rewrite-features"


Edit = (
    RewriteItem
    | InsertEvent
    | ReplaceEvent
    | MoveEvent
    | AddProfile
    | AddReview
    | RewriteQuery
    | RewriteFeatures
)
_EDITS: dict[str, type[Edit]] = {
    "rewrite-item": RewriteItem,
    "insert-event": InsertEvent,
    "replace-event": ReplaceEvent,
    "move-event": MoveEvent,
    "add-profile": AddProfile,
    "add-review": AddReview,
    "rewrite-query": RewriteQuery,
    "rewrite-features": RewriteFeatures,
}


@dataclass(frozen=True)
class Patch:
    """Edits in the order they are applied. The empty patch changes nothing."""

    edits: tuple[Edit, ...] = ()

    def __len__(self) -> int:
        return len(self.edits)

    def __add__(self, other: "Patch") -> "Patch":
        return Patch(self.edits + other.edits)

    def rewrites(self) -> dict[str, RewriteItem]:
        """The last rewrite of each item, by item id."""
        return {e.item_id: e for e in self.edits if isinstance(e, RewriteItem)}

    def to_json(self) -> list[dict[str, Any]]:
        return [_row(e) for e in self.edits]

    @classmethod
    def from_json(cls, rows: Iterable[dict[str, Any]]) -> "Patch":
        return cls(tuple(_edit(dict(row)) for row in rows))

    def save(self, path: Path) -> None:
        """JSON lines, one edit a line; atomic."""
        write_text(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in self.to_json()))

    @classmethod
    def load(cls, path: Path) -> "Patch":
        """Raises `DataError` with file and line on a row that is no edit."""
        edits = []
        # JSON may hold characters that `splitlines` takes for the end of a line
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
            if not line.strip():
                continue
            try:
                edits.append(_edit(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(
                    f"not an edit ({error})", path=path, line=number, remedy="see docs: patches"
                ) from error
        return cls(tuple(edits))


def _row(edit: Edit) -> dict[str, Any]:
    """Without what a profile leaves open, so that files stay short."""
    return {name: value for name, value in asdict(edit).items() if value is not None}


def _edit(row: Any) -> Edit:
    if not isinstance(row, dict):
        raise TypeError(f"{type(row).__name__} instead of an object")
    made = _EDITS[row.pop("kind")]
    for name in ("item_ids", "values", "ratings", "times"):
        if name in row:
            row[name] = tuple(row[name])
    return made(**row)
