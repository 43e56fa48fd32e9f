"""p values by hand, and against twins that count every pattern."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.findings import holm
from hardrank.metrics.significance import sign_flip

RNG = np.random.default_rng


def twin(d: list[float], side: str) -> float:
    """Every pattern of signs, one by one."""
    d = [x for x in d if x]
    if not d:
        return 1.0
    seen, count = sum(d), 0
    for signs in product((-1, 1), repeat=len(d)):
        s = sum(a * abs(b) for a, b in zip(signs, d, strict=True))
        count += {
            "greater": s >= seen - 1e-9, "less": s <= seen + 1e-9,
            "two-sided": abs(s) >= abs(seen) - 1e-9,
        }[side]  # fmt: skip
    return count / 2 ** len(d)


def test_three_equal_differences() -> None:
    """+++ is one of eight patterns, and --- as extreme."""
    assert sign_flip([1.0, 1.0, 1.0], RNG(0)) == 0.25
    assert sign_flip([1.0, 1.0, 1.0], RNG(0), side="greater") == 0.125
    assert sign_flip([1.0, 1.0, 1.0], RNG(0), side="less") == 1.0
    assert sign_flip([0.0, np.nan, 0.0], RNG(0)) == 1.0
    assert np.isnan(sign_flip([np.nan], RNG(0)))


@given(
    st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=8),
    st.sampled_from(("two-sided", "less", "greater")),
)
def test_few_differences_are_counted_exactly(d: list[float], side: str) -> None:
    assert sign_flip(d, RNG(0), side=side) == pytest.approx(twin(d, side))  # type: ignore[arg-type]


def test_many_differences_are_drawn_and_agree_with_all_patterns() -> None:
    d = [float(x) for x in RNG(3).integers(-4, 7, 16)]
    drawn = sign_flip(d, RNG(0), draws=40_000)
    assert drawn == pytest.approx(twin(d, "two-sided"), abs=0.01)
    assert sign_flip(d, RNG(1)) == sign_flip(d, RNG(1))
    assert sign_flip([1.0, 2.0] * 100, RNG(0), draws=999) == 0.001  # never 0


def test_holm_by_hand() -> None:
    """Holm 1979: p 0.01, 0.04, 0.03, 0.005 times 3, 1, 2, 4, never falling in order of p."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.2]) == [0.2] and holm([0.6, 0.7]) == [1.0, 1.0]
    for wrong in (float("nan"), -0.1, 1.1):
        with pytest.raises(ValueError, match="p values lie in"):
            holm([0.5, wrong])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p: list[float], level: float) -> None:
    """The procedure as printed: compare the smallest with a/m, the next with a/(m-1), stop at
    the first that fails."""
    rejected = set()
    for place, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if (len(p) - place) * p[index] > level:
            break
        rejected.add(index)
    assert {n for n, q in enumerate(holm(p)) if q <= level} == rejected


def test_of_yes_or_no_answers_it_is_mcnemars_exact_test() -> None:
    """6 to 1 of 7 cases that differ: two tails of (7 over 0) + (7 over 1) = 8 of 128 each; of 20
    to 5 of 25 by the binomial."""
    first = np.array([1] * 6 + [0] + [1] * 9, dtype=float)
    second = np.array([0] * 6 + [1] + [1] * 9, dtype=float)
    assert sign_flip(first - second, RNG(0)) == pytest.approx(16 / 128)
    assert sign_flip(first - second, RNG(0), side="greater") == pytest.approx(8 / 128)
    many = [1.0] * 20 + [-1.0] * 5
    tail = sum(comb(25, n) for n in range(6)) / 2**25
    assert sign_flip(many, RNG(0)) == pytest.approx(2 * tail)
    assert sign_flip(many, RNG(0), side="less") == pytest.approx(1 - tail + comb(25, 5) / 2**25)
