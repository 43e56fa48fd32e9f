"""What could stand in a slot instead: one transformation per file."""

from typing import Annotated

from pydantic import Field

from hardrank.attacks.transformations.insert_words import InsertWords

__all__ = ["TRANSFORMATIONS", "AnyTransformation", "InsertWords"]

AnyTransformation = Annotated[InsertWords, Field(discriminator="kind")]
"""What `transformations = [{ kind = "..." }]` can spell."""
TRANSFORMATIONS = (InsertWords,)
