"""One step of each player, and what it is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from hardrank.context import derive
from hardrank.generators.bags import Bags
from hardrank.generators.drawing import Speaks
from hardrank.generators.draws import NEVER, gumbel, log_likelihood, multi_hot, top_k
from hardrank.generators.interest_gan import InterestGan
from hardrank.generators.losses import (
    critic_loss,
    deceiving_loss,
    gradient_penalty,
    mode_seeking,
)
from hardrank.generators.networks import Critic, Generator
from hardrank.generators.pressure import Pressure
from hardrank.types import Ints

__all__ = [
    "Batch",
    "Fakes",
    "batch_of",
    "combined",
    "critic_step",
    "fakes_of",
    "generator_step",
    "gradients",
    "pressed",
    "step_seed",
    "stepped",
]

_CLIP = 5.0
"""Largest L2 norm of one player's gradient."""
_LAZY = 4
"""Every so many steps the penalty is taken, so many times as heavy (Karras et al., CVPR 2020,
arXiv:1912.04958, section 4.1): its second derivative is half of a step's cost."""
_STRANGERS = 4
"""Other users' items that each user's are paired with."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """B users, each one's items split at random into what the generator sees and what not."""

    seen: Tensor
    """(B, I) of zeros and ones: the condition."""
    held: Tensor
    """(B, I): the rest of the user's items."""
    order: Tensor
    """(B, K) the held items in random order, 0 where there is none."""
    inside: Tensor
    """(B, K) True where `order` says something."""
    past: Tensor
    """(B, I): the user's older items, as the pair head will be asked about."""
    recent: Tensor
    """(B, I): the newer ones."""

    @property
    def whole(self) -> Tensor:
        return self.seen + self.held


@dataclass(frozen=True, eq=False, kw_only=True)
class Fakes:
    """What the generator makes of a batch, in one forward pass."""

    logits: Tensor
    """(B, I), nothing forbidden."""
    noise: Tensor
    """(B, Z)"""
    new: Tensor
    """(B, I): as many items as were held, none of them seen."""
    whole: Tensor
    """(B, I), as many items as the user has: freely drawn in the first half of the rows, what
    was seen and `new` in the others."""


def batch_of(bags: Bags, rows: Ints, rng: np.random.Generator) -> Batch:
    """Between a quarter and three quarters of each user's items are seen (at random) and past
    (the first ones); at least one item is and at least one is not. bags: of at least two
    items each."""
    whole = [bags.row(b) for b in rows.tolist()]
    cuts = [int(np.clip(round(len(w) * rng.uniform(0.25, 0.75)), 1, len(w) - 1)) for w in whole]
    mixed = [rng.permutation(w) for w in whole]
    held = [w[cut:] for w, cut in zip(mixed, cuts, strict=True)]
    order = np.zeros((len(rows), max(len(h) for h in held)), dtype=np.int64)
    inside = np.zeros(order.shape, dtype=np.bool_)
    for n, items in enumerate(held):
        order[n, : len(items)], inside[n, : len(items)] = items, True
    return Batch(
        seen=_sets([w[:cut] for w, cut in zip(mixed, cuts, strict=True)], bags.n_items),
        held=_sets(held, bags.n_items),
        past=_sets([w[:cut] for w, cut in zip(whole, cuts, strict=True)], bags.n_items),
        recent=_sets([w[cut:] for w, cut in zip(whole, cuts, strict=True)], bags.n_items),
        order=torch.as_tensor(order), inside=torch.as_tensor(inside),
    )  # fmt: skip


def _sets(rows: Sequence[Ints], n_items: int) -> Tensor:
    owners = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    flat = np.concatenate(rows)
    return multi_hot(torch.as_tensor(owners), torch.as_tensor(flat), (len(rows), n_items))


def fakes_of(
    generator: Generator, batch: Batch, spec: InterestGan, draws: torch.Generator
) -> Fakes:
    """A fresh forward pass: every step has its own."""
    noise = torch.randn((len(batch.seen), spec.noise), generator=draws)
    logits = generator(batch.seen, noise)
    perturbed = logits + gumbel(tuple(logits.shape), draws)
    others = perturbed.masked_fill(batch.seen > 0, NEVER)
    new = top_k(others, batch.inside.sum(1), spec.temperature)
    half = (len(noise) + 1) // 2
    counts = batch.whole[:half].sum(1).long()
    free = top_k(perturbed[:half], counts, spec.temperature)
    whole = torch.cat([free, batch.seen[half:] + new[half:]])
    return Fakes(logits=logits, noise=noise, new=new, whole=whole)


def critic_step(
    critic: Critic, optimiser: torch.optim.Optimizer, batch: Batch, fakes: Fakes,
    spec: InterestGan, draws: torch.Generator, *, step: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Tell real from fake, on fakes that are cut from the generator. Changes the critic alone.

    step: of the critic, from 0; decides when the penalty is due.
    """
    critic.train()
    whole, new = fakes.whole.detach(), fakes.new.detach()
    strange = impostors(batch.whole, critic.features[:, -2], draws)
    every = critic.plain(torch.cat([batch.whole, whole, strange]))
    real, fake, crude = (
        every[: len(whole)],
        every[len(whole) :][: len(whole)],
        every[2 * len(whole) :],
    )
    loss = critic_loss(spec.loss, real, fake)
    if spec.penalty and step % _LAZY == 0:
        slope = gradient_penalty(spec.loss, critic.plain, batch.whole, whole, draws)
        loss = loss + _LAZY * spec.penalty * slope
    seen, held, drawn, past, recent = critic.interests(
        batch.seen, batch.held, new, batch.past, batch.recent
    )
    left, right = torch.cat([seen, past]), torch.cat([held, recent])
    loss = loss + spec.impostors * softplus(crude).mean()
    own, made = critic.pair_of(left, right), critic.pair_of(seen, drawn)
    turns = range(1, min(_STRANGERS, len(seen) - 1) + 1)
    other = torch.cat(
        [critic.pair_of(a, b.roll(n, 0)) for n in turns for a, b in ((seen, held), (past, recent))]
    )
    pair = softplus(-own).mean() + 0.5 * softplus(other).mean() + 0.5 * softplus(made).mean()
    parameters = list(critic.parameters())
    grads = torch.autograd.grad(loss + pair, parameters)
    norm = stepped(optimiser, parameters, grads)
    # half-way, not 0: crude fakes and a critic of other losses move the logits as a whole
    middle = float((real.detach().mean() + fake.detach().mean()) / 2)
    verdicts = torch.cat([real, fake]).detach()
    return {
        "loss_critic": float(loss.detach()), "loss_pair": float(pair.detach()),
        "gradient_critic": norm, "verdicts": float(verdicts.std()),
        "accuracy_real": float((real > middle).float().mean()),
        "accuracy_fake": float((fake < middle).float().mean()),
        "accuracy_pair": float(((own > 0).float().mean() + (other < 0).float().mean()) / 2),
    }  # fmt: skip


def impostors(whole: Tensor, known: Tensor, draws: torch.Generator) -> Tensor:
    """(B / 4, I) profiles that nobody would have, as long as the first users' own: of items drawn
    evenly in even rows and by popularity alone in odd ones. known: (I,) scaled log-counts."""
    rows = max(len(whole) // 4, 1)
    by = torch.arange(rows)[:, None] % 2 * known
    noise = gumbel((rows, whole.shape[1]), draws)
    return top_k(by + noise, whole[:rows].sum(1).long(), 1.0)


def generator_step(
    generator: Generator, critic: Critic, optimiser: torch.optim.Optimizer, batch: Batch,
    fakes: Fakes, spec: InterestGan, draws: torch.Generator, *, adversarial: float,
    pressure: Pressure | None,
) -> dict[str, float]:  # fmt: skip
    """Deceive the critic as it now is. Changes the generator alone."""
    critic.eval()  # spectral norm would else go on with its power iteration
    parts: dict[str, Tensor] = {}
    if adversarial:
        plain = deceiving_loss(spec.loss, critic.plain(fakes.whole))
        parts["loss_deceive"] = plain
        if spec.pair:
            parts["loss_deceive_pair"] = softplus(-critic.pair(batch.seen, fakes.new)).mean()
    if spec.likelihood:
        offered = fakes.logits.masked_fill(batch.seen > 0, NEVER)
        parts["loss_likelihood"] = -log_likelihood(offered, batch.order, batch.inside).mean()
    if spec.diversity:
        again = torch.randn(fakes.noise.shape, generator=draws)
        other = generator(batch.seen, again)
        parts["loss_diversity"] = mode_seeking(fakes.logits, other, fakes.noise, again)
    if spec.closeness:
        half = (len(fakes.noise) + 1) // 2
        common = (fakes.whole[:half] * batch.seen[:half]).sum(1) / batch.seen[:half].sum(1)
        parts["loss_closeness"] = 1 - common.mean()
    weights = {
        "loss_deceive": adversarial, "loss_deceive_pair": adversarial * spec.pair,
        "loss_likelihood": spec.likelihood, "loss_diversity": spec.diversity,
        "loss_closeness": spec.closeness,
    }  # fmt: skip
    loss = sum((weights[k] * v for k, v in parts.items()), torch.zeros(()))
    parameters = list(generator.parameters())
    *grads, through = gradients(loss, [*parameters, fakes.whole])
    said = {name: float(part.detach()) for name, part in parts.items()}
    said["loss_generator"] = float(loss.detach())
    if adversarial:
        said["through"] = float(through.norm())
    if pressure is not None and pressure.beta:
        attack = pressure.loss(pressed(generator, batch.whole, spec, draws, pressure))
        pull = gradients(attack, parameters)
        grads, said["weight_attack"] = combined(grads, pull, pressure.beta)
        said["loss_attack"] = float(attack.detach())
    said["gradient_generator"] = stepped(optimiser, parameters, grads)
    return said


class _Draws(Protocol):
    @property
    def noise(self) -> int: ...

    @property
    def temperature(self) -> float: ...


def pressed(
    generator: Speaks, whole: Tensor, spec: _Draws, draws: torch.Generator, pressure: Pressure
) -> Tensor:
    """(P, I) free draws for users with the items `whole` (B, I), targets added."""
    rows = torch.randint(len(whole), (pressure.profiles,), generator=draws)
    noise = torch.randn((pressure.profiles, spec.noise), generator=draws)
    targets = torch.as_tensor(pressure.targets)
    never = torch.zeros(whole.shape[1], dtype=torch.bool)
    never[targets] = True
    logits = generator(whole[rows], noise, never)
    count = torch.full((pressure.profiles,), max(pressure.length - len(targets), 0))
    drawn = top_k(logits + gumbel(tuple(logits.shape), draws), count, spec.temperature)
    return torch.where(never, torch.ones(()), drawn)


def step_seed(seed: int, what: str, step: int, turn: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "interest-gan", what, step, turn))


def gradients(loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Zeros where the loss does not depend on an input, or the input on nothing."""
    wanted = [t for t in inputs if t.requires_grad]
    found: dict[int, Tensor | None] = {}
    if loss.requires_grad and wanted:
        grads = torch.autograd.grad(loss, wanted, allow_unused=True)
        found = {id(t): g for t, g in zip(wanted, grads, strict=True)}
    given = [found.get(id(t)) for t in inputs]
    return [torch.zeros_like(t) if g is None else g for t, g in zip(inputs, given, strict=True)]


def combined(
    grads: Sequence[Tensor], attack: Sequence[Tensor], beta: float
) -> tuple[list[Tensor], float]:
    """Both gradients, the attack's scaled to `beta` times the other's length; and by how much."""
    own, their = (float(torch.nn.utils.get_total_norm(g)) for g in (grads, attack))
    weight = beta * own / their if their > 0 else 0.0
    return [g + weight * a for g, a in zip(grads, attack, strict=True)], weight


def stepped(
    optimiser: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], grads: Sequence[Tensor]
) -> float:
    """One clipped step; gives the norm before clipping. A norm that is not finite steps not."""
    norm = torch.nn.utils.get_total_norm(list(grads))
    if not bool(norm.isfinite()):
        return float(norm)
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad
    torch.nn.utils.clip_grads_with_norm_(parameters, _CLIP, norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return float(norm)
