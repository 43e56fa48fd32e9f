"""Adversarial training keeps the contract that every objective keeps."""

from typing import get_args

import pytest

from hardrank.hardening import Adversarial
from hardrank.perturbations import (
    APGD,
    FGM,
    FGSM,
    LBFGS,
    PGD,
    RFGSM,
    CarliniWagner,
    Ensemble,
    Gaussian,
    Inner,
    Momentum,
    Uniform,
)
from hardrank.testing.objectives import ObjectiveContract

INNER = [
    Gaussian(),
    Uniform(),
    FGSM(random_start=True),
    RFGSM(),
    FGM(),
    PGD(steps=2, restarts=2),
    Momentum(steps=2),
    APGD(steps=2),
    CarliniWagner(steps=2, searches=1),
    LBFGS(steps=2, searches=1),
    Ensemble(),
]


def test_every_inner_maximiser_is_here() -> None:
    assert {type(inner) for inner in INNER} == set(get_args(get_args(Inner)[0]))


@pytest.mark.parametrize("inner", INNER, ids=lambda inner: inner.kind)
class TestAdversarial(ObjectiveContract):
    @pytest.fixture(autouse=True)
    def _choose(self, inner: Inner) -> None:
        self.objective = Adversarial(inner=inner, radius=0.1)
        self.zero = Adversarial(inner=inner, radius=0.1, weight=0.0)
