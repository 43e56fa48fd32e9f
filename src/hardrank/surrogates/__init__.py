"""Recommenders that an attacker trains for himself, to see what a fake profile would do.

A new surrogate is one file and one member of `SurrogateUnion`.
"""

from typing import Annotated, get_args

from pydantic import Field

from hardrank.surrogates.als import AlsSurrogate
from hardrank.surrogates.base import Aim, Fitted, Surrogate
from hardrank.surrogates.ease import EaseSurrogate
from hardrank.surrogates.unrolled import UnrolledSurrogate

__all__ = [
    "SURROGATES",
    "Aim",
    "AlsSurrogate",
    "EaseSurrogate",
    "Fitted",
    "Surrogate",
    "SurrogateSpec",
    "SurrogateUnion",
    "UnrolledSurrogate",
]

SurrogateUnion = AlsSurrogate | EaseSurrogate | UnrolledSurrogate

SurrogateSpec = Annotated[SurrogateUnion, Field(discriminator="kind")]
"""What `surrogates = [{ kind = "..." }]` of a learned attack can spell."""

SURROGATES: tuple[type, ...] = get_args(SurrogateUnion)
"""The same as a tuple of classes: what the tests are parametrised by."""
