"""What a policy of profiles works with: where profiles become patches, what the known detector
says of them, what there is to know of an item."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.profiles.kin import kin
from hardrank.attacks.profiles.parts import Draft, Manner, rated, written
from hardrank.attacks.profiles.selection import Crowd, Jury
from hardrank.context import RunContext
from hardrank.data import Patch
from hardrank.data.filtering import Detector
from hardrank.surrogates import AlsSurrogate
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import Floats, Ints

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MOST", "ROOM", "Desk", "Guard", "features_of", "guarded", "loss_of"]

MOST = 5.0
"""Deviations beyond the border that count."""
ROOM = 1.0
"""Of suspicion below the border, in deviations of the real users' scores: there is nothing to
win further down."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Desk:
    """Where profiles become patches and selections."""

    view: LogView
    goal: Promote | Demote
    budget: Budget
    crowd: Crowd
    manner: Manner

    @property
    def room(self) -> Ints:
        """(P,) fillers of each fake user."""
        out: Ints = self.crowd.sizes - len(self.crowd.targets)
        return out

    def lengths(self, n: int) -> Ints:
        """(n,) the same over and over."""
        return np.resize(self.room, n)

    def multi_hot(self, profiles: Sequence[Ints]) -> Floats:
        """(N, I) who holds what, targets left out."""
        out = np.zeros((len(profiles), self.crowd.n_items), dtype=np.float32)
        for n, rows in enumerate(profiles):
            out[n, rows] = 1.0
        return out

    def selection(self, profiles: Sequence[Ints]) -> "Tensor":
        """(N, I) who holds what, targets with them."""
        import torch

        out = self.multi_hot(profiles)
        out[:, self.crowd.targets] = 1.0
        return torch.as_tensor(out)

    def patch(self, profiles: Sequence[Ints], rng: np.random.Generator) -> Patch:
        """P profiles in the order they were drawn in, rated as each item is."""

        def fill(n: int, size: int) -> Draft:
            rows = profiles[n][:size]
            return Draft(rows=rows, ratings=rated(self.view, rows, rng, by_item=True))

        return written(self.view, self.goal, self.budget, rng, fill=fill, manner=self.manner)


@dataclass(eq=False, kw_only=True)
class Guard:
    """The known detector, and what it said of profiles so far."""

    view: LogView
    detector: Detector
    border: float
    deviation: float
    held: list[Floats] = field(default_factory=list)
    said: list[NDArray[np.float64]] = field(default_factory=list)

    def margins(self, patch: Patch) -> NDArray[np.float64]:
        """(P,) how far each fake user's score lies beyond the border, in deviations of the
        real ones'; -inf for one not judged."""
        scores = np.asarray(self.detector(self.view.train.apply(patch)), dtype=np.float64)
        beyond = (scores[-len(patch) :] - self.border) / self.deviation
        return np.nan_to_num(beyond, nan=-np.inf)

    def ask(self, held: Floats, patch: Patch) -> None:
        """Score the log with these fake users and remember it. held: (P, I)"""
        self.held.append(held)
        self.said.append(np.clip(self.margins(patch), -ROOM, MOST))

    def guess(self, held: Floats) -> NDArray[np.float64]:
        """(N,) margins: what was said of the same profile, else ridge regression on items."""
        known = np.concatenate(self.held).astype(np.float64)
        said = np.concatenate(self.said)
        ridge = max(1.0, float(known.sum(axis=1).mean()))
        shared = known @ known.T + ridge * np.eye(len(known))
        out = said.mean() + held @ (known.T @ np.linalg.solve(shared, said - said.mean()))
        last = min(len(self.said[-1]), len(held))
        if np.array_equal(self.held[-1][:last], held[:last]):
            out[:last] = self.said[-1][:last]
        return np.asarray(out, dtype=np.float64)


def guarded(view: LogView, flagged: float) -> Guard | None:
    """The border of the defence's threshold, drawn on the clean log."""
    if view.detector is None:
        return None
    scores = np.asarray(view.detector(view.train), dtype=np.float64)
    known = scores[~np.isnan(scores)]
    if not known.size:
        return None
    border = float(np.quantile(known, 1 - flagged, method="higher"))
    return Guard(
        view=view, detector=view.detector, border=border, deviation=float(known.std()) or 1.0
    )


def loss_of(
    desk: Desk, jury: Jury, guard: Guard | None, profiles: Sequence[Ints], patch: Patch
) -> float:
    """Of those fake users that would not be flagged; infinite where all would."""
    kept = np.ones(len(profiles), dtype=bool) if guard is None else guard.margins(patch) <= 0
    return jury.value(desk.selection(profiles)[kept]) if kept.any() else np.inf


def features_of(view: LogView, factors: int, seed: int) -> Floats:
    """(I, F) of each item: the direction of its vector in a factorisation of the log, its log
    popularity and that squared, how much it goes with the targets; all of mean 0 and
    deviation 1 but the direction."""
    model = AlsSurrogate(factors=factors).fit(view.train, RunContext(seed=seed))
    vectors = model.items.numpy()
    long = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.maximum(long, 1e-12)
    popular = _scaled(np.log1p(view.counts))
    columns = [popular, _scaled(popular**2), _scaled(kin(view))]
    return np.concatenate([vectors, np.stack(columns, axis=1)], axis=1).astype(np.float32)


def _scaled(column: NDArray[Any]) -> NDArray[np.float64]:
    column = np.asarray(column, dtype=np.float64)
    scaled: NDArray[np.float64] = (column - column.mean()) / (float(column.std()) or 1.0)
    return scaled
