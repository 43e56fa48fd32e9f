"""What every surrogate answers, and the loss that an attacker reads off its scores.

A selection (P, I) says what P fake users touched: 1 for an item touched, 0 for one not, and
anything between while an attack is still climbing.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from annotated_types import Gt, Le
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.types import Count, Positive, spec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Aim", "Fitted", "Log", "Precision", "Surrogate", "opened", "tensors"]

Precision = Literal["single", "double"]
"""Of all numbers of a surrogate; double for checks, single for speed."""
_DOOR = 50
_PART = 20
"""The place in a list whose score tells how far users differ, and the part of a small
catalogue that takes its place; see `Fitted.spread`."""


@spec
class Aim:
    """What the attacker of a surrogate wants of the users' lists.

    With s the score that a user gives to the target, `door` the k-th best score among the
    user's other unseen items, and gap = (s - door) / spread:

    | loss | value |
    |---|---|
    | `exposure` | -log mean_u sigmoid(sharpness * gap): softly, the share that lists it |
    | `margin` | mean_u softplus(-sharpness * gap): weighs all users, the hopeless ones most |
    """

    k: Count = 50
    """Length of the lists that the target is to enter."""
    loss: Literal["exposure", "margin"] = "exposure"
    """`exposure` finds the users who can be won; its logarithm keeps it climbable from afar."""
    audience: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of the eligible users whose lists are aimed at, those nearest to listing first."""
    sharpness: Positive = 1.0
    """How nearly the soft share is the hard one, per spread of the users' doors."""


class Surrogate(Protocol):
    """A recommender of the attacker's own that knows what fake users would change."""

    def promotion(self, selection: "Tensor", targets: "Tensor", aim: Aim = ...) -> "Tensor":
        """Scalar loss, lower is better for who promotes; differentiable in `selection`.

        selection: (P, I) in [0, 1]; targets: (T,) item rows, whose losses are averaged.
        Deterministic.
        """
        ...

    def exposure(self, selection: "Tensor", targets: "Tensor", k: int) -> float:
        """T-HR@k in [0, 1]: of the panel's users who never touched a target, the share that
        has it among the k best unseen items; the mean over targets."""
        ...

    def adapted(self, selection: "Tensor") -> "Surrogate":
        """The surrogate as it would be, trained further on the log with these fake users:
        nearer to the truth for selections that lie near. Itself where it is exact."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Log:
    """A training log as who touched what, and the users whose lists are watched."""

    touched: Any
    """(U, I) SciPy CSR of ones, float64: users with at least one event, in their order."""
    panel: NDArray[np.int64]
    """(N,) rows of `touched`, rising."""

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(N, I) what the watched users touched."""
        out: NDArray[np.bool_] = self.touched[self.panel].toarray() > 0
        return out


def opened(train: Dataset, users: int, run: RunContext) -> Log:
    """The log with a panel of at most so many users, drawn from the run's seed."""
    from scipy.sparse import csr_array

    rows = train.events["user"].to_numpy().astype(np.int64)
    shape = (train.n_users, train.n_items)
    touched = csr_array((np.ones(train.n_events), (rows, train.event_items)), shape=shape)
    touched = touched[np.flatnonzero(np.diff(train.offsets) > 0)]
    touched.sum_duplicates()
    touched.data[:] = 1.0
    rng = np.random.default_rng(derive(run.seed, "surrogate", "panel"))
    panel = rng.permutation(touched.shape[0])[:users]
    return Log(touched=touched, panel=np.sort(panel).astype(np.int64))


def tensors(precision: Precision, *arrays: NDArray[Any]) -> "tuple[Tensor, ...]":
    """The arrays as tensors of that precision."""
    import torch

    kind = torch.float64 if precision == "double" else torch.float32
    return tuple(torch.as_tensor(a, dtype=kind) for a in arrays)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """What surrogates share that give all scores of the panel's users: the losses."""

    exact: ClassVar[bool] = False
    """Scores are those of a model trained anew on log and fakes, to the last digits."""
    seen: "Tensor"
    """(N, I) True where a user of the panel touched the item before."""

    @property
    def dtype(self) -> "torch.dtype":
        raise NotImplementedError

    def scores(self, selection: "Tensor") -> "Tensor":
        """(N, I) what the panel's users would be shown; those of seen items mean nothing."""
        raise NotImplementedError

    def adapted(self, selection: "Tensor") -> Self:
        """See `Surrogate.adapted`."""
        return self

    def promotion(self, selection: "Tensor", targets: "Tensor", aim: Aim | None = None) -> "Tensor":
        """See `Surrogate.promotion` and `Aim`."""
        import torch

        aim = aim or Aim()
        scores = self.scores(selection.to(self.dtype))
        losses = [_loss(g / self.spread, aim) for g in self._gaps(scores, targets, aim.k)]
        return torch.stack(losses).mean()

    def exposure(self, selection: "Tensor", targets: "Tensor", k: int) -> float:
        """See `Surrogate.exposure`; 0 for a target that everybody touched."""
        import torch

        with torch.no_grad():
            gaps = self._gaps(self.scores(selection.to(self.dtype)), targets, k)
        shares = [float((g >= 0).double().mean()) if len(g) else 0.0 for g in gaps]
        return float(np.mean(shares))

    @cached_property
    def spread(self) -> float:
        """Standard deviation over users of their 50th best unseen score in the clean model
        (at the best twentieth of a catalogue below 1,000 items): the unit of gaps. 1 where
        users do not differ."""
        import torch

        with torch.no_grad():
            clean = self.scores(torch.zeros((0, self.seen.shape[1]), dtype=self.dtype))
            clean = clean.masked_fill(self.seen, -torch.inf)
            doors = _best(clean, max(1, min(_DOOR, clean.shape[1] // _PART)))
        doors = doors[torch.isfinite(doors)]
        return (float(doors.std(correction=0)) if len(doors) else 0.0) or 1.0

    def _gaps(self, scores: "Tensor", targets: "Tensor", k: int) -> "list[Tensor]":
        """For each target (E,): its score less the user's door, for all eligible users."""
        import torch

        out = []
        for target in targets.tolist():
            eligible = ~self.seen[:, target]
            hidden = self.seen[eligible].clone()
            hidden[:, target] = True
            others = scores[eligible].masked_fill(hidden, -torch.inf)
            doors = _best(others, min(k, others.shape[1]))
            # who has seen all but k items is shown the target anyway
            floor = torch.finfo(scores.dtype).min / 1e6
            out.append(scores[eligible][:, target] - doors.clamp_min(floor))
        return out


def _best(scores: "Tensor", k: int) -> "Tensor":
    """(N,) the k-th best of each row, differentiable."""
    import torch

    if not len(scores):
        return scores.new_zeros(0)
    return torch.topk(scores, k, dim=1, sorted=True).values[:, -1]


def _loss(gaps: "Tensor", aim: Aim) -> "Tensor":
    import torch
    from torch.nn import functional

    if not len(gaps):
        return gaps.sum()
    if aim.audience < 1:
        gaps = torch.topk(gaps, max(1, round(aim.audience * len(gaps)))).values
    gaps = gaps * aim.sharpness
    if aim.loss == "margin":
        return functional.softplus(-gaps).mean()
    # log of the mean of sigmoids, safe where all of them vanish
    listed = torch.logsumexp(functional.logsigmoid(gaps), dim=0)
    return math.log(len(gaps)) - listed
