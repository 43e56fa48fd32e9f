"""Inner maximisers: the strongest bounded perturbation of a tensor, given its loss as a closure.

They know nothing of recommenders. A new one is one file and one member of `Inner`.
"""

from typing import Annotated

from pydantic import Field

from hardrank.perturbations.apgd import APGD
from hardrank.perturbations.ball import Loss, Maximiser, Norm, absolute
from hardrank.perturbations.cw import CarliniWagner
from hardrank.perturbations.ensemble import Ensemble
from hardrank.perturbations.fgm import FGM
from hardrank.perturbations.fgsm import FGSM
from hardrank.perturbations.gaussian import Gaussian
from hardrank.perturbations.lbfgs import LBFGS
from hardrank.perturbations.momentum import Momentum
from hardrank.perturbations.pgd import PGD
from hardrank.perturbations.rfgsm import RFGSM
from hardrank.perturbations.uniform import Uniform

__all__ = [
    "APGD",
    "FGM",
    "FGSM",
    "LBFGS",
    "PGD",
    "RFGSM",
    "CarliniWagner",
    "Ensemble",
    "Gaussian",
    "Inner",
    "Loss",
    "Maximiser",
    "Momentum",
    "Norm",
    "Uniform",
    "absolute",
]

Inner = Annotated[
    Gaussian
    | Uniform
    | FGSM
    | RFGSM
    | FGM
    | PGD
    | Momentum
    | APGD
    | CarliniWagner
    | LBFGS
    | Ensemble,
    Field(discriminator="kind"),
]
"""The registry: what TOML can spell, and what the tests run over."""
