"""Fake reviews: one writer a file. The union is the registry and the TOML validator."""

from typing import Annotated

from pydantic import Field

from hardrank.attacks.reviews.language_model_reviews import LanguageModelReviews
from hardrank.attacks.reviews.rewritten_reviews import RewrittenReviews
from hardrank.attacks.reviews.template_reviews import TemplateReviews

__all__ = [
    "REVIEW_ATTACKS",
    "LanguageModelReviews",
    "ReviewAttackSpec",
    "ReviewUnion",
    "RewrittenReviews",
    "TemplateReviews",
]

REVIEW_ATTACKS: tuple[type, ...] = (LanguageModelReviews, RewrittenReviews, TemplateReviews)

ReviewUnion = LanguageModelReviews | RewrittenReviews | TemplateReviews
ReviewAttackSpec = Annotated[ReviewUnion, Field(discriminator="kind")]
"""What an experiment file may spell; `kind` chooses."""
