"""Every guard of texts: the union is the registry and what a file may spell."""

from typing import Annotated

from pydantic import Field

from hardrank.guards.adversarial_text import AdversarialText
from hardrank.guards.change_of_text import ChangeOfText
from hardrank.guards.copycat import CopycatGuard
from hardrank.guards.injection import Injection
from hardrank.guards.normaliser import Normaliser
from hardrank.guards.shadow import ShadowRanking
from hardrank.guards.stuffing import Stuffing

__all__ = ["GUARDS", "AnyGuard"]

GUARDS = (Normaliser, Stuffing, CopycatGuard, AdversarialText, Injection, ChangeOfText)
"""In the order in which they should run: the first one mends what the others read. A
`ShadowRanking` may come last, where the lesson's shop has a live recommender and users."""
AnyGuard = Annotated[
    Normaliser
    | Stuffing
    | CopycatGuard
    | AdversarialText
    | Injection
    | ChangeOfText
    | ShadowRanking,
    Field(discriminator="kind"),
]
"""What `[[guards]]` of a file may spell; `kind` chooses. Each has `fit(lesson)`."""
