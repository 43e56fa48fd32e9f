"""What the engine is asked and what it finds, apart from HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Ask", "Found", "Listed", "Reason"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request for a list."""

    history: tuple[str, ...] = ()
    """Item ids, oldest first: the user's and those of the request."""
    user_id: str | None = None
    text: str | None = None
    k: int = 10
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> values allowed there."""
    exclude: tuple[str, ...] = ()
    exclude_seen: bool = True
    diversity: float = 0.0
    """0 to 1, see `hardrank.serve.lists.diverse`."""
    per_provider: int | None = None
    explain: bool = False
    fresh: bool = False
    """Whether the user has events that the bundle does not know."""


@dataclass(frozen=True, slots=True)
class Reason:
    """An item of the history that is like the listed one."""

    item_id: str
    similarity: float
    words: tuple[str, ...]


class Listed(NamedTuple):
    item_id: str
    title: str
    score: float
    because: tuple[Reason, ...] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A list, best first, and who made it: `model` or `popularity`."""

    items: tuple[Listed, ...]
    source: str
    bundle: str = ""
    json: bytes = b""
    """The answer as it is sent, where whoever made the list had it at hand."""
