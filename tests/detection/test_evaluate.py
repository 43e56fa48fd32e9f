"""Honest evaluation: a detector never saw the attack, nor the users, that it is scored on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hardrank.attacks.profiles.average_profiles import AverageProfiles
from hardrank.attacks.profiles.bandwagon import Bandwagon
from hardrank.attacks.profiles.random_profiles import RandomProfiles
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.detection.evaluate import evaluate, leave_one_attack_out, leave_one_out, table
from hardrank.detection.examples import LabelledLog, labelled
from hardrank.detection.supervised import BoostedDetector
from hardrank.errors import DataError, LeakError
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.profiles import play_profiles

RUN = RunContext(seed=1)
SPEC = BoostedDetector(trees=20, held_out=0.4)


@pytest.fixture(scope="module")
def logs() -> list[LabelledLog]:
    train = taste_log(users=120)
    threat = ThreatModel(
        surface="profiles", goal=Promote(items=("i59",)),
        budget=Budget(profiles=10, profile_events=12),
    )  # fmt: skip
    attacks: list[Any] = [RandomProfiles(), AverageProfiles(), Bandwagon()]
    return [
        labelled(train, play_profiles(attack, threat, train, target=target))
        for attack in attacks
        for target in ("i58", "i59")
    ]


class Spy:
    """Notes what it may learn from, and finds the longest profiles."""

    kind = "spy"

    def __init__(self) -> None:
        self.seen: list[Sequence[LabelledLog]] = []

    def fit(self, examples: Sequence[LabelledLog], run: RunContext) -> Any:
        self.seen.append(examples)
        return longest


def longest(dataset: Dataset) -> Any:
    return np.diff(dataset.offsets).astype(np.float32)


def test_each_family_is_scored_by_a_detector_that_saw_the_others(
    logs: list[LabelledLog],
) -> None:
    """S0-29: recall of at least a half on a held-out family at 1 % false alarms."""
    found = leave_one_attack_out(SPEC, logs, RUN, draws=40)
    assert list(found) == ["average-profiles", "bandwagon", "random-profiles"]
    for family, one in found.items():
        assert one.attack == family
        assert one.auroc.low <= one.auroc.value <= one.auroc.high
        assert (one.logs, one.fakes) == (2, 20)
        assert 40 <= one.users <= 80
    assert found["average-profiles"].auroc.value > 0.95
    assert found["average-profiles"].recall.value > 0.5


@pytest.mark.parametrize("by", ["attack", "target"])
def test_what_is_left_out_is_never_learned_from(logs: list[LabelledLog], by: Any) -> None:
    spy = Spy()
    leave_one_out(spy, logs, RUN, by=by, draws=2)
    assert len(spy.seen) == (3 if by == "attack" else 2)
    for examples in spy.seen:
        assert len(examples) == (4 if by == "attack" else 3)
        assert len({e.family for e in examples}) == (2 if by == "attack" else 3)
        assert len({e.target for e in examples}) == (2 if by == "attack" else 1)


def test_scores_are_of_users_whose_labels_stay_hidden(logs: list[LabelledLog]) -> None:
    spy = Spy()
    found = leave_one_attack_out(spy, logs, RUN, held_out=0.3, draws=2)
    for examples in spy.seen:
        for example in examples:
            assert example.shown is not None
            assert (~example.shown).sum() == found["bandwagon"].users
            assert example.learned[example.fake].all()


def test_numbers_are_those_of_the_scores(logs: list[LabelledLog]) -> None:
    """Against a slow twin: pairs of one fake and one tested real user."""
    only = [logs[0]]
    everybody = evaluate(longest, only, RUN, held_out=1.0, draws=2)["random-profiles"]
    lengths = np.diff(logs[0].dataset.offsets)
    fakes, reals = lengths[logs[0].fake], lengths[~logs[0].fake]
    wins = [(f > r) + 0.5 * (f == r) for f in fakes for r in reals]
    assert everybody.auroc.value == pytest.approx(np.mean(wins))
    allowed = np.sort(reals)[::-1][int(0.01 * len(reals))]
    assert everybody.recall.value == pytest.approx((fakes > allowed).mean())


def test_who_is_not_judged_is_never_found(logs: list[LabelledLog]) -> None:
    def silent(dataset: Dataset) -> Any:
        return np.full(dataset.n_users, np.nan, dtype=np.float32)

    found = evaluate(silent, logs[:1], RUN, draws=2)["random-profiles"]
    assert (found.auroc.value, found.recall.value) == (0.5, 0.0)


def test_the_guard_fires_when_the_scored_log_was_trained_on(logs: list[LabelledLog]) -> None:
    with pytest.raises(LeakError, match="10 fake users of the scored log"):
        evaluate(longest, logs[:1], RUN, examples=[logs[0]])
    twin = replace(logs[0], attack="something else")
    with pytest.raises(LeakError, match="are among the training examples"):
        leave_one_attack_out(Spy(), [*logs, twin], RUN, draws=2)


def test_the_guard_fires_when_tested_users_were_trained_on(logs: list[LabelledLog]) -> None:
    with pytest.raises(LeakError, match="the labels of"):
        evaluate(longest, logs[:1], RUN, examples=logs[2:])


def test_too_few_groups_are_refused(logs: list[LabelledLog]) -> None:
    with pytest.raises(DataError, match="one attack out takes logs of two"):
        leave_one_attack_out(SPEC, logs[:2], RUN)
    with pytest.raises(DataError, match="one seed out"):
        leave_one_out(SPEC, logs, RUN, by="seed")
    with pytest.raises(DataError, match="no log to evaluate on"):
        evaluate(longest, [], RUN)


def test_the_table_and_the_rows_say_the_same(logs: list[LabelledLog]) -> None:
    found = evaluate(longest, logs, RUN, draws=20)
    row = found["bandwagon"].row()
    assert row["fakes"] == 20
    assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]
    lines = table(found)
    assert lines[0].split()[:3] == ["attack", "AUROC", "AP"]
    assert [line.split()[0] for line in lines[1:]] == sorted(found)
    assert f"{row['auroc']:.3f}" in lines[2]
