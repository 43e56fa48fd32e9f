"""Every attack that this version can mount, whatever it writes."""

from hardrank.attacks import EVERY_ATTACK
from hardrank.attacks.profiles import PROFILE_ATTACKS
from hardrank.attacks.reviews import REVIEW_ATTACKS

__all__ = ["ROLL"]

ROLL: tuple[type, ...] = (*EVERY_ATTACK, *PROFILE_ATTACKS, *REVIEW_ATTACKS)
"""On texts, histories and feature vectors; by fake users; by fake reviews."""
