"""Inner maximisers: the strongest bounded perturbation of a tensor, given its loss as a closure.

They know nothing of recommenders. A new one is one file and one member of `Inner`.
"""

from typing import Annotated

from pydantic import Field

from hardrank.perturbations.ball import Loss, Maximiser, Norm, absolute
from hardrank.perturbations.fgm import FGM
from hardrank.perturbations.fgsm import FGSM
from hardrank.perturbations.gaussian import Gaussian
from hardrank.perturbations.pgd import PGD

__all__ = ["FGM", "FGSM", "PGD", "Gaussian", "Inner", "Loss", "Maximiser", "Norm", "absolute"]

Inner = Annotated[Gaussian | FGSM | FGM | PGD, Field(discriminator="kind")]
"""The registry: what TOML can spell, and what the tests run over."""
