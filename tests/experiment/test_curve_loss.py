"""A curve says in TOML what its attacker climbs, and its samples say so."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from hardrank.errors import ConfigError
from hardrank.experiment.classify_findings import claims
from hardrank.experiment.classify_spec import FlipCurve
from hardrank.experiment.spec import Curve, Experiment, parse_experiment
from hardrank.perturbations import APGD, FGM, PGD, Ensemble, Gaussian, Uniform

FILE = {
    "name": "demo",
    "data": {"kind": "movielens", "path": "ml-100k"},
    "model": {"kind": "sasrec"},
}


def test_a_file_chooses_loss_and_attack() -> None:
    curve = {"loss": "margin", "inners": [{"kind": "ensemble"}, {"kind": "apgd", "norm": "linf"}]}
    read = parse_experiment(FILE | {"curves": [curve, {}]})
    assert isinstance(read, Experiment)
    chosen, plain = read.curves
    assert chosen.loss == "margin"
    assert chosen.inners == (Ensemble(), APGD(norm="linf"))
    assert [chosen.label(i) for i in chosen.inners] == ["ensemble-margin", "apgd-margin"]
    assert plain == Curve()
    assert [plain.label(i) for i in plain.inners] == ["pgd", "fgm", "gaussian"]


def test_a_loss_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"curves\.0\.loss: must be one of exposure, margin,"):
        parse_experiment(FILE | {"curves": [{"loss": "hinge"}]})


@pytest.mark.parametrize("kind", [Curve, FlipCurve])
def test_two_inners_whose_samples_look_alike_are_refused(kind: type[Curve]) -> None:
    with pytest.raises(ValidationError, match="must differ in kind"):
        kind(inners=(PGD(), PGD(norm="linf")))


def test_noise_is_no_claim_about_a_classifier() -> None:
    """S1-13: a control of the attacks, whichever noise it is."""
    curve = FlipCurve(inners=(PGD(), FGM(), Uniform(), Gaussian()), loss="margin")
    assert list(claims(curve)) == ["pgd-margin", "fgm-margin"]
    assert list(claims(replace(curve, loss=None))) == ["pgd", "fgm"]
