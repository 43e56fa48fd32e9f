"""Attacks that write events into one user's history: one attack per file."""

from typing import Annotated

from pydantic import Field

from hardrank.attacks.history.events import InsertEvents, ReorderEvents, ReplaceEvents
from hardrank.attacks.history.random_events import RandomEvents

__all__ = [
    "HISTORY_ATTACKS",
    "HistoryAttack",
    "HistoryUnion",
    "InsertEvents",
    "RandomEvents",
    "ReorderEvents",
    "ReplaceEvents",
]

HistoryUnion = InsertEvents | ReplaceEvents | ReorderEvents | RandomEvents
HistoryAttack = Annotated[HistoryUnion, Field(discriminator="kind")]
HISTORY_ATTACKS = (InsertEvents, ReplaceEvents, ReorderEvents, RandomEvents)
