"""Writers that another one can wrap."""

from typing import Annotated

from pydantic import Field

from hardrank.attacks.reviews.language_model_reviews import LanguageModelReviews
from hardrank.attacks.reviews.rewritten_reviews import RewrittenReviews
from hardrank.attacks.reviews.template_reviews import TemplateReviews

__all__ = ["PLAIN_WRITERS", "PlainUnion", "PlainWriter"]

PLAIN_WRITERS: tuple[type, ...] = (LanguageModelReviews, RewrittenReviews, TemplateReviews)
PlainUnion = LanguageModelReviews | RewrittenReviews | TemplateReviews
PlainWriter = Annotated[PlainUnion, Field(discriminator="kind")]
