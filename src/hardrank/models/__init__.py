"""Recommenders and classifiers, one per file. The unions are the registries: what TOML can
name, what is validated and what the contract tests run over."""

from typing import Annotated

from pydantic import Field

from hardrank.models.blend import Blend
from hardrank.models.bpr_mf import BprMf
from hardrank.models.ease import Ease
from hardrank.models.hybrid import Hybrid
from hardrank.models.item_knn import ItemKnn
from hardrank.models.knn_tfidf import KnnTfidf
from hardrank.models.light_gcn import LightGcn
from hardrank.models.popularity import Popularity
from hardrank.models.rating_mf import RatingMf
from hardrank.models.sasrec import Sasrec
from hardrank.models.smoothed import Smoothed
from hardrank.models.text_sequence import TextSequence
from hardrank.models.tfidf import Tfidf
from hardrank.models.trusted import Trusted
from hardrank.models.wmf import Wmf

__all__ = [
    "MODELS",
    "Blend",
    "BprMf",
    "Ease",
    "Hybrid",
    "ItemKnn",
    "KnnTfidf",
    "LightGcn",
    "Model",
    "Popularity",
    "RatingMf",
    "Sasrec",
    "Smoothed",
    "TextSequence",
    "Tfidf",
    "Trusted",
    "Victim",
    "Wmf",
]

Model = Annotated[
    TextSequence
    | Hybrid
    | Sasrec
    | Popularity
    | ItemKnn
    | Tfidf
    | KnnTfidf
    | BprMf
    | LightGcn
    | Ease
    | Wmf
    | RatingMf
    | Blend
    | Smoothed
    | Trusted,
    Field(discriminator="kind"),
]
Victim = Annotated[TextSequence | Hybrid | Sasrec, Field(discriminator="kind")]
"""Models that are trained step by step: those that can be hardened."""
MODELS = (
    TextSequence, Hybrid, Sasrec, Popularity, ItemKnn, Tfidf, KnnTfidf, BprMf, LightGcn,
    Ease, Wmf, RatingMf, Blend, Smoothed, Trusted,
)  # fmt: skip
