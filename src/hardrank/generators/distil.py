"""A smaller generator that learned from a larger one, and what it costs."""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.errors import ConfigError, Diverged
from hardrank.generators.bags import Bags, trainable
from hardrank.generators.dense import weights_of
from hardrank.generators.drawing import dense
from hardrank.generators.interest_gan import InterestGan, Slim
from hardrank.generators.interest_generator import InterestGenerator, columns_of, networks
from hardrank.generators.networks import Generator
from hardrank.training.average import Average
from hardrank.types import Ints

__all__ = ["Cost", "cost", "distance", "distil"]

_LOOKED_AT = 512
"""Conditions that the first weights are computed from."""
_EVERY = 50


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of a generator."""

    parameters: int
    """Numbers that it learned."""
    numbers: int
    """All that it holds: those, and the item vectors that it reads."""
    seconds: float
    """Of one draw, in batches, on this machine."""


def distil(
    teacher: InterestGenerator, train: Dataset, run: RunContext, *, slim: Slim | None = None,
    steps: int = 600, batch_size: int = 64, learning_rate: float = 3e-3,
) -> InterestGenerator:  # fmt: skip
    """A generator of the sizes `slim` that says for a condition and noise what the teacher says.

    It minimises KL(softmax of the teacher's logits || softmax of its own), as Hinton et al.
    2015, arXiv:1503.02531, section 2, do at temperature 1: logits are what draws are made of.
    Conditions are real users, whole or in part. The item vectors start at the best
    approximation of their rank to the teacher's logits (truncated SVD over real conditions).
    The discriminator is the teacher's own, so what comes out can judge, and can be aimed.

    Raises `ConfigError` for sizes that are not smaller, `Diverged` for a loss that is not
    finite, `DataError` for a log in which fewer than two users have two different items.
    """
    slim = slim or Slim()
    spec = replace(teacher.spec, slim=slim)
    student = _smaller(teacher, spec, derive(run.seed, "distil", "weights"))
    bags = trainable(train)
    _begin(student, teacher.generator, dense(bags, _spread(len(bags))), spec.noise, run.seed)
    optimiser = torch.optim.Adam(student.parameters(), lr=learning_rate)
    average = Average(dict(student.named_parameters()), 0.98)
    history, losses = list[dict[str, float]](), list[float]()
    for step in run.track(range(steps), "distil", steps):
        seen, noise = _asked(bags, batch_size, spec.noise, run.seed, step)
        loss = _divergence(teacher.generator, student, seen, noise)
        if not bool(loss.isfinite()):
            raise Diverged(f"distil, step {step + 1}: the loss is not finite; lower learning_rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        average.update(step + 1)
        losses.append(float(loss.detach()))
        if (step + 1) % _EVERY == 0 or step + 1 == steps:
            history.append({"step": step + 1, "loss_divergence": float(np.mean(losses))})
            losses = []
    average.install()
    student.eval()
    return InterestGenerator(
        spec=spec, generator=student, critic=teacher.critic, lengths=teacher.lengths,
        history=tuple(history),
    )  # fmt: skip


def _smaller(teacher: InterestGenerator, spec: InterestGan, seed: int) -> Generator:
    features = columns_of(teacher.critic.features)
    student = networks(spec, features, teacher.generator.popularity, seed)[0]
    if weights_of(student) >= weights_of(teacher.generator):
        raise ConfigError("distil", [
            f"slim: {weights_of(student)} parameters, the teacher has "
            f"{weights_of(teacher.generator)}; lower size or width"
        ])  # fmt: skip
    return student


def _asked(bags: Bags, batch_size: int, noise: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """(B, I) what is seen of real users, half of them whole, the others from half on; (B, Z)."""
    rng = np.random.default_rng(derive(seed, "distil", "batch", step))
    draws = torch.Generator().manual_seed(derive(seed, "distil", "draws", step))
    whole = dense(bags, rng.choice(len(bags), size=min(batch_size, len(bags)), replace=False))
    share = torch.rand((len(whole), 1), generator=draws).clamp(min=0.25) * 2
    seen = (torch.rand(whole.shape, generator=draws) < share) * whole
    return seen, torch.randn((len(whole), noise), generator=draws)


def _divergence(teacher: Generator, student: Generator, seen: Tensor, noise: Tensor) -> Tensor:
    """Mean KL in nats; the teacher is only asked."""
    with torch.no_grad():
        wanted = teacher(seen, noise).log_softmax(1)
    said = student(seen, noise).log_softmax(1)
    return torch.nn.functional.kl_div(said, wanted, reduction="batchmean", log_target=True)


@torch.no_grad()
def _begin(student: Generator, teacher: Generator, sets: Tensor, noise: int, seed: int) -> None:
    """Vectors and biases at the best approximation of their rank to Q V', where the rows of Q
    are what the teacher's network says of real conditions and V holds its vectors."""
    draws = torch.Generator().manual_seed(derive(seed, "distil", "start"))
    logits = teacher(sets, torch.randn((len(sets), noise), generator=draws))
    rest = logits - logits.mean(0)
    _, values, right = torch.linalg.svd(rest, full_matrices=False)
    rank = min(student.vectors.shape[1], len(values))
    scale = (values[:rank] / len(sets) ** 0.5).clamp(min=1e-6).sqrt()
    student.vectors.zero_()
    student.vectors[:, :rank] = right[:rank].t() * scale
    student.bias.copy_(logits.mean(0))


def _spread(count: int) -> Ints:
    return np.unique(np.linspace(0, count - 1, min(_LOOKED_AT, count)).astype(np.int64))


@torch.no_grad()
def distance(
    one: InterestGenerator, other: InterestGenerator, train: Dataset, *, seed: int
) -> float:
    """Mean total variation of what both would draw first, over real users and one noise for
    both; 0 for the same generator."""
    bags = trainable(train)
    sets = dense(bags, _spread(len(bags)))
    draws = torch.Generator().manual_seed(derive(seed, "distil", "distance"))
    noise = torch.randn((len(sets), one.spec.noise), generator=draws)
    chances = [m.generator(sets, noise).softmax(1) for m in (one, other)]
    return float((chances[0] - chances[1]).abs().sum(1).mean() / 2)


def cost(model: InterestGenerator, train: Dataset, *, draws: int = 512) -> Cost:
    """What `model` holds, and what a draw for a real user takes (the best of three rounds)."""
    rng = np.random.default_rng(0)
    users = rng.choice(np.flatnonzero(train.histories().lengths > 0), size=draws)
    conditions, seconds = train.histories().take(users), []
    for _ in range(3):
        begun = time.perf_counter()
        model.sample(conditions, rng)
        seconds.append((time.perf_counter() - begun) / draws)
    learned = weights_of(model.generator)
    held = sum(b.numel() for b in model.generator.buffers())
    return Cost(parameters=learned, numbers=learned + held, seconds=min(seconds))
