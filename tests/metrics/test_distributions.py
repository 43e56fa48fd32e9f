"""Distances of samples and histograms: by hand, symmetric, and as scipy has them."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from hardrank.metrics.distributions import jensen_shannon, kolmogorov_smirnov, total_variation

BINS = st.integers(1, 8).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 9), min_size=n, max_size=n)] * 2)
)
SAMPLE = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


def test_by_hand() -> None:
    assert total_variation([1, 3], [3, 1]) == 0.5
    assert total_variation([2, 0, 2], [0, 5, 0]) == 1
    assert total_variation([1, 2], [10, 20]) == 0
    assert jensen_shannon([1, 0], [0, 1]) == 1
    # p = (1, 0), q = (1/2, 1/2), middle (3/4, 1/4)
    expected = (math.log2(4 / 3) + 0.5 * math.log2(2 / 3) + 0.5 * math.log2(2)) / 2
    assert jensen_shannon([5, 0], [1, 1]) == pytest.approx(expected, abs=1e-15)
    assert kolmogorov_smirnov([1, 2], [3, 4]) == 1
    assert kolmogorov_smirnov([1, 2, 3, 4], [1, 2]) == 0.5
    assert kolmogorov_smirnov([1, 1, 1], [1]) == 0


def test_nothing_to_compare_is_nan() -> None:
    for distance in (total_variation, jensen_shannon):
        assert math.isnan(distance([0, 0], [1, 2])) and math.isnan(distance([1, 2], [0, 0]))
    assert math.isnan(kolmogorov_smirnov([], [1.0]))
    assert math.isnan(kolmogorov_smirnov([1.0], []))


@settings(deadline=None, max_examples=60)
@given(BINS)
def test_histograms_as_scipy_has_them(pair: tuple[list[int], list[int]]) -> None:
    p, q = pair
    if not sum(p) or not sum(q):
        return
    with np.errstate(all="ignore"):
        twin = float(jensenshannon(p, q, base=2)) ** 2
    assert jensen_shannon(p, q) == pytest.approx(0 if math.isnan(twin) else twin, abs=1e-9)
    assert jensen_shannon(p, q) == jensen_shannon(q, p)
    assert total_variation(p, q) == total_variation(q, p)
    assert -1e-12 <= jensen_shannon(p, q) <= total_variation(p, q) + 1e-12 <= 1 + 1e-9


@settings(deadline=None, max_examples=60)
@given(SAMPLE, SAMPLE)
def test_samples_as_scipy_has_them(a: list[float], b: list[float]) -> None:
    found = kolmogorov_smirnov(a, b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its p-value, which is not asked for
        twin = float(ks_2samp(a, b, method="asymp").statistic)
    assert found == pytest.approx(twin, abs=1e-12)
    assert found == kolmogorov_smirnov(b, a)
