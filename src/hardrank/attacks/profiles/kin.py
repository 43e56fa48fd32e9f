"""The target's likely audience: which items go with it, and which users like those."""

import math
import re

import numpy as np
import polars as pl
from scipy import sparse

from hardrank.data import Dataset
from hardrank.threats.log import LogView
from hardrank.types import Floats, Ints

__all__ = ["audience", "kin", "liking"]

_SEEDS = 5
"""Items that stand in for a target whom nobody likes yet."""
_DAMPING = 10.0
"""Likes added to each item's: what one user liked beside the target is no segment."""


def liking(train: Dataset) -> sparse.csr_array:
    """(U, I) 1 where a user likes an item: rated no lower than that user's own mean, or any
    event in a log without ratings."""
    users, items = train.events["user"].to_numpy(), train.event_items
    ratings = train.events["rating"]
    if train.n_events and not ratings.null_count():
        values = ratings.to_numpy().astype(np.float64)
        many = np.maximum(np.bincount(users, minlength=train.n_users), 1)
        mean = np.bincount(users, values, minlength=train.n_users) / many
        kept = values >= mean[users] - 1e-6
        users, items = users[kept], items[kept]
    shape = (train.n_users, train.n_items)
    made = sparse.csr_array((np.ones(items.size, dtype=np.float32), (users, items)), shape=shape)
    made.data[:] = 1  # an item may stand in a history more than once
    return made


def kin(view: LogView) -> Floats:
    """(I,) how much an item goes with the targets, at least 0: the users who like both it and
    a seed, over the root of those who like it, damped.

    Seeds are the targets; where nobody likes them the items whose texts share most words with
    theirs, rare words counting more; the bestsellers where no text helps.
    """
    liked = liking(view.train)
    seeds = _seeds(view, liked)
    fans = np.asarray(liked[:, seeds].sum(axis=1) > 0).ravel().astype(np.float32)
    together, alone = liked.T @ fans, np.asarray(liked.sum(axis=0)).ravel()
    return np.asarray(together / np.sqrt(alone + _DAMPING), dtype=np.float32)


def audience(view: LogView) -> Floats:
    """(U,) how much each user likes what goes with the targets, over the root of how many
    items the user likes."""
    liked = liking(view.train)
    many = np.asarray(liked.sum(axis=1)).ravel()
    return np.asarray((liked @ kin(view)) / np.sqrt(np.maximum(many, 1)), dtype=np.float32)


def _seeds(view: LogView, liked: sparse.csr_array) -> Ints:
    known = np.asarray(liked[:, view.targets].sum(axis=0)).ravel() > 0
    if known.any():
        return view.targets[known]
    alike = _alike(view)
    alike[view.targets] = 0
    near = np.argsort(-alike, kind="stable")[:_SEEDS]
    near = near[alike[near] > 0]
    return near if near.size else view.bestsellers[:_SEEDS]


def _alike(view: LogView) -> Floats:
    """(I,) words shared with the targets' texts over all words of both, weighted by rarity."""
    texts = [set(re.findall(r"\w+", text)) for text in _texts(view.items)]
    often: dict[str, int] = {}
    for words in texts:
        for word in words:
            often[word] = often.get(word, 0) + 1
    wanted = set[str]().union(*(texts[int(t)] for t in view.targets))
    total = len(texts)

    def weight(words: set[str]) -> float:
        # sorted: sets of text have another order in every process, and sums round
        return sum(math.log(1 + total / often[w]) for w in sorted(words))

    out = np.zeros(total, dtype=np.float32)
    for row, words in enumerate(texts):
        if shared := words & wanted:
            out[row] = weight(shared) / weight(words | wanted)
    return out


def _texts(items: pl.DataFrame) -> list[str]:
    """(I,) all text of each item in lower case: titles, genres, descriptions."""
    parts = []
    for column in items.get_columns():
        if column.dtype == pl.List(pl.Utf8):
            column = column.list.join(" ")
        if column.name != "item_id" and column.dtype == pl.Utf8:
            parts.append(column.fill_null("").str.to_lowercase().to_list())
    return [" ".join(words) for words in zip(*parts, strict=True)] or [""] * items.height
