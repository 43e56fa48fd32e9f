"""Guards of the live service: what stands between a seller's texts and the catalogue."""

from hardrank.guards.adversarial_text import AdversarialText
from hardrank.guards.authentic import Authentic
from hardrank.guards.base import Action, Guard, Listing, Shop, Verdict, admit, worst
from hardrank.guards.change_of_text import ChangeOfText
from hardrank.guards.copycat import CopycatGuard
from hardrank.guards.encoder_head import EncoderHead
from hardrank.guards.events import EventGuard, EventLike, EventWatch
from hardrank.guards.guarded import Guarded
from hardrank.guards.injection import Injection
from hardrank.guards.kinds import GUARDS, LEARNERS, READERS, AnyGuard
from hardrank.guards.lesson import Example, Lesson
from hardrank.guards.normaliser import Normaliser
from hardrank.guards.pipeline import Pipeline, fit_pipeline, load_pipeline
from hardrank.guards.rare_words import RareWords
from hardrank.guards.reviews import FittedReviewGuard, ReviewGuard
from hardrank.guards.shadow import FittedShadowRanking, ShadowRanking
from hardrank.guards.stuffing import Stuffing
from hardrank.guards.text_density import TextDensity
from hardrank.guards.trust_scores import TrustBook, TrustScores
from hardrank.guards.word_reactions import WordReactions

__all__ = [
    "GUARDS",
    "LEARNERS",
    "READERS",
    "Action",
    "AdversarialText",
    "AnyGuard",
    "Authentic",
    "ChangeOfText",
    "CopycatGuard",
    "EncoderHead",
    "EventGuard",
    "EventLike",
    "EventWatch",
    "Example",
    "FittedReviewGuard",
    "FittedShadowRanking",
    "Guard",
    "Guarded",
    "Injection",
    "Lesson",
    "Listing",
    "Normaliser",
    "Pipeline",
    "RareWords",
    "ReviewGuard",
    "ShadowRanking",
    "Shop",
    "Stuffing",
    "TextDensity",
    "TrustBook",
    "TrustScores",
    "Verdict",
    "WordReactions",
    "admit",
    "fit_pipeline",
    "load_pipeline",
    "worst",
]
