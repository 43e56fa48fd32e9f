"""A log with planted tastes whose users also write: what fake reviews are tried on."""

from dataclasses import replace

import numpy as np
import polars as pl

from hardrank.data import Dataset
from hardrank.testing.logs import GROUPS, taste_log

__all__ = ["WORDS", "reviewed_log"]

WORDS = (("crimson", "velvet", "ember"), ("cobalt", "ripple", "harbor"),
         ("emerald", "meadow", "willow"))  # fmt: skip
"""Words that reviews of each group's items use, and no others."""
_PRAISE = ("I really love the {a} {b} sound of it.", "The {a} finish looks great on my shelf.",
           "My brother wanted one with more {b} as well.", "Works great and feels solid to me.",
           "It came quickly and was well packed.",
           "Would gladly buy the {a} one again!")  # fmt: skip
_BLAME = ("I really hate the {a} {b} sound of it.", "The {a} finish came off in a week.",
          "My brother sent his {b} one back too.", "Broke at once and feels cheap to me.",
          "It came late and was badly packed.", "Would never buy the {a} one again!")  # fmt: skip


def reviewed_log(*, users: int = 60, items: int = 30, seed: int = 0) -> Dataset:
    """`taste_log` with a review of three sentences for every event: praise for 4 and 5 stars,
    blame below; titles hold two words of the item's group. Reviews have the event's stars and
    time."""
    data = taste_log(users=users, items=items, events=10, seed=seed)
    rng = np.random.default_rng(seed + 1)
    titles = []
    for row in range(items):
        first, second = rng.permutation(len(WORDS[row % GROUPS]))[:2]
        own = WORDS[row % GROUPS]
        titles.append(f"{own[first]} {own[second]} model {row}")
    texts = []
    for item, rating in data.events.select("item", "rating").iter_rows():
        own, forms = WORDS[item % GROUPS], _PRAISE if rating >= 4 else _BLAME
        said = [forms[n] for n in rng.permutation(len(forms))[:3]]
        words = [own[n] for n in rng.permutation(len(own))]
        texts.append(" ".join(s.format(a=words[0], b=words[1]) for s in said))
    reviews = data.events.select("user", "item", "rating", "time").with_columns(
        text=pl.Series(texts)
    )
    table = data.items.with_columns(title=pl.Series(titles))
    return replace(data, name="reviewed-log", items=table, reviews=reviews)
