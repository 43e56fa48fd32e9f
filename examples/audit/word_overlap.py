"""A tiny recommender to try `hardrank audit` on: words shared with the history, then length.

Replace `rank` by a call of your own model. It is asked for many users at once.
"""

from collections import Counter
from typing import Any


def rank(histories: list[list[str]], items: list[dict[str, Any]]) -> list[list[float]]:
    """One row a history, one number a candidate, higher is better."""
    words = [set(item["text"]["title"].lower().split()) for item in items]
    rows = []
    for history in histories:
        liked = Counter(word for name in history for word in TITLES.get(name, ()))
        rows.append([sum(liked[w] for w in here) / (1 + len(here)) ** 0.5 for here in words])
    return rows


def _titles() -> dict[str, set[str]]:
    """What the shop knows of its own items: the texts a history is read by."""
    from hardrank import Marketplace

    items = Marketplace(users=200, items=160).load().items
    return {i: set(t.lower().split()) for i, t in items.select("item_id", "title").iter_rows()}


TITLES = _titles()
