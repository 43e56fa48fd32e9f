"""The contracts pass what is right, and each of them catches what is wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pytest
import torch

from hardrank.attacks import GreedyWords
from hardrank.data import Dataset, Patch, Queries, RewriteItem, Slate
from hardrank.errors import DataError, FoulPlay
from hardrank.testing import (
    AttackContract,
    ReaderContract,
    RecommenderContract,
    WordTaste,
    WordTasteModel,
    dataset,
    toy_market,
)
from hardrank.testing.objectives import ObjectiveContract
from hardrank.training.objective import Plain, Step, TrainableNetwork
from hardrank.types import Knowledge, Scores, spec


class TestWordTaste(RecommenderContract):
    spec = WordTasteModel()
    tolerance = 0.0  # whole numbers: sums in any order are equal


class TestPlain(ObjectiveContract):
    objective = Plain()
    zero = Plain()


class TestTitles(ReaderContract):
    """One title a line; every user buys the first."""

    def write(self, folder: Path) -> None:
        (folder / "titles.txt").write_text("red tea\nblue cup\n", "utf-8")

    def read(self, folder: Path) -> Dataset:
        try:
            titles = (folder / "titles.txt").read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(str(error), path=folder / "titles.txt") from error
        return dataset(titles, [[0]] if titles else [])


@spec
class Cheat(GreedyWords):
    """One word more than the budget."""

    def __call__(self, view: Any, goal: Any, budget: Any, rng: Any) -> Patch:
        item = goal.items[0]
        extra = " ".join(f"w{n}" for n in range((budget.words or 0) + 1))
        return Patch((RewriteItem(item, f"{view.text(item)} {extra}".strip(), view.column),))


def test_the_attack_contract_catches_a_cheat() -> None:
    contract = _contract(AttackContract, attack=Cheat())
    with pytest.raises(FoulPlay, match="1 words changed, budget 0"):
        contract.test_does_nothing_without_words_or_characters()
    with pytest.raises(FoulPlay, match="words changed, budget"):
        contract.test_stays_inside_the_budget()


@spec
class Moody(GreedyWords):
    """Draws from the global random state."""

    def __call__(self, view: Any, goal: Any, budget: Any, rng: Any) -> Patch:
        word = f"w{np.random.randint(10**9)}"  # noqa: NPY002
        return Patch((RewriteItem(goal.items[0], f"{view.text(goal.items[0])} {word}"),))


def test_the_attack_contract_catches_global_randomness() -> None:
    with pytest.raises(AssertionError, match="two patches"):
        _contract(AttackContract, attack=Moody()).test_same_rng_same_patch()


@spec
class Broken(GreedyWords):
    """Writes half of a surrogate pair, where it may write anything."""

    def __call__(self, view: Any, goal: Any, budget: Any, rng: Any) -> Patch:
        item = goal.items[0]
        text = view.text(item) + "\ud83d"
        return Patch((RewriteItem(item, text),) if view.allows(item, [text])[0] else ())


def test_the_attack_contract_catches_what_is_no_text() -> None:
    contract = _contract(AttackContract, attack=Broken())
    for check in (contract.test_stays_inside_the_budget, contract.test_survives_any_text):
        with pytest.raises(AssertionError, match="not text"):
            check()


@spec
class Spendthrift(GreedyWords):
    """Asks again and again where that is thought to be free, or the end is in sight."""

    needs: ClassVar[Knowledge] = "scores"

    def __call__(self, view: Any, goal: Any, budget: Any, rng: Any) -> Patch:
        item = goal.items[0]
        times = 2 if budget.free_repeats or goal.until is not None else 1
        for n in range(times):
            view.scores(item, [view.text(item) + " " * n])
        return Patch()


def test_the_attack_contract_catches_wasted_queries() -> None:
    contract = _contract(AttackContract, attack=Spendthrift())
    with pytest.raises(AssertionError, match="more queries with notes"):
        contract.test_notes_save_queries()
    with pytest.raises(AssertionError, match="more queries to stop sooner"):
        contract.test_a_goal_that_is_reached_costs_no_more()


def test_the_attack_contract_catches_what_is_no_attack() -> None:
    with pytest.raises(AssertionError, match="lacks a member"):
        _contract(AttackContract, attack=Plain()).test_declares_itself()


class Chatty(WordTaste):
    """Scores depend on who else is asked about."""

    def score(self, queries: Queries, slate: Slate) -> Scores:
        return super().score(queries, slate) + np.float32(len(slate))


class Deaf(WordTaste):
    """Takes rewritten texts on a slate but not in a catalogue."""

    def on(self, items: pl.DataFrame) -> "Deaf":
        return replace(self, items=items.with_columns(self.items["title"].alias("title")))


class Forgetful(WordTaste):
    """Shows what was seen."""

    def top(self, queries: Queries, k: int) -> Any:
        return np.argsort(-self.score(queries, self._all()), axis=1, kind="stable")[:, :k]

    def _all(self) -> Slate:
        return Slate(items=np.arange(self.items.height))


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        (Chatty, "test_scores_do_not_depend_on_companions"),
        (Deaf, "test_a_rewritten_slate_is_a_rewritten_catalogue"),
        (Forgetful, "test_top_is_the_sorted_unseen_catalogue"),
    ],
)
def test_the_recommender_contract_catches(wrong: type[WordTaste], check: str) -> None:
    class Spec(WordTasteModel):
        def fit(self, *args: Any, **kwargs: Any) -> WordTaste:
            made = super().fit(*args, **kwargs)
            return wrong(items=made.items, words=made.words, taste=made.taste)

    contract = _contract(RecommenderContract, spec=Spec())
    with pytest.raises(AssertionError):
        getattr(contract, check)()


class Doubled:
    """Adds what it should not at weight 0, and leaves a gradient behind."""

    kind: Literal["doubled"] = "doubled"

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> torch.Tensor:
        network.loss(batch).backward()
        return 2 * network.loss(batch)


@pytest.mark.parametrize(
    "check", ["test_weight_zero_is_the_plain_loss", "test_leaves_everything_as_it_was"]
)
def test_the_objective_contract_catches(check: str) -> None:
    contract = _contract(ObjectiveContract, objective=Doubled(), zero=Doubled())
    with pytest.raises(AssertionError):
        getattr(contract, check)()


class Brittle(TestTitles):
    """Lets a decoding error out."""

    __test__: ClassVar[bool] = False

    def read(self, folder: Path) -> Dataset:
        return dataset((folder / "titles.txt").read_text("utf-8").splitlines(), [[0]])


def test_the_reader_contract_catches() -> None:
    with pytest.raises(UnicodeDecodeError):
        contract = Brittle()
        contract.read = _unless_empty(contract.read)  # type: ignore[method-assign]
        contract.test_spoilt_files_are_data_errors()
    with pytest.raises(FileNotFoundError):
        Brittle().test_nothing_there_is_a_data_error()


def test_the_toy_market_has_taste_to_learn() -> None:
    """Liked topics come up in the top 5 more often than by chance (1 in 4)."""
    data = toy_market()
    from hardrank.context import RunContext

    top = WordTasteModel().fit(data, RunContext()).top(data.histories(), 5)
    liked = np.arange(data.n_users)[:, None] % 4
    assert (top % 4 == liked).mean() > 0.5


def _unless_empty(read: Any) -> Any:
    def careful(folder: Path) -> Dataset:
        if not (folder / "titles.txt").read_bytes():
            raise DataError("empty")
        return read(folder)

    return careful


def _contract(base: type, **members: Any) -> Any:
    return type("Planted", (base,), members)()
