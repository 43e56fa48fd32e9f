"""Weighted matrix factorisation trained with the fakes, back-propagated through its end."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.surrogates.base import Fitted, Precision, opened, tensors
from hardrank.surrogates.factors import Ridge, begun, fold, outer, settled
from hardrank.types import Count, Natural, NonNegative, Positive, spec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["FittedUnrolled", "UnrolledSurrogate"]


@spec
class UnrolledSurrogate:
    """Tang, Wen and Wang, RecSys 2020, arXiv:2008.04876, section 3.2: the inner training is
    run with the fake users present, and gradients flow through its last steps alone.

    The paper's inner steps are of SGD; here a step is a whole sweep of alternating least
    squares (items, then users, then fakes), which starts from the clean log's factors and
    needs one or two steps where SGD needs dozens. Real users move, too: what `als` leaves
    out. O(E D^2 + (U + I) D^3) a sweep.
    """

    kind: Literal["unrolled"] = "unrolled"
    factors: Count = 16
    """Length of a vector."""
    alpha: NonNegative = 10.0
    """How much more an event weighs than a missing one."""
    weight: Positive = 5.0
    """L2 penalty of vectors."""
    sweeps: Count = 8
    """On the clean log, in `fit`."""
    steps: Natural = 1
    """Sweeps with the fakes before those that are unrolled; no gradient flows through them."""
    unroll: Count = 1
    """Last sweeps with the fakes, through which gradients flow."""
    afresh: bool = False
    """`adapted` is trained with the fakes from other random vectors each time, for `sweeps`
    sweeps, as the paper does at every outer step; else it goes on from where it stands."""
    users: Count = 1000
    """Real users whose lists are watched."""
    precision: Precision = "single"
    """Of all numbers."""

    def fit(self, train: Dataset, run: RunContext) -> "FittedUnrolled":
        import torch

        log = opened(train, self.users, run)
        start = begun(train.n_items, self.factors, run.seed)
        ridge = Ridge(alpha=self.alpha, weight=self.weight)
        users, items = settled(log.touched, start, ridge, self.sweeps)
        kept = tensors(self.precision, users, items)
        events = _sparse(log.touched, self.precision)
        return FittedUnrolled(
            how=self, seen=torch.as_tensor(log.seen), people=kept[0], items=kept[1],
            events=events, across=events.t().coalesce(), panel=torch.as_tensor(log.panel),
            drawn=(run.seed, 0),
        )  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedUnrolled(Fitted):
    """Scores after sweeps over log and fakes."""

    how: UnrolledSurrogate
    people: "Tensor"
    """(U, D) where the sweeps begin."""
    items: "Tensor"
    """(I, D) where the sweeps begin."""
    events: "Tensor"
    """(U, I) sparse ones."""
    across: "Tensor"
    """(I, U) the same, transposed."""
    panel: "Tensor"
    """(N,) rows of `people`."""
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
        people, items = self._trained(selection)
        return people[self.panel] @ items.T

    def adapted(self, selection: "Tensor") -> "FittedUnrolled":
        """Its sweeps now begin where those with these fakes ended; see `afresh`."""
        import torch

        seed, round_ = self.drawn[0], self.drawn[1] + 1
        selection = selection.detach().to(self.dtype)
        with torch.no_grad():
            if self.how.afresh:
                (start,) = tensors(
                    self.how.precision, begun(len(self.items), self.how.factors, seed, round_)
                )
                people, items = self._solved(self.events, start, None), start
                for _ in range(self.how.sweeps):
                    people, items = self._sweep(selection, people, items)
            else:
                people, items = self._trained(selection)
        return replace(self, people=people, items=items, drawn=(seed, round_))

    def _trained(self, selection: "Tensor") -> "tuple[Tensor, Tensor]":
        import torch

        people, items = self.people, self.items
        with torch.no_grad():
            for _ in range(self.how.steps):
                people, items = self._sweep(selection, people, items)
        for _ in range(self.how.unroll):
            people, items = self._sweep(selection, people, items)
        return people, items

    def _sweep(
        self, selection: "Tensor", people: "Tensor", items: "Tensor"
    ) -> "tuple[Tensor, Tensor]":
        fakes = fold(selection, items, self.ridge)
        items = self._solved(self.across, people, (selection.T, fakes))
        return self._solved(self.events, items, None), items

    def _solved(
        self, rows: "Tensor", other: "Tensor", fakes: "tuple[Tensor, Tensor] | None"
    ) -> "Tensor":
        """(N, D) vectors of rows, given the other side (M, D) and, for items, who of the
        fakes (I, P) selected them and the fakes' vectors (P, D)."""
        import torch

        size = other.shape[1]
        shared = other.T @ other + self.how.weight * torch.eye(size, dtype=self.dtype)
        left, right = torch.sparse.mm(rows, outer(other)), torch.sparse.mm(rows, other)
        if fakes is not None:
            chosen, vectors = fakes
            shared = shared + vectors.T @ vectors
            left, right = left + chosen @ outer(vectors), right + chosen @ vectors
        systems = self.how.alpha * left.reshape(-1, size, size) + shared
        right = (1 + self.how.alpha) * right
        out: Tensor = torch.linalg.solve(systems, right[..., None])[..., 0]
        return out


def _sparse(touched: Any, precision: Precision) -> "Tensor":
    import torch

    table = touched.tocoo()
    (ones,) = tensors(precision, np.ones(table.nnz))
    places = torch.as_tensor(np.stack([table.row, table.col]).astype(np.int64))
    return torch.sparse_coo_tensor(
        places, ones, table.shape, check_invariants=False, is_coalesced=False
    ).coalesce()
