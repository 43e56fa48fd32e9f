"""The contract of recommenders: what audits, attacks and bundles rely on."""

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import polars as pl

from hardrank.context import RunContext
from hardrank.data import Dataset, Queries, Slate
from hardrank.recommender import best, mask_seen
from hardrank.testing.worlds import dataset
from hardrank.types import Scores

__all__ = ["RecommenderContract", "toy_market"]


@lru_cache
def toy_market() -> Dataset:
    """30 users, 24 items in 4 topics; a user buys 4 items, mostly of one topic."""
    rng = np.random.default_rng(0)
    topics = ["hair shampoo curl shine", "tea kettle cup leaf", "lamp desk light bulb",
              "ball goal net field"]  # fmt: skip
    titles = [
        f"{' '.join(rng.permutation(topics[n % 4].split())[:3])} model{n:02d}" for n in range(24)
    ]
    histories = []
    for user in range(30):
        liking = np.where(np.arange(24) % 4 == user % 4, 8.0, 1.0)
        histories.append(rng.choice(24, size=4, replace=False, p=liking / liking.sum()).tolist())
    return dataset(titles, histories, name="toy-market")


class RecommenderContract:
    """Subclass it as `class TestMine(RecommenderContract): spec = Mine(epochs=1)`."""

    spec: ClassVar[Any]
    """A `ModelSpec`, small enough to be trained in seconds."""
    tolerance: ClassVar[float] = 1e-5
    """Share of the largest score by which a score may depend on what else is in the call: the
    order of sums in a matrix product. 0 asks for equality to the last bit."""

    def train(self) -> Dataset:
        """What it is trained on; at least 10 items, no user has seen all but 5 of them."""
        return toy_market()

    def run(self) -> RunContext:
        return RunContext(seed=0)

    def fitted(self) -> Any:
        """Trained once for the class."""
        cls = type(self)
        if "_model" not in cls.__dict__:
            cls._model = self.spec.fit(self.train(), self.run())  # type: ignore[attr-defined]
        return cls._model  # type: ignore[attr-defined]

    def test_scores_have_shape_and_are_numbers(self) -> None:
        scores = self._scores()
        data = self.train()
        assert scores.shape == (data.n_users, data.n_items)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all(), "a score is not a finite number"

    def test_scores_are_deterministic(self) -> None:
        assert np.array_equal(self._scores(), self._scores()), "two calls, two answers"

    def test_scores_do_not_depend_on_companions(self) -> None:
        """One query and one item alone, and in another order: the same score."""
        whole, queries = self._scores(), self.train().histories()
        rows = np.array([3, 0], dtype=np.int64)
        columns = np.array([7, 2, 7, 5], dtype=np.int64)
        part = self.fitted().score(queries.take(rows), Slate(items=columns))
        self._near(part, whole[np.ix_(rows, columns)], "in other company")
        one = self.fitted().score(queries.take(rows[:1]), Slate(items=columns[:1]))
        self._near(one, whole[3:4, 7:8], "alone")

    def test_padding_does_not_leak(self) -> None:
        """A short history scores the same beside a long one."""
        short = Queries.of([[1]])
        both = Queries.of([[1], list(range(8))])
        slate = self._catalogue()
        self._near(
            self.fitted().score(both, slate)[:1], self.fitted().score(short, slate),
            "beside a longer history",
        )  # fmt: skip

    def test_ranks_for_someone_without_history(self) -> None:
        scores = self.fitted().score(Queries.of([[]]), self._catalogue())
        assert np.isfinite(scores).all(), "an empty history has no finite scores"

    def test_top_is_the_sorted_unseen_catalogue(self) -> None:
        """Best first, ties by item row, nothing seen."""
        queries = self.train().histories()
        masked = mask_seen(self._scores().copy(), queries)
        top = self.fitted().top(queries, 5)
        assert top.shape == (len(queries), 5)
        for q in range(len(queries)):
            assert not set(top[q]) & set(queries.history(q)), f"query {q}: a seen item"
            assert len(set(top[q])) == 5, f"query {q}: an item stands there twice"
        expected = best(masked, 5)
        if self.tolerance == 0:
            assert np.array_equal(top, expected), "another order than the scores'"
        found = np.take_along_axis(masked, top, axis=1)
        self._near(found, np.take_along_axis(masked, expected, axis=1), "in the top 5")

    def test_own_text_is_the_standing_text(self) -> None:
        """A slate with the texts that stand there anyway changes nothing."""
        data = self.train()
        slate = Slate(items=self._catalogue().items, texts=tuple(data.items["title"]))
        self._near(self.fitted().score(data.histories(), slate), self._scores(), "own texts")

    def test_a_rewritten_slate_is_a_rewritten_catalogue(self) -> None:
        """score(slate with texts) == on(those texts).score(slate) for whoever has not seen the
        item (it may change what a history says): what attacks search with is what audits
        measure. The original stays as it was."""
        data, model = self.train(), self.fitted()
        before, text = self._scores().copy(), data.items["title"][8]
        items = data.items.with_columns(
            pl.when(pl.col("item_id") == data.items["item_id"][3])
            .then(pl.lit(text)).otherwise(pl.col("title")).alias("title")
        )  # fmt: skip
        three = np.array([3], dtype=np.int64)
        every = data.histories()
        new = every.take(np.setdiff1d(np.arange(len(every)), every.owners[every.items == 3]))
        asked = model.score(new, Slate(items=three, texts=(text,)))
        moved = model.on(items)
        self._near(moved.score(new, Slate(items=three)), asked, "on() and texts")
        assert moved.items["title"][3] == text, "on() did not take the catalogue"
        assert np.array_equal(self._scores(), before), "on() changed the original"

    def test_arrays_are_the_whole_model(self) -> None:
        """Restored from its arrays it gives the same scores to the last bit."""
        arrays = {name: np.array(a, copy=True) for name, a in self.fitted().arrays().items()}
        for name, array in arrays.items():
            assert array.dtype != object, f"array '{name}' holds Python objects"
        again = self.spec.restore(arrays, self.train().items, self.run())
        scores = again.score(self.train().histories(), self._catalogue())
        assert np.array_equal(scores, self._scores()), "restored, it scores differently"

    def test_same_seed_same_model(self) -> None:
        first, second = self.fitted().arrays(), self.spec.fit(self.train(), self.run()).arrays()
        assert first.keys() == second.keys()
        for name, array in first.items():
            assert np.array_equal(array, second[name]), f"array '{name}' differs"

    def test_leaves_the_data_alone(self) -> None:
        data = toy_market() if self.train() is toy_market() else self.train()
        queries = data.histories()
        before, asked = data.items.clone(), queries.fingerprint
        self.fitted().top(queries, 3)
        assert data.items.equals(before) and queries.fingerprint == asked

    def _catalogue(self) -> Slate:
        return Slate(items=np.arange(self.train().n_items, dtype=np.int64))

    def _scores(self) -> Scores:
        scores: Scores = self.fitted().score(self.train().histories(), self._catalogue())
        return scores

    def _near(self, found: Scores, expected: Scores, where: str) -> None:
        scale = float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
        gap = float(np.abs(found - expected).max(initial=0.0))
        assert gap <= self.tolerance * scale, f"{where}: scores differ by {gap:g} of {scale:g}"
