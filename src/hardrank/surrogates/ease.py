"""EASE with fake users in closed form: exact, and differentiable in what they touch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.errors import Unsupported
from hardrank.surrogates.base import Fitted, Precision, opened, tensors
from hardrank.types import Count, Positive, spec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["EaseSurrogate", "FittedEase"]


@spec
class EaseSurrogate:
    """Steck, WWW 2019, arXiv:1905.03375: item-item weights by ridge regression.

    With P = (X'X + weight I)^-1 of the clean log, and S the (P, I) rows of fake users, by
    Woodbury (Y = S P):

        P_S = P - Y' (I + Y S')^-1 Y          score(u, j) = -(x_u P_S)_j / (P_S)_jj

    for items j that u has not seen (eq. 8 of the paper). That is the model refitted on all
    rows, for O(P I^2) a selection; fitting takes O(I^3) once.
    """

    kind: Literal["ease"] = "ease"
    weight: Positive = 500.0
    """L2 penalty: the larger, the less single users count."""
    users: Count = 1000
    """Real users whose lists are watched."""
    most_items: Count = 5000
    """Items above which it refuses, as its matrix is (I, I)."""
    precision: Precision = "single"
    """Of all that is kept; the inverse is always taken in double."""

    def fit(self, train: Dataset, run: RunContext) -> "FittedEase":
        """Raises `Unsupported` above `most_items` items."""
        import torch

        if train.n_items > self.most_items:
            raise Unsupported(
                f"surrogate 'ease' keeps a square of {train.n_items} items, at most "
                f"{self.most_items}; use surrogate 'als'"
            )
        log = opened(train, self.users, run)
        gram = (log.touched.T @ log.touched).toarray()
        gram[np.diag_indices(train.n_items)] += self.weight
        inverse = np.linalg.inv(gram)
        inverse = (inverse + inverse.T) / 2
        kept = tensors(self.precision, inverse, log.touched[log.panel] @ inverse)
        return FittedEase(seen=torch.as_tensor(log.seen), inverse=kept[0], through=kept[1])


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedEase(Fitted):
    """Scores of the model refitted with the fake users."""

    exact: ClassVar[bool] = True
    inverse: "Tensor"
    """(I, I) P of the clean log."""
    through: "Tensor"
    """(N, I) rows of the panel's users times P."""

    @property
    def dtype(self) -> "torch.dtype":
        return self.inverse.dtype

    def scores(self, selection: "Tensor") -> "Tensor":
        """See `Fitted.scores`."""
        import torch

        fakes = selection @ self.inverse
        inner = torch.eye(len(selection), dtype=self.dtype) + fakes @ selection.T
        solved = torch.linalg.solve(inner, fakes)
        diagonal = self.inverse.diagonal() - (fakes * solved).sum(0)
        out: Tensor = -(self.through - (self.through @ selection.T) @ solved) / diagonal
        return out
