"""Datasets, patches, splits, cleaning and readers. No torch here."""

from hardrank.data.dataset import EVENT_COLUMNS, Dataset, render
from hardrank.data.patch import AddProfile, Edit, InsertEvent, Patch, RewriteItem
from hardrank.data.queries import Holdout, Queries, Slate

__all__ = [
    "EVENT_COLUMNS",
    "AddProfile",
    "Dataset",
    "Edit",
    "Holdout",
    "InsertEvent",
    "Patch",
    "Queries",
    "RewriteItem",
    "Slate",
    "render",
]
