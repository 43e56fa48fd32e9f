"""What learned profile attacks share: selections that gradients climb, and profiles of them.

A selection (P, I) says what P fake users touch, softly in [0, 1] while an attack climbs. The
targets stand in every row; a row of `sizes[p]` events keeps that sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hardrank.attacks.profiles.parts import Draft, Lengths, Manner, rated, sizes, written
from hardrank.attacks.profiles.sources import copyable, past
from hardrank.context import RunContext
from hardrank.data import Patch
from hardrank.surrogates import Aim, AlsSurrogate, EaseSurrogate, Surrogate, SurrogateSpec
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import Ints

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Crowd",
    "Jury",
    "invented",
    "profiles",
    "recruited",
    "rounded",
    "squeezed",
    "sworn",
    "usual",
]

_BISECTIONS = 40


@dataclass(frozen=True, eq=False, kw_only=True)
class Crowd:
    """Real users whose histories fake users begin from, one each, and how long they get."""

    drafts: tuple[Draft, ...]
    """P real histories without the targets."""
    targets: Ints
    sizes: Ints
    """(P,) events of each fake user, targets included."""
    n_items: int

    @cached_property
    def own(self) -> "Tensor":
        """(P, I) True for the events of the real user."""
        import torch

        out = torch.zeros((len(self.drafts), self.n_items), dtype=torch.bool)
        for p, draft in enumerate(self.drafts):
            out[p, torch.as_tensor(draft.rows)] = True
        return out

    @property
    def lengths(self) -> "Tensor":
        """(P,) the same as `sizes`."""
        import torch

        return torch.as_tensor(self.sizes)


def recruited(
    view: LogView, budget: Budget, rng: np.random.Generator, lengths: Lengths = "budget"
) -> Crowd:
    """A crowd of real users, drawn at random among those whose history is long enough to fill
    a profile; then the longest of the others, then the same again. Nobody, where no user has
    an event with another item than the target."""
    wanted = sizes(view, budget, rng, lengths)
    models = rng.permutation(copyable(view.train, view.targets))
    if not models.size:
        return invented(view, budget, rng, lengths)
    have = np.diff(view.train.offsets)[models]
    enough = have >= wanted.max(initial=1)
    order = np.concatenate([np.flatnonzero(enough), _falling(have, np.flatnonzero(~enough))])
    chosen = models[np.resize(order, wanted.size)]
    drafts = tuple(past(view.train, int(u), view.targets) for u in chosen)
    targets = view.targets[: int(wanted.min(initial=1))]
    return Crowd(drafts=drafts, targets=targets, sizes=wanted, n_items=view.items.height)


def invented(
    view: LogView, budget: Budget, rng: np.random.Generator, lengths: Lengths = "budget"
) -> Crowd:
    """A crowd that begins from nobody."""
    nothing = Draft(rows=np.zeros(0, dtype=np.int64), ratings=np.zeros(0, dtype=np.float32))
    wanted = sizes(view, budget, rng, lengths)
    targets = view.targets[: int(wanted.min(initial=1))]
    return Crowd(
        drafts=(nothing,) * wanted.size, targets=targets, sizes=wanted, n_items=view.items.height
    )


def _falling(lengths: Ints, rows: Ints) -> Ints:
    return rows[np.argsort(-lengths[rows], kind="stable")]


def usual(view: LogView, chosen: Sequence[SurrogateSpec]) -> Sequence[SurrogateSpec]:
    """Those chosen; else EASE, where the catalogue is small enough for it, and two ALS."""
    ease, factors = EaseSurrogate(), (AlsSurrogate(), AlsSurrogate(factors=24))
    few = view.items.height <= ease.most_items
    return chosen or ((ease, *factors) if few else factors)


@dataclass(frozen=True, eq=False, kw_only=True)
class Jury:
    """Surrogates that vote together: their losses add up."""

    members: tuple[Surrogate, ...]
    aim: Aim
    targets: "Tensor"

    def loss(self, selection: "Tensor") -> "Tensor":
        """Lower is better for the attacker. A sum of logarithms asks for all members, not
        for the easiest."""
        import torch

        losses = [m.promotion(selection, self.targets, self.aim) for m in self.members]
        return torch.stack([x.double() for x in losses]).sum()

    def slope(self, selection: "Tensor") -> tuple[float, "Tensor"]:
        """The loss, and its gradient (P, I)."""
        import torch

        leaf = selection.detach().requires_grad_(True)
        loss = self.loss(leaf)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return float(loss.detach()), gradient

    def value(self, selection: "Tensor") -> float:
        """The loss alone."""
        import torch

        with torch.no_grad():
            return float(self.loss(selection))

    def exposure(self, selection: "Tensor") -> float:
        """Mean over members of the share of lists that hold the target."""
        return float(
            np.mean([m.exposure(selection, self.targets, self.aim.k) for m in self.members])
        )

    def adapted(self, selection: "Tensor") -> "Jury":
        """Every member having learnt from the fake users as they are now."""
        return replace(self, members=tuple(m.adapted(selection) for m in self.members))


def sworn(
    view: LogView, chosen: Sequence[SurrogateSpec], aim: Aim, rng: np.random.Generator
) -> Jury:
    """A jury trained on the clean log, each member from a seed of its own."""
    import torch

    seeds = rng.integers(2**31, size=len(chosen)).tolist()
    members = tuple(
        s.fit(view.train, RunContext(seed=n)) for s, n in zip(chosen, seeds, strict=True)
    )
    return Jury(members=members, aim=aim, targets=torch.as_tensor(view.targets))


def squeezed(crowd: Crowd, soft: "Tensor") -> "Tensor":
    """The nearest selection in [0, 1] with the targets at 1 and rows of at most `sizes`.

    Euclidean projection on the capped simplex: clamp(x - tau, 0, 1), tau by bisection.
    """
    import torch

    fillers = soft.clone()
    fillers[:, torch.as_tensor(crowd.targets)] = -torch.inf
    room = (crowd.lengths - len(crowd.targets)).to(soft.dtype)[:, None]
    low = torch.zeros_like(room)
    high = soft.amax(1, keepdim=True).clamp_min(0.0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        over = (fillers - middle).clamp(0, 1).sum(1, keepdim=True) > room
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    # rows that fit already stay as they are
    fits = fillers.clamp(0, 1).sum(1, keepdim=True) <= room
    out = (fillers - torch.where(fits, 0.0, high)).clamp(0, 1)
    out[:, torch.as_tensor(crowd.targets)] = 1.0
    return out


def rounded(crowd: Crowd, soft: "Tensor", stay: float = 0.0) -> "Tensor":
    """0 or 1: the targets, a real user's best own events, at least a share `stay` of the
    fillers (all where there are fewer), and then the best of any."""
    import torch

    targets = torch.as_tensor(crowd.targets)
    room = crowd.lengths - len(targets)
    order = soft.clone()
    order[:, targets] = -torch.inf
    mine = torch.where(crowd.own, order, -torch.inf)
    kept = _top(mine, torch.ceil(stay * room).long()) & crowd.own
    chosen = _top(torch.where(kept, torch.inf, order), room)
    chosen[:, targets] = True
    return chosen.to(soft.dtype)


def _top(values: "Tensor", counts: "Tensor") -> "Tensor":
    """(P, I) True for the highest of each row, ties by lower column."""
    import torch

    most = min(int(counts.max()) if len(counts) else 0, values.shape[1])
    best = torch.sort(values, dim=1, descending=True, stable=True).indices[:, :most]
    inside = torch.arange(most) < counts[:, None]
    return torch.zeros(values.shape, dtype=torch.bool).scatter(1, best, inside)


def profiles(
    view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator, *,
    crowd: Crowd, selection: "Tensor", manner: Manner,
) -> Patch:  # fmt: skip
    """The patch of a rounded selection.

    A real user's events keep their ratings and their order; the others are rated as each
    item is, and stand anywhere between them.
    """
    chosen = selection.numpy() > 0
    chosen[:, crowd.targets] = False

    def fill(n: int, size: int) -> Draft:
        draft, row = crowd.drafts[n], chosen[n]
        own = np.flatnonzero(row[draft.rows])[:size]
        new = np.setdiff1d(np.flatnonzero(row), draft.rows)[: size - own.size]
        at = np.sort(rng.integers(0, own.size + 1, size=new.size))
        new = rng.permutation(new)
        return Draft(
            rows=np.insert(draft.rows[own], at, new),
            ratings=np.insert(draft.ratings[own], at, rated(view, new, rng, by_item=True)),
        )

    return written(view, goal, budget, rng, fill=fill, manner=manner)
