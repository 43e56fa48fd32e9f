"""Weighted matrix factorisation, moved by fake users in closed form."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.surrogates.base import Fitted, Log, Precision, opened, tensors
from hardrank.surrogates.factors import Array, Ridge, begun, fold, outer, settled, sums
from hardrank.types import Count, Natural, NonNegative, Positive, spec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["AlsSurrogate", "FittedAls"]


@spec
class AlsSurrogate:
    """Factors fitted once on the clean log; then one more half-sweep with the fakes.

    Fake users are folded into the item vectors, p_f = ridge(selection_f); then each item is
    solved for anew from its real users and the fakes, v_j = ridge(real users of j, p_f
    weighted by selection_fj); real users keep their vectors. This is the first-order
    reply of the factorisation's stationary point that Li et al., NIPS 2016, section 4.1,
    differentiate, with all items moved instead of one entry at a time. O(P I D^2 + I D^3).
    """

    kind: Literal["als"] = "als"
    factors: Count = 32
    """Length of a vector."""
    alpha: NonNegative = 10.0
    """How much more an event weighs than a missing one."""
    weight: Positive = 5.0
    """L2 penalty of vectors."""
    sweeps: Count = 8
    """Over users and items, on the clean log."""
    adapting: Natural = 2
    """Sweeps over log and fakes in `adapted`."""
    afresh: bool = False
    """`adapted` begins from other random vectors each time, not from where it stands: what
    fools one set of vectors alone does not carry over to another model."""
    users: Count = 1000
    """Real users whose lists are watched."""
    precision: Precision = "single"
    """Of all numbers."""

    def fit(self, train: Dataset, run: RunContext) -> "FittedAls":
        log = opened(train, self.users, run)
        kind = np.float64 if self.precision == "double" else np.float32
        start = begun(train.n_items, self.factors, run.seed).astype(kind)
        log = replace(log, touched=log.touched.astype(kind))
        ridge = Ridge(alpha=self.alpha, weight=self.weight)
        _, items = settled(log.touched, start, ridge, self.sweeps)
        return _prepared(self, log, items, (run.seed, 0))


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedAls(Fitted):
    """Scores after one half-sweep over the items with the fake users."""

    how: AlsSurrogate
    log: Log
    people: "Tensor"
    """(N, D) of the panel's users."""
    items: "Tensor"
    """(I, D) that fakes are folded into."""
    left: "Tensor"
    """(I, D, D) of the systems of items, real users alone."""
    right: "Tensor"
    """(I, D)"""
    drawn: tuple[int, int]
    """Seed of the random vectors, and how often it was adapted."""

    @property
    def dtype(self) -> "torch.dtype":
        return self.items.dtype

    @property
    def ridge(self) -> Ridge:
        return Ridge(alpha=self.how.alpha, weight=self.how.weight)

    def scores(self, selection: "Tensor") -> "Tensor":
        """See `Fitted.scores`."""
        return self.people @ self.solved(selection).T

    def solved(self, selection: "Tensor") -> "Tensor":
        """(I, D) item vectors that answer real and fake users."""
        import torch

        fakes, alpha = fold(selection, self.items, self.ridge), self.how.alpha
        left = self.left + fakes.T @ fakes
        left = left + alpha * (selection.T @ outer(fakes)).reshape(left.shape)
        right = self.right + (1 + alpha) * (selection.T @ fakes)
        out: Tensor = torch.linalg.solve(left, right[..., None])[..., 0]
        return out

    def adapted(self, selection: "Tensor") -> "FittedAls":
        """Item vectors after `adapting` sweeps over log and fakes, from where they stand or,
        with `afresh`, from random ones."""
        from scipy.sparse import csr_array, vstack

        fakes = csr_array(selection.detach().numpy().astype(self.log.touched.dtype))
        both = vstack([self.log.touched, fakes], format="csr")
        seed, round_ = self.drawn[0], self.drawn[1] + 1
        start = self.items.numpy()
        if self.how.afresh:
            start = begun(len(start), start.shape[1], seed, round_).astype(start.dtype)
        _, items = settled(both, start, self.ridge, self.how.adapting)
        return _prepared(self.how, self.log, items, (seed, round_))


def _prepared(how: AlsSurrogate, log: Log, items: Array, drawn: tuple[int, int]) -> FittedAls:
    """With the parts of the items' systems that fakes do not change."""
    import torch

    ridge = Ridge(alpha=how.alpha, weight=how.weight)
    users, _ = settled(log.touched, items, ridge, 0)
    left, right = sums(log.touched.T.tocsr(), users, ridge)
    left = left + users.T @ users + how.weight * np.eye(how.factors, dtype=users.dtype)
    kept = tensors(how.precision, users[log.panel], items, left, right)
    return FittedAls(
        how=how, log=log, seen=torch.as_tensor(log.seen), people=kept[0], items=kept[1],
        left=kept[2], right=kept[3], drawn=drawn,
    )  # fmt: skip
