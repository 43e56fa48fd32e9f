"""Searches of composed text attacks: one per file."""

from typing import Annotated

from pydantic import Field

from hardrank.attacks.searches.beam import Beam
from hardrank.attacks.searches.frugal import Frugal
from hardrank.attacks.searches.genetic import Genetic
from hardrank.attacks.searches.greedy import Greedy
from hardrank.attacks.searches.steepest import Steepest
from hardrank.attacks.searches.weighted import Weighted

__all__ = ["SEARCHES", "AnySearch", "Beam", "Frugal", "Genetic", "Greedy", "Steepest", "Weighted"]

AnySearch = Annotated[
    Beam | Frugal | Genetic | Greedy | Steepest | Weighted, Field(discriminator="kind")
]
"""What `search = { kind = "..." }` can spell."""
SEARCHES = (Beam, Frugal, Genetic, Greedy, Steepest, Weighted)
