"""Schedules rise and never fall."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hardrank.hardening import Constant, Ramp

share = st.floats(0, 1)


@given(low=share, high=share, until=st.floats(0.01, 1), one=share, two=share)
def test_a_ramp_never_falls_and_stays_within_its_ends(
    low: float, high: float, until: float, one: float, two: float
) -> None:
    """S1-58."""
    low, high, one, two = *sorted((low, high)), *sorted((one, two))
    ramp = Ramp(start_share=low, end_share=high, until=until)
    assert ramp.at(0) == low
    assert low <= ramp.at(one) <= ramp.at(two) + 1e-12
    assert ramp.at(1) == pytest.approx(high)


def test_a_ramp_is_a_straight_line_then_flat() -> None:
    ramp = Ramp(start_share=0.2, end_share=0.8, until=0.5)
    at = [ramp.at(p) for p in (0, 0.25, 0.5, 0.75, 1)]
    assert at == pytest.approx([0.2, 0.5, 0.8, 0.8, 0.8])


def test_constant_is_full_strength_throughout() -> None:
    assert [Constant().at(p) for p in (0, 0.5, 1)] == [1, 1, 1]


@pytest.mark.parametrize(
    "wrong", [{"start_share": 0.9, "end_share": 0.1}, {"until": 0.0}, {"start_share": -0.1}]
)
def test_a_ramp_that_falls_or_has_no_length_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Ramp(**wrong)
