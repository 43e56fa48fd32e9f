"""Every guard of texts: the union is the registry and what a file may spell."""

from typing import Annotated

from pydantic import Field

from hardrank.guards.adversarial_text import AdversarialText
from hardrank.guards.change_of_text import ChangeOfText
from hardrank.guards.copycat import CopycatGuard
from hardrank.guards.encoder_head import EncoderHead
from hardrank.guards.injection import Injection
from hardrank.guards.normaliser import Normaliser
from hardrank.guards.rare_words import RareWords
from hardrank.guards.shadow import ShadowRanking
from hardrank.guards.stuffing import Stuffing
from hardrank.guards.text_density import TextDensity
from hardrank.guards.word_reactions import WordReactions

__all__ = ["GUARDS", "LEARNERS", "READERS", "AnyGuard"]

GUARDS = (Normaliser, Stuffing, CopycatGuard, AdversarialText, Injection, ChangeOfText)
"""In the order in which they should run: the first one mends what the others read. A
`ShadowRanking` may come last, where the lesson's shop has a live recommender and users."""
READERS = (EncoderHead, WordReactions, RareWords, TextDensity)
"""Guards that read through a sentence encoder, which costs milliseconds a listing; they are
there where a file names them."""
LEARNERS = (AdversarialText, EncoderHead, WordReactions)
"""Guards that learn from attacked listings."""
AnyGuard = Annotated[
    Normaliser
    | Stuffing
    | CopycatGuard
    | AdversarialText
    | Injection
    | ChangeOfText
    | ShadowRanking
    | EncoderHead
    | WordReactions
    | RareWords
    | TextDensity,
    Field(discriminator="kind"),
]
"""What `[[guards]]` of a file may spell; `kind` chooses. Each has `fit(lesson)`."""
