"""Threat models are checked values, and targets are drawn as they say."""

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from hardrank.data import Dataset
from hardrank.errors import DataError, Unsupported
from hardrank.testing import dataset
from hardrank.threats import Budget, Degrade, Demote, Flip, Promote, ThreatModel, targets


@pytest.fixture
def data() -> Dataset:
    """10 items; item n has n events, 9 users."""
    return dataset([f"t{n}" for n in range(10)], [list(range(u + 1, 10)) for u in range(9)])


@pytest.mark.parametrize(
    ("selection", "members"),
    [
        ("cold:1", {"a"}),
        ("unpopular:3", {"b", "c", "d"}),  # lowest quarter of 1..9: at most 3 events
        ("rare:4:2-5", {"c", "d", "e", "f"}),
        ("popular:3", {"h", "i", "j"}),
        ("random:10", set("abcdefghij")),
    ],
)
def test_groups(data: Dataset, selection: str, members: set[str]) -> None:
    assert data.counts.tolist() == list(range(10))
    chosen = targets(Promote(items=selection), data, np.random.default_rng(0))
    assert set(chosen) == members
    assert list(chosen) == sorted(chosen)
    with pytest.raises(DataError, match=f"the training data has {len(members)}"):
        more = selection.replace(f":{len(members)}", f":{len(members) + 1}", 1)
        targets(Promote(items=more), data, np.random.default_rng(0))


def test_draws_follow_the_rng(data: Dataset) -> None:
    goal = Promote(items="random:3")
    draws = [targets(goal, data, np.random.default_rng(n)) for n in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 1
    assert all(len(set(d)) == 3 for d in draws)


def test_named_items_are_taken_as_they_are(data: Dataset) -> None:
    rng = np.random.default_rng(0)
    assert targets(Demote(items=("j", "a")), data, rng) == ("j", "a")
    with pytest.raises(DataError, match="unknown target item 'zz'"):
        targets(Promote(items=("a", "zz")), data, rng)
    for goal in (Degrade(), Flip()):
        with pytest.raises(Unsupported, match="no target items"):
            targets(goal, data, rng)


@pytest.mark.parametrize(
    "items",
    [
        "unpoplar:3",
        "unpopular",
        "unpopular:0",
        "rare:3",
        "cold:3:1-2",
        "rare:3:5-2",
        (),
        ("a", "a"),
    ],
)
def test_wrong_items_are_refused(items: Any) -> None:
    with pytest.raises(ValidationError):
        Promote(items=items)


def test_toml_spells_a_threat() -> None:
    read = TypeAdapter(ThreatModel).validate_python(
        {
            "goal": {"kind": "promote", "items": "unpopular:20"},
            "knowledge": "scores",
            "budget": {"words": 3, "queries": 500, "whole_text": True},
        }
    )
    budget = Budget(words=3, queries=500, whole_text=True)
    assert read == ThreatModel(goal=Promote(items="unpopular:20"), budget=budget)
    assert hash(read) == hash(ThreatModel(goal=Promote(), budget=budget))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"budget": {}}, "needs words, characters or whole_text"),
        ({"budget": {"words": -1}}, "greater than or equal to 0"),
        ({"budget": {"similarity": 1.5, "words": 1}}, "less than or equal to 1"),
        ({"budget": {"word": 1}}, "word"),
        ({"budget": {"words": 1}, "surface": "representation"}, "needs a radius"),
        ({"budget": {"words": 1}, "knowledge": "everything"}, "knowledge"),
        ({"budget": {"words": 1}, "goal": {"kind": "win"}}, "win"),
    ],
)
def test_unbounded_or_misspelt_threats_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(ThreatModel).validate_python({"goal": {"kind": "promote"}, **wrong})


def test_a_threat_describes_itself() -> None:
    threat = ThreatModel(
        goal=Promote(items="rare:20:2-5"), knowledge="ranks",
        budget=Budget(words=3, queries=500, similarity=0.8),
    )  # fmt: skip
    assert threat.describe() == (
        "An attacker who sees the ranks of the target in the lists of a panel of users and "
        "writes the title of the target items wants to bring 20 targets (items with 2 to 5 "
        "training events) into the top 10; at most 3 words edited, similarity to the original "
        "at least 0.8, at most 500 queries for each target."
    )


@pytest.mark.parametrize("goal", [Demote(items=("x",)), Degrade(), Flip(), Flip(label="spam")])
@pytest.mark.parametrize("surface", ["item-text", "query-text", "history", "profiles", "reviews",
                                     "representation"])  # fmt: skip
def test_every_threat_has_a_sentence(goal: Any, surface: Any) -> None:
    sentence = ThreatModel(
        goal=goal, surface=surface,
        budget=Budget(words=1, radius=0.1, events=1, profiles=50, profile_events=90),
    ).describe()  # fmt: skip
    assert sentence.startswith("An attacker who sees") and sentence.endswith(".")
