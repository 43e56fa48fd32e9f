"""Fake users in the training log: one attack per file.

A new attack is one file and one member of `PlainUnion` in `plain.py`.
"""

from typing import Annotated, get_args

from pydantic import Field

from hardrank.attacks.profiles.evasive_profiles import EvasiveProfiles
from hardrank.attacks.profiles.few_profiles import FewProfiles
from hardrank.attacks.profiles.helped_profiles import HelpedProfiles
from hardrank.attacks.profiles.obfuscated import Obfuscated
from hardrank.attacks.profiles.plain import PLAIN, PlainAttack, PlainUnion
from hardrank.attacks.profiles.rehearsed import Rehearsed
from hardrank.attacks.profiles.rival_profiles import RivalProfiles

__all__ = [
    "PLAIN",
    "PROFILE_ATTACKS",
    "EvasiveProfiles",
    "FewProfiles",
    "HelpedProfiles",
    "Obfuscated",
    "PlainAttack",
    "PlainUnion",
    "ProfileAttackSpec",
    "ProfileUnion",
    "Rehearsed",
    "RivalProfiles",
]

ProfileUnion = (
    PlainUnion
    | Obfuscated
    | FewProfiles
    | HelpedProfiles
    | Rehearsed
    | RivalProfiles
    | EvasiveProfiles
)

ProfileAttackSpec = Annotated[ProfileUnion, Field(discriminator="kind")]
"""What `attacks = [{ kind = "..." }]` of a poisoning experiment can spell."""

PROFILE_ATTACKS: tuple[type, ...] = get_args(ProfileUnion)
"""The same as a tuple of classes: what the tests are parametrised by."""
