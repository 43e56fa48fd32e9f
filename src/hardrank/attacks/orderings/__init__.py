"""Orderings of composed text attacks: one per file."""

from typing import Annotated

from pydantic import Field

from hardrank.attacks.orderings.blind import AsRead, Shuffled
from hardrank.attacks.orderings.importance import Importance
from hardrank.attacks.orderings.least_sold import LeastSold
from hardrank.attacks.orderings.unknown import Unknown

__all__ = ["ORDERINGS", "AnyOrdering", "AsRead", "Importance", "LeastSold", "Shuffled", "Unknown"]

AnyOrdering = Annotated[
    AsRead | Shuffled | Importance | LeastSold | Unknown, Field(discriminator="kind")
]
"""What `ordering = { kind = "..." }` can spell."""
ORDERINGS = (AsRead, Shuffled, Importance, LeastSold, Unknown)
