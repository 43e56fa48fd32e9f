"""Readers: one file per format. The union is the registry, the TOML validator and the test list."""

from typing import Annotated

from pydantic import Field

from hardrank.data.sources.amazon_reviews import AmazonReviews
from hardrank.data.sources.goodbooks import Goodbooks
from hardrank.data.sources.guessing import guess
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.sources.mind import Mind
from hardrank.data.sources.movielens import MovieLens
from hardrank.data.sources.online_retail import OnlineRetail
from hardrank.data.sources.recbole import RecBole
from hardrank.data.sources.sequences import Sequences
from hardrank.data.sources.table import Columns, Table
from hardrank.data.sources.tallrec import TallRec

__all__ = [
    "SOURCES",
    "AmazonReviews",
    "Columns",
    "Goodbooks",
    "Marketplace",
    "Mind",
    "MovieLens",
    "OnlineRetail",
    "RecBole",
    "Sequences",
    "Source",
    "Table",
    "TallRec",
    "guess",
]

SOURCES = (
    AmazonReviews, Goodbooks, Marketplace, Mind, MovieLens, OnlineRetail, RecBole, Sequences,
    Table, TallRec,
)  # fmt: skip

Source = Annotated[
    AmazonReviews
    | Goodbooks
    | Marketplace
    | Mind
    | MovieLens
    | OnlineRetail
    | RecBole
    | Sequences
    | Table
    | TallRec,
    Field(discriminator="kind"),
]
"""What `[data]` of an experiment may spell; `kind` chooses."""
