"""Scores as probabilities: a planted temperature is found, and what comes out is calibrated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.metrics.calibration import Temperature, expected_calibration_error, temperature


def planted(rng: np.random.Generator, n: int, heat: float, bias: float) -> tuple[np.ndarray, ...]:
    scores = rng.normal(3 * heat, 2 * heat, n)
    chance = 1 / (1 + np.exp(-(scores / heat + bias)))
    return scores, (rng.random(n) < chance).astype(np.int64)


@pytest.mark.parametrize(("heat", "bias"), [(0.02, -3.0), (1.0, -4.0), (25.0, -2.5)])
def test_a_planted_temperature_and_bias_are_found(heat: float, bias: float) -> None:
    """S0-25: and on pairs that were not fitted, ECE of at most 0.05 (here under 0.01), where
    the raw sigmoid has more."""
    rng = np.random.default_rng(0)
    found = temperature(*planted(rng, 40_000, heat, bias))
    assert found.temperature == pytest.approx(heat, rel=0.05)
    assert found.bias == pytest.approx(bias, abs=0.15)
    scores, relevant = planted(rng, 40_000, heat, bias)
    after = expected_calibration_error(found.probabilities(scores), relevant)
    raw = Temperature(1.0, 0.0).probabilities(scores)
    assert after <= 0.01 < 0.05 < expected_calibration_error(raw, relevant)


def test_the_optimum_is_where_the_gradient_vanishes() -> None:
    """Mean probability is the mean (smoothed) label, and so is its product with the score."""
    rng = np.random.default_rng(1)
    scores, relevant = planted(rng, 500, 2.0, -2.0)
    got = temperature(scores, relevant).probabilities(scores).astype(np.float64)
    yes = relevant.sum()
    target = np.where(relevant > 0, (yes + 1) / (yes + 2), 1 / (500 - yes + 2))
    assert got.mean() == pytest.approx(target.mean(), abs=1e-5)
    assert (got * scores).mean() == pytest.approx((target * scores).mean(), abs=1e-4)


def test_where_scores_say_nothing_or_the_opposite_all_get_the_base_rate() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=5000)
    for relevant in (scores < -0.8, np.arange(5000) % 5 == 0):
        got = temperature(scores, relevant).probabilities(scores)
        assert np.ptp(got) < 0.05
        assert got.mean() == pytest.approx(relevant.mean(), abs=0.01)
    constant = temperature(np.full(10, 7.0), [1] * 5 + [0] * 5)
    assert constant.probabilities([7.0])[0] == pytest.approx(0.5)


def test_separable_pairs_have_an_optimum() -> None:
    found = temperature([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1])
    assert np.allclose(found.probabilities([0.0, 1.0]), [0.25, 0.75], atol=1e-4)


@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 100))
def test_units_of_the_score_do_not_matter(unit: float, shift: float, seed: int) -> None:
    scores, relevant = planted(np.random.default_rng(seed), 200, 1.0, -2.0)
    plain = temperature(scores, relevant).probabilities(scores)
    moved = unit * scores + shift * unit
    assert np.allclose(temperature(moved, relevant).probabilities(moved), plain, atol=1e-3)
    order = np.argsort(scores)
    assert (np.diff(plain[order]) >= 0).all()


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        temperature([], [])
