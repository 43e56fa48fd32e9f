"""Guards of the live service: what stands between a seller's texts and the catalogue."""

from hardrank.guards.adversarial_text import AdversarialText
from hardrank.guards.base import Action, Guard, Listing, Shop, Verdict, admit, worst
from hardrank.guards.change_of_text import ChangeOfText
from hardrank.guards.copycat import CopycatGuard
from hardrank.guards.injection import Injection
from hardrank.guards.kinds import GUARDS, AnyGuard
from hardrank.guards.lesson import Example, Lesson
from hardrank.guards.normaliser import Normaliser
from hardrank.guards.pipeline import Pipeline, fit_pipeline, load_pipeline
from hardrank.guards.stuffing import Stuffing

__all__ = [
    "GUARDS",
    "Action",
    "AdversarialText",
    "AnyGuard",
    "ChangeOfText",
    "CopycatGuard",
    "Example",
    "Guard",
    "Injection",
    "Lesson",
    "Listing",
    "Normaliser",
    "Pipeline",
    "Shop",
    "Stuffing",
    "Verdict",
    "admit",
    "fit_pipeline",
    "load_pipeline",
    "worst",
]
