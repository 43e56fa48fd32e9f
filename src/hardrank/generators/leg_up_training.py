"""The networks and losses of Leg-UP: which items a fake user rates, and how, in whole steps."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.generators.dense import Dense
from hardrank.generators.ratings import (
    RatingLog,
    descend,
    highest,
    judged_fake,
    judged_real,
    step_up,
)
from hardrank.surrogates import Surrogate, SurrogateUnion
from hardrank.types import Ints

__all__ = [
    "LegUpLosses",
    "LegUpNetworks",
    "LegUpPlan",
    "Promotion",
    "Tutors",
    "Written",
    "aim",
    "pretrain",
    "writer_losses",
]

Promotion = Callable[[Tensor, Tensor], Tensor]
"""(P, I) which items the fake users have, in [0, 1], and (T,) targets -> a scalar, the lower the
more the targets are recommended: `Surrogate.promotion`."""


class LegUpLosses(NamedTuple):
    """What the generator pays, or the weights of that."""

    adversarial: Tensor | float
    reconstruction: Tensor | float
    promotion: Tensor | float


@dataclass(frozen=True, kw_only=True)
class LegUpPlan:
    """How a generator is trained, whatever the target."""

    fillers: int
    """Events of a fake user beside the targets."""
    outside: float
    """Share of the fillers that need not be the template's."""
    weights: LegUpLosses
    width: int
    pretraining: int
    steps: int
    batch: int
    learning_rate: float


class Written(NamedTuple):
    """Fake users, exact going forward, with the slopes of their steps going back."""

    presence: Tensor
    """(B, I) 1 for an event, else 0."""
    values: Tensor
    """(B, I) its rating as in `RatingLog`, 0 for none."""


class _Writer(nn.Module):
    def __init__(self, log: RatingLog, width: int, generator: torch.Generator) -> None:
        super().__init__()
        outputs = log.n_items * (2 if log.steps > 1 else 1)
        self.network = Dense([log.n_items, width, width, outputs], generator)
        self.lowest = nn.Parameter(torch.tensor(-0.5))
        self.gaps = nn.Parameter(torch.full((max(log.steps - 2, 0),), -1.0))

    def thresholds(self) -> Tensor:
        """(N - 1,) never falling."""
        gaps = nn.functional.softplus(self.gaps)
        return self.lowest + torch.cat([gaps.new_zeros(1), gaps.cumsum(0)])


class LegUpNetworks(nn.Module):
    """The generator (I -> 2 I, then steps at thresholds) and the discriminator (I -> 1).

    What it says first of each item decides whether the fake user has it: the threshold is each
    profile's own and lets as many items through as the budget has room for. What it says next
    is the rating: one more for each threshold passed, which are learned and the same for all.
    """

    def __init__(self, log: RatingLog, *, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.steps = log.steps
        self.writer = _Writer(log, width, generator)
        self.judge = Dense([log.n_items, width, 1], generator)

    def write(self, templates: Tensor, plan: LegUpPlan, targets: Tensor) -> Written:
        """(B, I) templates -> fake users without the targets."""
        raw, ratings = self.read(templates)
        free = torch.ones(raw.shape[1], dtype=torch.bool)
        free[targets] = False
        own, other = (templates > 0) & free, (templates == 0) & free
        strange = int(plan.outside * plan.fillers)
        kept = own.sum(1).clamp_max(plan.fillers - strange)
        chosen = highest(raw, own, kept) + highest(raw, other, torch.full_like(kept, strange))
        return Written(chosen, chosen * ratings)

    def read(self, templates: Tensor) -> tuple[Tensor, Tensor]:
        """(B, I) above 0: taken for an item of this user; (B, I) the rating of each item."""
        out: Tensor = self.writer.network(templates)
        raw, strengths = out[:, : templates.shape[1]], out[:, templates.shape[1] :]
        if self.steps == 1:
            return raw, torch.ones_like(raw)
        passed = torch.ones_like(raw)
        for threshold in self.writer.thresholds():
            passed = passed + step_up(strengths, threshold, width=0.5)
        return raw, passed / self.steps

    def logits(self, values: Tensor) -> Tensor:
        """(B,) above 0: taken for a real user's."""
        out: Tensor = self.judge(values).squeeze(1)
        return out


def writer_losses(
    networks: LegUpNetworks, templates: Tensor, plan: LegUpPlan, *, targets: Tensor,
    promotion: Promotion | None, generator: torch.Generator,
) -> LegUpLosses:  # fmt: skip
    """What the generator pays: Lin et al., section 4.

    adversarial: -log D of what it wrote; reconstruction: which items a user has, half of whose
    events are hidden, and the squared error of their ratings in levels; promotion: the
    surrogate's.
    """
    written = networks.write(templates, plan, targets)
    hidden = torch.rand(templates.shape, generator=generator) < 0.5
    guessed, ratings = networks.read(templates * ~hidden)
    own = (templates > 0).to(templates)
    rarity = (own.numel() / own.sum().clamp_min(1) - 1).sqrt()
    which = nn.functional.binary_cross_entropy_with_logits(guessed, own, pos_weight=rarity)
    off = ((ratings - templates) * networks.steps).square() * own
    return LegUpLosses(
        adversarial=judged_real(networks.logits(written.values)),
        reconstruction=which + off.sum() / own.sum().clamp_min(1),
        promotion=0.0 if promotion is None
        else promotion(with_targets(written.presence, targets), targets),
    )  # fmt: skip


def judge_loss(
    networks: LegUpNetworks, real: Tensor, templates: Tensor, *, plan: LegUpPlan, targets: Tensor,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """Cross-entropy of real users against generated ones, who are cut off from the generator.

    Of a real user the judge sees as many events as a fake one has, none of a target: neither
    length nor target tells them apart.
    """
    with torch.no_grad():
        fake = networks.write(templates, plan, targets).values
    return judged_real(networks.logits(sampled(real, plan.fillers, targets, generator))) + (
        judged_fake(networks.logits(fake))
    )


def sampled(rows: Tensor, count: int, targets: Tensor, generator: torch.Generator) -> Tensor:
    """(B, I) with so many events of each row left at random, none of a target."""
    free = rows > 0
    free[:, targets] = False
    luck = torch.rand(rows.shape, generator=generator)
    return rows * highest(luck, free, torch.full((len(rows),), count))


def with_targets(presence: Tensor, targets: Tensor) -> Tensor:
    """The same fake users, who now have the targets, too."""
    here = torch.zeros(presence.shape[1]).index_fill(0, targets, 1.0)
    return presence * (1 - here) + here


def pretrain(log: RatingLog, plan: LegUpPlan, generator: torch.Generator) -> LegUpNetworks:
    """Generator and discriminator before any target: how real users rate."""
    networks = LegUpNetworks(log, width=plan.width, generator=generator)
    users = log.templates(plan.fillers, plan.batch)
    nobody = torch.zeros(0, dtype=torch.long)
    _train(networks, log, users, plan, targets=nobody, promotion=None, generator=generator)
    return networks


def aim(
    networks: LegUpNetworks, log: RatingLog, users: Ints, plan: LegUpPlan, *, targets: Ints,
    promotion: Promotion, generator: torch.Generator,
) -> LegUpNetworks:  # fmt: skip
    """The same generator, taught to promote the targets with fake users made of these `users`.

    The networks given stay as they are. Raises `Diverged` for a loss that is not a number.
    """
    own = copy.deepcopy(networks)
    _train(
        own, log, users, plan, targets=torch.from_numpy(targets), promotion=promotion,
        generator=generator,
    )  # fmt: skip
    return own


def _train(
    networks: LegUpNetworks, log: RatingLog, users: Ints, plan: LegUpPlan, *, targets: Tensor,
    promotion: Promotion | None, generator: torch.Generator,
) -> None:  # fmt: skip
    """Each step: one of the discriminator, then, on a fresh forward pass, one of the generator.

    Without a promotion every batch has other templates; with one all of them together, as
    the surrogate reads the fake users as one log, and the weights of the step that it liked
    best are kept: steps across thresholds make no smooth descent.
    """
    write = torch.optim.Adam(networks.writer.parameters(), lr=plan.learning_rate)
    judge = torch.optim.Adam(networks.judge.parameters(), lr=plan.learning_rate)
    steps = plan.pretraining if promotion is None else plan.steps
    real = log.templates(plan.fillers, plan.batch)
    whole = None if promotion is None else log.rows(users)
    best: tuple[float, dict[str, Tensor]] | None = None
    for rows in log.batches(real, min(plan.batch, len(real)), steps, generator):
        templates = rows if whole is None else whole
        told = judge_loss(
            networks, rows, templates, plan=plan, targets=targets, generator=generator
        )
        descend(judge, told, "discriminator")
        losses = writer_losses(
            networks, templates, plan, targets=targets, promotion=promotion, generator=generator
        )
        if isinstance(losses.promotion, Tensor) and plan.weights.promotion:
            value = float(losses.promotion.detach())
            if best is None or value < best[0]:
                best = value, {n: t.clone() for n, t in networks.state_dict().items()}
        total = sum(w * loss for w, loss in zip(plan.weights, losses, strict=True))
        assert isinstance(total, Tensor)
        descend(write, total, "generator")
    if best is not None:
        networks.load_state_dict(best[1])


@dataclass(frozen=True, eq=False, kw_only=True)
class Tutors:
    """What no target changes: a generator that knows how users rate, and the surrogates."""

    networks: LegUpNetworks
    surrogates: tuple[Surrogate, ...]
    _last: ClassVar[dict[tuple[Any, ...], "Tutors"]] = {}

    @classmethod
    def of(
        cls, train: Dataset, log: RatingLog, plan: LegUpPlan,
        surrogates: tuple[SurrogateUnion, ...], run: RunContext,
    ) -> "Tutors":  # fmt: skip
        """Trained, or those of the last call if log, plan, surrogates and seed are the same.

        All randomness follows from the run's seed, so the memory saves time and nothing else.
        """
        key = (train.fingerprint, plan, surrogates, run.seed)
        if key not in cls._last:
            generator = torch.Generator().manual_seed(derive(run.seed, "pretraining"))
            made = cls(
                networks=pretrain(log, plan, generator),
                surrogates=tuple(surrogate.fit(train, run) for surrogate in surrogates),
            )
            cls._last.clear()
            cls._last[key] = made
        return cls._last[key]
