"""Champion and challenger (S3-21)."""

from dataclasses import replace

import pytest

from hardrank.serve.lifecycle import Figures, Floors, challenge

CHAMPION = Figures(
    ndcg=0.10, attacks={"hotflip": 0.20, "copycat": 0.30}, queries=1000, exposure={"i7": 0.002}
)


def test_an_equal_challenger_is_promoted() -> None:
    assert challenge(CHAMPION, CHAMPION).promote


def test_five_points_worse_in_robustness_is_refused_even_with_better_quality() -> None:
    worse = replace(CHAMPION, ndcg=0.2, attacks={"hotflip": 0.25, "copycat": 0.0})
    decision = challenge(CHAMPION, worse)
    assert not decision.promote
    assert decision.reasons == ("'hotflip' succeeds at 25.0%, before at 20.0%",)


@pytest.mark.parametrize(("ndcg", "promote"), [(0.0991, True), (0.099, True), (0.0989, False)])
def test_the_quality_floor_is_relative_to_the_champion(ndcg: float, promote: bool) -> None:
    assert challenge(CHAMPION, replace(CHAMPION, ndcg=ndcg)).promote == promote


@pytest.mark.parametrize(("rate", "promote"), [(0.22, True), (0.2201, False)])
def test_the_robustness_floor_is_absolute(rate: float, promote: bool) -> None:
    other = replace(CHAMPION, attacks={"hotflip": rate, "copycat": 0.3})
    assert challenge(CHAMPION, other).promote == promote


def test_an_attack_that_was_not_measured_counts_against_it() -> None:
    decision = challenge(CHAMPION, replace(CHAMPION, attacks={"hotflip": 0.0}))
    assert decision.reasons == ("not measured against 'copycat'",)


def test_a_target_that_a_poisoned_day_lifted_is_named() -> None:
    decision = challenge(CHAMPION, replace(CHAMPION, exposure={"i7": 0.05, "i8": 0.009}))
    assert not decision.promote
    assert decision.reasons == ("item 'i7' would be in 5.0% of lists, before in 0.2%",)
    assert challenge(
        CHAMPION, replace(CHAMPION, exposure={"i7": 0.05}), Floors(exposure_factor=0)
    ).promote


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1, 1.1])
def test_figures_that_are_no_shares_are_refused(bad: float) -> None:
    assert "no share" in challenge(None, replace(CHAMPION, ndcg=bad)).reasons[0]
    broken = replace(CHAMPION, attacks={"hotflip": bad, "copycat": 0.1})
    assert "'hotflip'" in challenge(CHAMPION, broken).reasons[0]


def test_the_first_model_meets_absolute_floors_only() -> None:
    assert challenge(None, CHAMPION).promote
    floors = Floors(quality=0.2, success=0.25, queries=5000)
    assert len(challenge(None, CHAMPION, floors).reasons) == 3
