"""Bootstrap intervals: against the normal theory, a slow twin, and coverage."""

import time

import numpy as np
import pytest

from hardrank.metrics.intervals import (
    bootstrap,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_reduction,
    pooled,
    wilson,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_same_rng_same_interval() -> None:
    values = rng(1).normal(size=(3, 50))
    assert bootstrap_mean(values, rng()) == bootstrap_mean(values, rng())


@pytest.mark.parametrize("digits", [1, 12], ids=["few distinct values", "all distinct"])
def test_one_seed_agrees_with_normal_theory(digits: int) -> None:
    values = np.round(rng(2).normal(size=4000), digits)
    found = bootstrap_mean(values, rng(), draws=4000)
    half = 1.96 * values.std() / np.sqrt(4000)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(half, rel=0.08)
    assert found.value - found.low == pytest.approx(half, rel=0.08)


def test_seeds_and_samples_are_crossed_like_the_slow_twin() -> None:
    values = rng(3).normal(size=(4, 30)) + rng(4).normal(size=(4, 1))
    values[0, :7] = np.nan
    slow, draw = [], rng(5)
    for _ in range(4000):
        table = values[draw.integers(0, 4, 4)][:, draw.integers(0, 30, 30)]
        slow.append(np.nanmean(table))
    found = bootstrap_mean(values, rng(), draws=4000)
    assert found.value == pytest.approx(np.nanmean(values))
    low, high = np.quantile(slow, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.06)
    assert found.high == pytest.approx(high, abs=0.06)


def test_coverage_is_near_95_percent() -> None:
    inside = 0
    for trial in range(300):
        values = rng(1000 + trial).exponential(size=100)
        found = bootstrap_mean(values, rng(trial), draws=400)
        inside += found.low <= 1.0 <= found.high
    assert 0.90 <= inside / 300 <= 0.98


def test_pairing_takes_out_what_both_sides_share() -> None:
    shared = rng(6).normal(size=(1, 500)) * 10
    left = shared + 0.1 + rng(7).normal(size=(1, 500)) * 0.1
    found = bootstrap_difference(left, shared, rng())
    assert found.low > 0
    assert found.high - found.low < 0.03  # unpaired it would be 2.5


def test_reduction_of_halved_gain_is_one_half_in_every_draw() -> None:
    gain = rng(8).uniform(0.1, 1, size=(2, 20))
    found = bootstrap_reduction(gain / 2, gain, rng())
    for number in (found.value, found.low, found.high):
        assert number == pytest.approx(0.5)


def test_a_control_that_may_not_have_moved_gives_no_bound() -> None:
    control = np.array([[1.0, 0, 0, 0]])  # many draws miss the only gain
    found = bootstrap_reduction(control * 0, control, rng())
    assert (found.value, found.low, found.high) == (1.0, -np.inf, np.inf)
    nothing = bootstrap_reduction(control, control * 0, rng())
    assert np.isnan(nothing.value)
    assert np.isnan(nothing.low)


def test_nothing_known() -> None:
    assert np.isnan(bootstrap_mean(np.full((2, 3), np.nan), rng()).value)
    assert np.isnan(bootstrap_mean(np.empty((1, 0)), rng()).value)
    assert np.isnan(pooled([np.nan]))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shape"):
        bootstrap([np.ones(3), np.ones(4)], lambda m: m[0], rng())


def test_wilson_by_hand() -> None:
    """S1-18. 0 of 20 still allows 16 %; 5 of 10 from the published formula."""
    assert wilson(0, 20).low == 0
    assert wilson(0, 20).high == pytest.approx(0.1611, abs=1e-4)
    assert wilson(5, 10).low == pytest.approx(0.2366, abs=1e-4)
    assert wilson(5, 10).high == pytest.approx(0.7634, abs=1e-4)
    assert np.isnan(wilson(0, 0).value)


def test_twenty_thousand_users_take_less_than_two_seconds() -> None:
    values = rng(9).uniform(size=(1, 22363))
    start = time.process_time()
    bootstrap_mean(values, rng())
    assert time.process_time() - start < 2
