"""Do draws age? The draws of each checkpoint of a training before the discriminator of each.

A discriminator that learns on, as any model that is attacked, stops believing what was drawn
to deceive it as it was. Success of draws with a discriminator is the chance that it takes one
for more real than a real profile: 0.5 where it cannot tell, 0 where it tells all. That is read
off the order of its logits alone, so it means the same for every loss.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from hardrank.context import derive
from hardrank.generators.bags import Bags
from hardrank.generators.drawing import dense
from hardrank.generators.draws import gumbel, top_k
from hardrank.generators.health import Alarm, stale
from hardrank.generators.networks import Critic, Generator
from hardrank.metrics.detection import auroc
from hardrank.types import Ints

__all__ = ["Ageing", "transfer_matrix"]

_USERS = 128
"""Real users whose profiles are drawn for and compared with."""
_CHECKPOINTS = 5
"""Intervals between checkpoints, about: each costs some steps' time."""
_APART = 50
"""Steps between two checkpoints, at least."""
G = TypeVar("G")
R = TypeVar("R")


@dataclass(frozen=True, eq=False, kw_only=True)
class Judge:
    """The discriminator of one checkpoint."""

    critic: Critic
    real: NDArray[np.float32]
    """(N,) its logits of the real profiles."""


@dataclass(eq=False, kw_only=True)
class Ageing:
    """What checkpoints of one training drew, and how each one's discriminator judges."""

    seed: int
    sets: Tensor
    """(N, I) of zeros and ones: real profiles, the same at each checkpoint."""
    noise: Tensor
    """(N, Z), the same at each checkpoint."""
    steps: list[int] = field(default_factory=list)
    """When each checkpoint was."""
    rounds: list[int] = field(default_factory=list)
    draws: list[Tensor] = field(default_factory=list)
    """(N, L) item rows of each checkpoint's draws, I where a profile has no more."""
    judges: list[Judge] = field(default_factory=list)
    told: bool = False
    """Whether the alarm was raised."""

    @classmethod
    def of(cls, bags: Bags, noise: int, seed: int) -> "Ageing":
        """Random numbers are its own: training draws the same with it and without."""
        rng = np.random.default_rng(derive(seed, "interest-gan", "ageing"))
        rows: Ints = rng.choice(len(bags), size=min(_USERS, len(bags)), replace=False)
        z = rng.standard_normal((len(rows), noise), dtype=np.float32)
        return cls(seed=seed, sets=dense(bags, rows), noise=torch.as_tensor(z))

    def due(self, step: int, *, first: int, last: int) -> bool:
        """After the round that ended with `step`. first: the last step of the warm-up."""
        if step <= first:
            return False
        since = step - self.steps[-1] if self.steps else last
        return since >= _APART and (step == last or since >= (last - first) / _CHECKPOINTS)

    @torch.no_grad()
    def look(
        self, generator: Generator, weights: Mapping[str, Tensor], critic: Critic, *,
        step: int, number: int,
    ) -> Alarm | None:  # fmt: skip
        """Keep a checkpoint; an alarm, once, where the draws of the one before have lost more
        than a fifth of their success. weights: of the generator, by parameter; number: of the
        round."""
        self.steps.append(step)
        self.rounds.append(number)
        self.draws.append(self._drawn(generator, weights))
        self.judges.append(self.judge(critic))
        if len(self.steps) < 2 or self.told:
            return None
        before, now = (self.success(self.draws[-2], judge) for judge in self.judges[-2:])
        found = stale(before, now, rounds=(self.rounds[-2], number))
        self.told = found is not None
        return found

    @torch.no_grad()
    def judge(self, critic: Critic) -> Judge:
        """A copy of the discriminator; its features, which nobody learns, are shared."""
        features = critic.features
        kept = copy.deepcopy(critic).eval()
        kept.features = features
        return Judge(critic=kept, real=kept.plain(self.sets).numpy())

    @torch.no_grad()
    def success(self, draws: Tensor, judge: Judge) -> float:
        """In [0, 1]. draws: (N, L) item rows."""
        fake = judge.critic.plain(self._dense(draws)).numpy()
        labels = np.r_[np.zeros(len(judge.real)), np.ones(len(fake))]
        return auroc(np.r_[judge.real, fake], labels)

    def matrix(self) -> tuple[dict[str, object], ...]:
        """One row a checkpoint: `round`, and `success` of its draws with the discriminator of
        each checkpoint. Empty where there are fewer than two."""
        if len(self.steps) < 2:
            return ()
        found = transfer_matrix(self.draws, self.judges, self.success)
        return tuple(
            {"round": number, "success": [round(float(v), 4) for v in row]}
            for number, row in zip(self.rounds, found, strict=True)
        )

    def state(self) -> dict[str, Tensor]:
        """What was kept, by name."""
        out = {f"{n}/draws": d for n, d in enumerate(self.draws)}
        for n, judge in enumerate(self.judges):
            learned = judge.critic.state_dict()
            out |= {f"{n}/critic/{k}": v for k, v in learned.items() if k != "features"}
        return out

    def load(self, tensors: Mapping[str, Tensor], critic: Critic) -> None:
        """The inverse of `state`. critic: one of the same sizes and features."""
        for n in range(sum(name.endswith("/draws") for name in tensors)):
            start = f"{n}/critic/"
            learned = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            other = copy.deepcopy(critic)
            other.load_state_dict({**learned, "features": critic.features})
            other.features = critic.features
            self.draws.append(tensors[f"{n}/draws"])
            self.judges.append(self.judge(other))

    def _drawn(self, generator: Generator, weights: Mapping[str, Tensor]) -> Tensor:
        """(N, L) free draws, as long as the real profiles."""
        draws = torch.Generator().manual_seed(derive(self.seed, "interest-gan", "ageing", "draw"))
        logits = functional_call(generator, dict(weights), (self.sets, self.noise))
        drawn = top_k(logits + gumbel(tuple(logits.shape), draws), self.sets.sum(1).long(), 1.0)
        chosen = drawn > 0.5
        places = torch.arange(chosen.shape[1]).expand_as(chosen)
        ordered = torch.where(chosen, places, chosen.shape[1]).sort(1).values
        return ordered[:, : int(chosen.sum(1).max())].to(torch.int32)

    def _dense(self, draws: Tensor) -> Tensor:
        out = torch.zeros(len(draws), self.sets.shape[1] + 1)
        return out.scatter_(1, draws.long(), 1.0)[:, :-1]


def transfer_matrix(
    generators: Sequence[G], judges: Sequence[R], success: Callable[[G, R], float]
) -> NDArray[np.float64]:
    """(generators, judges): success of each checkpoint's generator with the model that each
    checkpoint was to deceive; to the right of the diagonal stands how it ages."""
    return np.asarray([[success(g, r) for r in judges] for g in generators])
