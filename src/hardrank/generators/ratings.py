"""What generators of ratings share: the log as numbers, steps between ratings, the judge's loss."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hardrank.data import Dataset
from hardrank.errors import Diverged
from hardrank.types import Floats, Ints

__all__ = [
    "RatingLog",
    "descend",
    "highest",
    "judged_fake",
    "judged_real",
    "seeded",
    "step_up",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class RatingLog:
    """Users' ratings as numbers in [0, 1]: 0 for no rating, (n + 1) / N for the n-th of N levels.

    A log without ratings has one level: an event is 1.
    """

    offsets: Ints
    """(U + 1,)"""
    items: Ints
    """(E,) item rows, user after user."""
    values: Floats
    """(E,) in (0, 1]."""
    n_items: int
    levels: tuple[float, ...]
    """Ratings that somebody could give, rising; empty where there are none."""

    @classmethod
    def of(cls, train: Dataset) -> "RatingLog":
        """Levels are the whole numbers of the scale, or its halves where somebody gave one."""
        column = train.events["rating"]
        levels: tuple[float, ...] = ()
        values = np.ones(train.n_events, dtype=np.float32)
        if train.n_events and not column.null_count():
            ratings = column.to_numpy().astype(np.float64)
            step = 1.0 if (ratings == np.round(ratings)).all() else 0.5
            low, high = float(ratings.min()), float(ratings.max())
            count = int((high - low) / step + 1e-9) + 1
            levels = tuple(low + step * n for n in range(count))
            values = ((np.clip(np.round((ratings - low) / step), 0, count - 1) + 1) / count).astype(
                np.float32
            )
        return cls(
            offsets=train.offsets, items=train.event_items, values=values, n_items=train.n_items,
            levels=levels,
        )  # fmt: skip

    @property
    def steps(self) -> int:
        """N levels; 1 without ratings."""
        return max(len(self.levels), 1)

    @cached_property
    def lengths(self) -> Ints:
        """(U,)"""
        return np.diff(self.offsets)

    def rows(self, users: Ints) -> Tensor:
        """(B, I) dense; of an item rated twice the last."""
        out = np.zeros((len(users), self.n_items), dtype=np.float32)
        for n, user in enumerate(users.tolist()):
            own = slice(self.offsets[user], self.offsets[user + 1])
            out[n, self.items[own]] = self.values[own]
        return torch.from_numpy(out)

    def rating(self, value: float) -> float | None:
        """The level nearest to a number in [0, 1]; None without ratings."""
        if not self.levels:
            return None
        place = round(value * len(self.levels)) - 1
        return self.levels[min(max(place, 0), len(self.levels) - 1)]

    def templates(self, events: int, least: int) -> Ints:
        """Users with at least that many events, or the `least` users with most where fewer are.

        Never a user without events; user order.
        """
        active = np.flatnonzero(self.lengths > 0)
        long = active[self.lengths[active] >= events]
        if len(long) >= least:
            return long
        order = np.argsort(-self.lengths[active], kind="stable")
        return np.sort(active[order[:least]])

    def batches(
        self, users: Ints, size: int, steps: int, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """`steps` times (B, I), each with other users, all used as often as the others."""
        queue = users[:0]
        for _ in range(steps):
            if len(queue) < size:
                mixed = torch.randperm(len(users), generator=generator).numpy()
                queue = np.concatenate([queue, users[mixed]])
            yield self.rows(queue[:size])
            queue = queue[size:]


def step_up(values: Tensor, threshold: Tensor, width: float = 0.1) -> Tensor:
    """1 where a value reaches the threshold, else 0, with the slope of a sigmoid of that width.

    The straight-through form of a step function: exact going forward, and to both values and
    threshold the derivative of sigmoid((value - threshold) / width) going back.
    """
    soft = torch.sigmoid((values - threshold) / width)
    return (values >= threshold).to(values) + (soft - soft.detach())


def highest(values: Tensor, among: Tensor, counts: Tensor, width: Tensor | float = 1.0) -> Tensor:
    """1 for so many of the highest values of each row, else 0; straight through, see `step_up`.

    values, among: (B, I), only where `among` is True is anything chosen; counts: (B,). The
    threshold lies halfway between the last value chosen and the first that is not, and itself
    gets no gradient. Ties go to the lower column.
    """
    bounded = values.detach().masked_fill(~among, -torch.inf)
    ordered, order = bounded.sort(dim=1, descending=True, stable=True)
    wanted = counts.clamp_max(among.sum(1)).unsqueeze(1)
    place = torch.arange(values.shape[1]).expand_as(order)
    hard = torch.zeros_like(values).scatter(1, order, (place < wanted).to(values))
    edge = ordered.gather(1, torch.cat([wanted - 1, wanted], dim=1).clamp(0, values.shape[1] - 1))
    middle = torch.nan_to_num(edge.clamp(-1e4, 1e4)).mean(1, keepdim=True)
    soft = torch.sigmoid((values - middle) / width) * among
    return hard + (soft - soft.detach())


def judged_real(logits: Tensor) -> Tensor:
    """Mean -log D: what a judge pays on real profiles, and a generator on its own (the
    non-saturating loss of Goodfellow et al., NeurIPS 2014, section 3). 0 for none."""
    return nn.functional.softplus(-logits).sum() / max(len(logits), 1)


def judged_fake(logits: Tensor) -> Tensor:
    """Mean -log(1 - D): what a judge pays on generated profiles. 0 for none."""
    return nn.functional.softplus(logits).sum() / max(len(logits), 1)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, what: str) -> None:
    """One step for the parameters of this optimiser alone: nobody else's `.grad` is written.

    Raises `Diverged` before a loss or a gradient that is not a number reaches a weight.
    """
    learned = [p for group in optimiser.param_groups for p in group["params"]]
    found: tuple[Any, ...] = torch.autograd.grad(loss, learned, allow_unused=True)
    grads = [torch.zeros_like(p) if g is None else g for p, g in zip(learned, found, strict=True)]
    if not bool(loss.isfinite()) or not all(bool(g.isfinite().all()) for g in grads):
        raise Diverged(f"the loss of the {what} is {float(loss.detach())}; lower learning_rate")
    for parameter, gradient in zip(learned, grads, strict=True):
        parameter.grad = gradient
    optimiser.step()


def seeded(rng: np.random.Generator) -> torch.Generator:
    """A torch generator that follows from this one's state."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))
