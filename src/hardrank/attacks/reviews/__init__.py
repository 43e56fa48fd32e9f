"""Fake reviews: one writer a file. The union is the registry and the TOML validator."""

from typing import Annotated

from pydantic import Field

from hardrank.attacks.reviews.evasive_reviews import EvasiveReviews
from hardrank.attacks.reviews.language_model_reviews import LanguageModelReviews
from hardrank.attacks.reviews.plain import PLAIN_WRITERS, PlainUnion
from hardrank.attacks.reviews.rewritten_reviews import RewrittenReviews
from hardrank.attacks.reviews.template_reviews import TemplateReviews

__all__ = [
    "REVIEW_ATTACKS",
    "EvasiveReviews",
    "LanguageModelReviews",
    "ReviewAttackSpec",
    "ReviewUnion",
    "RewrittenReviews",
    "TemplateReviews",
]

REVIEW_ATTACKS: tuple[type, ...] = (*PLAIN_WRITERS, EvasiveReviews)

ReviewUnion = PlainUnion | EvasiveReviews
ReviewAttackSpec = Annotated[ReviewUnion, Field(discriminator="kind")]
"""What an experiment file may spell; `kind` chooses."""
