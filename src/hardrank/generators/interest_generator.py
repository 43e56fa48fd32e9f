"""A trained pair of networks: draws profiles, and judges them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardrank.data import Queries
from hardrank.errors import DataError
from hardrank.generators.bags import Bags
from hardrank.generators.drawing import CHUNK, dense, sampled
from hardrank.generators.interest_gan import InterestGan
from hardrank.generators.kept import digest, kept, recalled
from hardrank.generators.networks import Critic, Generator
from hardrank.types import Floats, Ints, Share

__all__ = ["InterestGenerator", "columns_of", "networks", "restored"]


@dataclass(frozen=True, eq=False, kw_only=True)
class InterestGenerator:
    """Made by `InterestGan.fit`. Everything here is a function of its arguments alone."""

    spec: InterestGan
    generator: Generator
    critic: Critic
    lengths: Ints
    """Sorted sizes of the profiles that it was trained on."""
    history: tuple[dict[str, float], ...] = ()
    """One row a round: losses, gradients, health; see `hardrank.generators.loop`."""
    warnings: tuple[str, ...] = field(default=())
    """Alarms that did not stop training."""
    transfer: tuple[dict[str, Any], ...] = ()
    """How draws age: see `hardrank.generators.staleness.Ageing.matrix`."""

    @property
    def n_items(self) -> int:
        return len(self.generator.bias)

    def sample(
        self,
        conditions: Queries,
        rng: np.random.Generator,
        *,
        length: int | None = None,
        keep: Share | None = None,
        noise: Floats | None = None,
        never: Ints | None = None,
    ) -> list[Ints]:
        """One profile for each condition: item rows, each once.

        length: items of each; None for as many as the condition has (of an empty condition:
        a real profile's). keep: None draws freely, whatever the condition holds, in the order
        of the draw. A share in [0, 1] edits the condition: that share of its items (of
        `length`, where that is less; rounded up) stays, in its place; the rest makes way for
        items that it does not hold. noise: (Q, Z), which decides everything that is random,
        lengths apart; None draws it. never: item rows that are not drawn.

        Raises `DataError` where a profile is longer than what may be drawn from.
        """
        return sampled(
            self.generator, self.lengths, conditions, rng, n_items=self.n_items,
            size=self.spec.noise, length=length, keep=keep, noise=noise, never=never,
        )  # fmt: skip

    def authenticity(self, queries: Queries) -> Floats:
        """(Q,) logits of the plain head, high for a profile that looks real. Duplicate items
        count once; an empty history gets a number, too, that says nothing."""
        bags = Bags.of(queries, self.n_items)
        return self._judged(len(bags), lambda rows: self.critic.plain(dense(bags, rows)))

    def consistency(self, past: Queries, recent: Queries) -> Floats:
        """(Q,) logits of the pair head, high where row q of both looks like one user's."""
        if len(past) != len(recent):
            raise DataError(f"{len(past)} pasts and {len(recent)} recent histories")
        one, other = Bags.of(past, self.n_items), Bags.of(recent, self.n_items)
        return self._judged(
            len(one), lambda rows: self.critic.pair(dense(one, rows), dense(other, rows))
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, by name."""
        parts = {"generator": self.generator, "critic": self.critic}
        found = {
            f"{name}/{k}": v.detach().numpy().copy()
            for name, network in parts.items()
            for k, v in network.state_dict().items()
        }
        return found | {"lengths": self.lengths}

    @property
    def fingerprint(self) -> str:
        return digest(self.arrays())

    def save(self, folder: Path) -> None:
        """`weights.safetensors` and `spec.json`, each atomic."""
        kept(self, folder, transfer=self.transfer)

    @classmethod
    def load(cls, folder: Path) -> "InterestGenerator":
        """Raises `BundleError` where a file is missing, broken or of other dimensions."""
        made, about = recalled(
            folder,
            "interest generator",
            lambda fields, found: restored(InterestGan(**fields), found),
            more=("transfer",),
        )
        return replace(made, **about)

    @torch.no_grad()
    def _judged(self, count: int, judge: Callable[[Ints], Tensor]) -> Floats:
        chunks = [np.arange(s, min(s + CHUNK, count)) for s in range(0, count, CHUNK)]
        found = [judge(rows).numpy() for rows in chunks]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)


def columns_of(read: Tensor) -> Tensor:
    """(I, E) item vectors in what the discriminator reads of items: popularity twice goes."""
    return read[:, :-2].clone()


def networks(
    spec: InterestGan, features: Tensor, popularity: Tensor, seed: int
) -> tuple[Generator, Critic]:
    """Both with first weights that depend on the seed alone."""
    own, width = features, spec.width
    if spec.slim is not None:
        own, width = features[:, : spec.slim.size].clone(), spec.slim.width
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(own, popularity, noise=spec.noise, width=width, depth=spec.depth)
        critic = Critic(
            features, popularity, width=spec.width, depth=spec.depth, spectral=spec.spectral
        )
    return generator, critic


def restored(spec: InterestGan, arrays: Mapping[str, NDArray[Any]]) -> InterestGenerator:
    """The inverse of `arrays`. Raises `DataError` where the spec asks for other dimensions."""
    tensors = {k: torch.as_tensor(v.copy()) for k, v in arrays.items()}
    try:
        popularity = tensors["generator/popularity"]
        generator, critic = networks(spec, columns_of(tensors["critic/features"]), popularity, 0)
        for name, network in (("generator", generator), ("critic", critic)):
            start = name + "/"
            part = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            network.load_state_dict(part)
        lengths: Ints = np.asarray(arrays["lengths"], dtype=np.int64)
    except (KeyError, RuntimeError) as error:
        first = str(error).split("\n")[0]
        raise DataError(f"the arrays do not fit the spec: {first}") from error
    generator.eval()
    critic.eval()
    return InterestGenerator(spec=spec, generator=generator, critic=critic, lengths=lengths)
