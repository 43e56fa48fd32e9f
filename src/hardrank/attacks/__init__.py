"""Attacks: frozen bags of hyperparameters that you can call. No torch at module level.

A new attack is one file and one member of `TextAttack`; the tests find it there.
"""

from typing import Annotated, get_args

from pydantic import Field

from hardrank.attacks.text import Composed, Copycat, GreedyWords, RandomWords

__all__ = ["ATTACKS", "Composed", "Copycat", "GreedyWords", "RandomWords", "TextAttack"]

TextAttack = Annotated[Composed | Copycat | GreedyWords | RandomWords, Field(discriminator="kind")]
"""What `attacks = [{ kind = "..." }]` of an experiment file can spell."""

ATTACKS: tuple[type, ...] = get_args(get_args(TextAttack)[0])
"""The same as a tuple of classes: what the tests are parametrised by."""
