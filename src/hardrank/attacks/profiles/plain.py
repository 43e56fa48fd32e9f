"""Every profile attack that stands alone. A new one is one file and one member here."""

from typing import Annotated, get_args

from pydantic import Field

from hardrank.attacks.profiles.average_profiles import AverageProfiles
from hardrank.attacks.profiles.random_profiles import RandomProfiles

__all__ = ["PLAIN", "PlainAttack", "PlainUnion"]

PlainUnion = AverageProfiles | RandomProfiles

PlainAttack = Annotated[PlainUnion, Field(discriminator="kind")]
"""What a wrapper such as `obfuscated` can take as its base."""
PLAIN: tuple[type, ...] = get_args(PlainUnion)
