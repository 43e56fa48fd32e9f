"""The networks and losses of AUSH: ratings of selected items from what a real user rated."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hardrank.generators.dense import Dense
from hardrank.generators.ratings import (
    RatingLog,
    descend,
    highest,
    judged_fake,
    judged_real,
)
from hardrank.types import Floats, Ints

__all__ = [
    "AushBatch",
    "AushLosses",
    "AushNetworks",
    "AushTask",
    "judge_loss",
    "stripped",
    "template",
    "train_aush",
    "writer_losses",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class AushTask:
    """What one target's generator is trained for."""

    targets: Ints
    """(T,) item rows that no template keeps."""
    selected: Ints
    """(S,) item rows whose ratings are generated."""
    wish: Tensor
    """(S,) in [0, 1], how much the attacker wants each to be liked."""
    fillers: int
    """Events that are kept of a template."""
    weights: "AushLosses"
    """Of the generator's three losses."""
    width: int
    steps: int
    batch: int
    learning_rate: float


class AushLosses(NamedTuple):
    """What the generator pays, or the weights of that."""

    adversarial: Tensor | float
    reconstruction: Tensor | float
    shilling: Tensor | float


class AushBatch(NamedTuple):
    """Templates with the selected items taken out."""

    fillers: Tensor
    """(B, I) in [0, 1], 0 where nothing is kept."""
    real: Tensor
    """(B, S) what the users say of the selected items themselves, 0 for nothing."""


class AushNetworks(nn.Module):
    """The generator (I -> S) and the discriminator (I + S -> a logit)."""

    def __init__(
        self, log: RatingLog, selected: int, *, width: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.lowest = 1 / log.steps if log.levels else 0.0
        self.rated = bool(log.levels)
        self.writer = Dense([log.n_items, width, width, selected], generator)
        self.judge = Dense([log.n_items + selected, width, 1], generator)

    def write(self, fillers: Tensor) -> Tensor:
        """(B, I) -> (B, S) ratings between the lowest and 1; without ratings, preferences."""
        shares = torch.sigmoid(self.writer(fillers))
        return self.lowest + (1 - self.lowest) * shares

    def shown(self, written: Tensor, real: Tensor) -> Tensor:
        """(B, S) what the judge sees of the generated values: as many as the user has himself.

        With ratings: of the items that he rated, and nowhere else, as the number of ratings
        would give the fake away. Without: 1 for as many items as he has of them, the most
        preferred ones, with the slope of the preference (straight through).
        """
        known = real > 0
        if self.rated:
            return written * known
        return highest(written, torch.ones_like(known), known.sum(1), width=0.25)

    def rate(self, batch: AushBatch) -> Floats:
        """(B, S) as `write`, without a gradient."""
        with torch.no_grad():
            return np.asarray(self.write(batch.fillers).numpy())

    def logits(self, fillers: Tensor, chosen: Tensor) -> Tensor:
        """(B,) above 0: taken for a real user's."""
        out: Tensor = self.judge(torch.cat([fillers, chosen], dim=1)).squeeze(1)
        return out


def writer_losses(networks: AushNetworks, batch: AushBatch, wish: Tensor) -> AushLosses:
    """What the generator pays: Lin et al., section 4.2.

    adversarial: -log D of what it wrote; reconstruction: squared error on what the user says
    himself (without ratings, on which of the items he has); shilling: squared distance from
    the top, weighted by `wish`.
    """
    written, known = networks.write(batch.fillers), batch.real > 0
    shown = networks.shown(written, batch.real)
    away = (written - batch.real).square()
    counted = known if networks.rated else torch.ones_like(known)
    return AushLosses(
        adversarial=judged_real(networks.logits(batch.fillers, shown)),
        reconstruction=(away * counted).sum() / counted.sum().clamp_min(1),
        shilling=((1 - written).square() * wish).mean(),
    )


def judge_loss(networks: AushNetworks, batch: AushBatch) -> Tensor:
    """Cross-entropy of real against generated, which is cut off from the generator."""
    with torch.no_grad():
        shown = networks.shown(networks.write(batch.fillers), batch.real)
    return judged_real(networks.logits(batch.fillers, batch.real)) + judged_fake(
        networks.logits(batch.fillers, shown)
    )


def stripped(rows: Tensor, task: AushTask, generator: torch.Generator) -> AushBatch:
    """Templates (B, I) with so many fillers kept at random, none of them selected or a target."""
    real = rows[:, task.selected]
    free = rows > 0
    free[:, np.concatenate([task.selected, task.targets])] = False
    luck = torch.rand(rows.shape, generator=generator) * free
    kept = min(task.fillers, rows.shape[1])
    if not kept:
        return AushBatch(torch.zeros_like(rows), real)
    least = luck.topk(kept, dim=1).values[:, -1:]
    return AushBatch(rows * (free & (luck >= least)), real)


def template(
    log: RatingLog, task: AushTask, user: int, generator: torch.Generator
) -> tuple[Ints, AushBatch]:
    """A template of this user, and the rows of its fillers in the order of his history."""
    batch = stripped(log.rows(np.asarray([user])), task, generator)
    history = log.items[log.offsets[user] : log.offsets[user + 1]]
    _, first = np.unique(history, return_index=True)
    rows = history[np.sort(first)]
    return rows[batch.fillers[0].numpy()[rows] > 0], batch


def train_aush(log: RatingLog, task: AushTask, generator: torch.Generator) -> AushNetworks:
    """Each step: one of the discriminator, then, on a fresh forward pass, one of the generator.

    Raises `Diverged` when a loss is no longer a number.
    """
    networks = AushNetworks(log, len(task.selected), width=task.width, generator=generator)
    write = torch.optim.Adam(networks.writer.parameters(), lr=task.learning_rate)
    judge = torch.optim.Adam(networks.judge.parameters(), lr=task.learning_rate)
    users = log.templates(task.fillers, task.batch)
    for rows in log.batches(users, min(task.batch, len(users)), task.steps, generator):
        batch = stripped(rows, task, generator)
        descend(judge, judge_loss(networks, batch), "discriminator")
        losses = writer_losses(networks, batch, task.wish)
        total = sum(w * loss for w, loss in zip(task.weights, losses, strict=True))
        assert isinstance(total, Tensor)
        descend(write, total, "generator")
    return networks
