"""A trained variational autoencoder of interests: draws profiles. It cannot judge any."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hardrank.data import Queries
from hardrank.errors import DataError
from hardrank.generators.drawing import sampled
from hardrank.generators.draws import NEVER
from hardrank.generators.interest_vae import InterestVae
from hardrank.generators.kept import digest, kept, recalled
from hardrank.types import Floats, Ints, Share

__all__ = ["Autoencoder", "InterestAutoencoder", "network", "restored"]


class Autoencoder(nn.Module):
    """Encoder x -> (mean, log-variance) of z, decoder z -> logits, one hidden layer of tanh
    each."""

    def __init__(self, n_items: int, *, noise: int, width: int) -> None:
        super().__init__()
        self.reads = nn.Linear(n_items, width)
        self.codes = nn.Linear(width, 2 * noise)
        self.opens = nn.Linear(noise, width)
        self.says = nn.Linear(width, n_items)

    def encode(self, sets: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Z) mean and log-variance of z. sets: (B, I), brought to length 1."""
        state = torch.tanh(self.reads(nn.functional.normalize(sets, dim=1)))
        mean, spread = self.codes(state).chunk(2, dim=1)
        return mean, spread

    def decode(self, codes: Tensor) -> Tensor:
        """(B, I) logits. codes: (B, Z)."""
        made: Tensor = self.says(torch.tanh(self.opens(codes)))
        return made

    def forward(self, condition: Tensor, noise: Tensor, never: Tensor | None = None) -> Tensor:
        """(B, I) logits for z = mean(x) + deviation(x) * noise (Kingma & Welling, ICLR 2014,
        arXiv:1312.6114, section 2.4). See `Speaks`."""
        mean, spread = self.encode(condition)
        logits = self.decode(mean + torch.exp(spread / 2) * noise)
        return logits if never is None else logits.masked_fill(never, NEVER)


@dataclass(frozen=True, eq=False, kw_only=True)
class InterestAutoencoder:
    """Made by `InterestVae.fit`. Everything here is a function of its arguments alone."""

    spec: InterestVae
    network: Autoencoder
    lengths: Ints
    """Sorted sizes of the profiles that it was trained on."""
    history: tuple[dict[str, float], ...] = ()
    """One row a round: losses, gradients, health."""
    warnings: tuple[str, ...] = field(default=())
    """Why training ended early, if it did."""

    @property
    def n_items(self) -> int:
        return self.network.says.out_features

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
        """One profile for each condition: item rows, each once; all arguments as those of
        `InterestGenerator.sample`. noise: (Q, Z), around the code of the condition."""
        return sampled(
            self.network, self.lengths, conditions, rng, n_items=self.n_items,
            size=self.spec.noise, length=length, keep=keep, noise=noise, never=never,
        )  # fmt: skip

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, by name."""
        found = {
            f"network/{k}": v.detach().numpy().copy() for k, v in self.network.state_dict().items()
        }
        return found | {"lengths": self.lengths}

    @property
    def fingerprint(self) -> str:
        return digest(self.arrays())

    def save(self, folder: Path) -> None:
        """`weights.safetensors` and `spec.json`, each atomic."""
        kept(self, folder)

    @classmethod
    def load(cls, folder: Path) -> "InterestAutoencoder":
        """Raises `BundleError` where a file is missing, broken or of other dimensions."""
        made, about = recalled(
            folder,
            "interest autoencoder",
            lambda fields, found: restored(InterestVae(**fields), found),
        )
        return replace(made, **about)


def network(spec: InterestVae, n_items: int, seed: int) -> Autoencoder:
    """With first weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(n_items, noise=spec.noise, width=spec.width)


def restored(spec: InterestVae, arrays: Mapping[str, NDArray[Any]]) -> InterestAutoencoder:
    """The inverse of `arrays`. Raises `DataError` where the spec asks for other dimensions."""
    start = "network/"
    try:
        tensors = {
            k.removeprefix(start): torch.as_tensor(v.copy())
            for k, v in arrays.items()
            if k.startswith(start)
        }
        made = network(spec, len(tensors["says.bias"]), 0)
        made.load_state_dict(tensors)
        lengths: Ints = np.asarray(arrays["lengths"], dtype=np.int64)
    except (KeyError, RuntimeError) as error:
        first = str(error).split("\n")[0]
        raise DataError(f"the arrays do not fit the spec: {first}") from error
    made.eval()
    return InterestAutoencoder(spec=spec, network=made, lengths=lengths)
