"""Every profile attack that stands alone. A new one is one file and one member here."""

from typing import Annotated, get_args

from pydantic import Field

from hardrank.attacks.profiles.aush import Aush
from hardrank.attacks.profiles.average_profiles import AverageProfiles
from hardrank.attacks.profiles.bandwagon import Bandwagon
from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.crafted_profiles import CraftedProfiles
from hardrank.attacks.profiles.interest_gan import InterestGanProfiles
from hardrank.attacks.profiles.interest_vae import InterestVaeProfiles
from hardrank.attacks.profiles.leg_up import LegUp
from hardrank.attacks.profiles.love_hate import LoveHate
from hardrank.attacks.profiles.mixed_copy import MixedCopy
from hardrank.attacks.profiles.pga import Pga
from hardrank.attacks.profiles.policy_profiles import PolicyProfiles
from hardrank.attacks.profiles.popular_fillers import PopularFillers
from hardrank.attacks.profiles.power_users import PowerUsers
from hardrank.attacks.profiles.random_profiles import RandomProfiles
from hardrank.attacks.profiles.rev_adv import RevAdv
from hardrank.attacks.profiles.reverse_bandwagon import ReverseBandwagon
from hardrank.attacks.profiles.segment import Segment

__all__ = ["PLAIN", "PlainAttack", "PlainUnion"]

PlainUnion = (
    Aush
    | AverageProfiles
    | Bandwagon
    | CopyProfile
    | CraftedProfiles
    | LegUp
    | InterestGanProfiles
    | InterestVaeProfiles
    | LoveHate
    | MixedCopy
    | Pga
    | PolicyProfiles
    | PopularFillers
    | PowerUsers
    | RandomProfiles
    | RevAdv
    | ReverseBandwagon
    | Segment
)

PlainAttack = Annotated[PlainUnion, Field(discriminator="kind")]
"""What a wrapper such as `obfuscated` can take as its base."""
PLAIN: tuple[type, ...] = get_args(PlainUnion)
