"""Datasets, patches, splits, cleaning and readers. No torch here."""

from hardrank.data.dataset import EVENT_COLUMNS, Dataset, render
from hardrank.data.patch import (
    AddProfile,
    AddReview,
    Edit,
    InsertEvent,
    MoveEvent,
    Patch,
    ReplaceEvent,
    RewriteFeatures,
    RewriteItem,
    RewriteQuery,
)
from hardrank.data.queries import Holdout, Queries, Slate

__all__ = [
    "EVENT_COLUMNS",
    "AddProfile",
    "AddReview",
    "Dataset",
    "Edit",
    "Holdout",
    "InsertEvent",
    "MoveEvent",
    "Patch",
    "Queries",
    "ReplaceEvent",
    "RewriteFeatures",
    "RewriteItem",
    "RewriteQuery",
    "Slate",
    "render",
]
