"""Adversarial training keeps the contract that every objective keeps."""

from typing import get_args

import pytest

from hardrank.hardening import Adversarial
from hardrank.perturbations import FGM, FGSM, PGD, Gaussian, Inner
from hardrank.testing.objectives import ObjectiveContract

INNER = [Gaussian(), FGSM(random_start=True), FGM(), PGD(steps=2, restarts=2)]


def test_every_inner_maximiser_is_here() -> None:
    assert {type(inner) for inner in INNER} == set(get_args(get_args(Inner)[0]))


@pytest.mark.parametrize("inner", INNER, ids=lambda inner: inner.kind)
class TestAdversarial(ObjectiveContract):
    @pytest.fixture(autouse=True)
    def _choose(self, inner: Inner) -> None:
        self.objective = Adversarial(inner=inner, radius=0.1)
        self.zero = Adversarial(inner=inner, radius=0.1, weight=0.0)
