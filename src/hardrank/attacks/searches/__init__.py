"""Searches of composed text attacks: one per file."""

from typing import Annotated

from pydantic import Field

from hardrank.attacks.searches.greedy import Greedy

__all__ = ["SEARCHES", "AnySearch", "Greedy"]

AnySearch = Annotated[Greedy, Field(discriminator="kind")]
"""What `search = { kind = "..." }` can spell."""
SEARCHES = (Greedy,)
