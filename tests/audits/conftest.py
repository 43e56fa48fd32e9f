"""Recommenders small enough to audit by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F

from hardrank.data import Queries, Slate
from hardrank.errors import Unsupported
from hardrank.recommender import LossSurface, best, mask_seen


@dataclass(frozen=True, eq=False)
class Toy:
    """Score = the user's worth of each word in the title. Users are rows of `tastes`."""

    items: pl.DataFrame
    tastes: tuple[Mapping[str, float], ...]

    def score(self, queries: Queries, slate: Slate) -> np.ndarray:
        titles = self.items["title"].to_list()
        texts = slate.texts or [titles[i] for i in slate.items]
        rows = [
            [sum(self.tastes[u].get(w, 0.0) for w in text.split()) for text in texts]
            for u in queries.users
        ]
        return np.array(rows, dtype=np.float32).reshape(len(queries), len(texts))

    def top(self, queries: Queries, k: int) -> np.ndarray:
        whole = Slate(items=np.arange(self.items.height))
        return best(mask_seen(self.score(queries, whole), queries), k)

    def on(self, items: pl.DataFrame) -> "Toy":
        return replace(self, items=items)

    def arrays(self) -> dict[str, np.ndarray]:
        return {}


@pytest.fixture
def make_toy() -> Callable[[Sequence[str], Sequence[Mapping[str, float]]], Toy]:
    def make(titles: Sequence[str], tastes: Sequence[Mapping[str, float]]) -> Toy:
        ids = [f"i{n}" for n in range(len(titles))]
        return Toy(pl.DataFrame({"item_id": ids, "title": list(titles)}), tuple(tastes))

    return make


class Vectors:
    """Score = state of the user . vector of the item; both may be perturbed. Users are rows."""

    sites = ("item-vectors", "history-vectors")

    def __init__(self, states: np.ndarray, vectors: np.ndarray) -> None:
        self.states = torch.tensor(states, dtype=torch.float32)
        self.vectors = torch.tensor(vectors, dtype=torch.float32)
        self.items = pl.DataFrame({"item_id": [f"i{n}" for n in range(len(vectors))]})

    def score(self, queries: Queries, slate: Slate) -> np.ndarray:
        return (self.states[queries.users] @ self.vectors[slate.items].T).numpy()

    def top(self, queries: Queries, k: int) -> np.ndarray:
        whole = Slate(items=np.arange(self.items.height))
        return best(mask_seen(self.score(queries, whole), queries), k)

    def on(self, items: pl.DataFrame) -> "Vectors":
        return self

    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    def surface(self, site, goal, queries, items, texts=(), *, loss=None) -> LossSurface:
        like, loss = self._loss(site, goal, queries, items)
        return LossSurface(loss=loss, like=like, scale=float(like.norm(dim=-1).mean()))

    def _loss(self, site, goal, queries, items):
        states, vectors = self.states[queries.users], self.vectors[items]
        if goal == "promote" and site == "item-vectors":
            return vectors, lambda delta: ((vectors + delta) @ states.T).mean(1)
        if goal == "degrade" and site == "history-vectors":
            targets = torch.as_tensor(items)
            return states, lambda delta: F.cross_entropy(
                (states + delta) @ self.vectors.T, targets, reduction="none"
            )
        raise Unsupported(f"no {goal} at {site}")

    def perturbed_scores(self, site, goal, queries, items, delta) -> np.ndarray:
        states = self.states[queries.users]
        if site == "item-vectors":
            return (states @ (self.vectors[items] + delta).T).numpy()
        return ((states + delta) @ self.vectors.T).numpy()


@pytest.fixture
def make_vectors() -> type[Vectors]:
    return Vectors
