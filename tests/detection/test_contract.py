"""Every detector without labels keeps the contract (row C7)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hardrank.detection import DETECTORS, AnyDetector
from hardrank.testing.detectors import DetectorContract, reordered
from hardrank.testing.logs import taste_log


def _made(detector_class: type) -> type:
    return type(
        f"Test{detector_class.__name__}", (DetectorContract,), {"detector": detector_class()}
    )


for _one in DETECTORS:
    _case = _made(_one)
    globals()[_case.__name__] = _case


def test_every_kind_is_spelt_once_and_read_back():
    kinds = [cls().kind for cls in DETECTORS]
    assert len(set(kinds)) == len(kinds)
    for cls in DETECTORS:
        assert TypeAdapter(AnyDetector).validate_python({"kind": cls().kind}) == cls()


@pytest.mark.parametrize("cls", DETECTORS, ids=lambda c: c.__name__)
def test_a_permuted_log_has_permuted_scores(cls):
    detector = cls()

    @settings(max_examples=5, deadline=None)
    @given(seed=st.integers(0, 1000), rated=st.booleans(), timed=st.booleans())
    def holds(seed, rated, timed):
        log = taste_log(users=80, items=30, seed=seed, ratings=rated, times=timed)
        order = np.random.default_rng(seed).permutation(80)
        found, expected = detector(reordered(log, order)), detector(log)[order]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)

    holds()
