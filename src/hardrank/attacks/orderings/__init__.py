"""Orderings of composed text attacks: one per file."""

from typing import Annotated

from pydantic import Field

from hardrank.attacks.orderings.blind import AsRead, Shuffled
from hardrank.attacks.orderings.importance import Importance

__all__ = ["ORDERINGS", "AnyOrdering", "AsRead", "Importance", "Shuffled"]

AnyOrdering = Annotated[AsRead | Shuffled | Importance, Field(discriminator="kind")]
"""What `ordering = { kind = "..." }` can spell."""
ORDERINGS = (AsRead, Shuffled, Importance)
