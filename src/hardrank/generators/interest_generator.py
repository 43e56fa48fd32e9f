"""A trained pair of networks: draws profiles, and judges them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor

from hardrank.data import Queries
from hardrank.errors import BundleError, DataError
from hardrank.files import atomic, digest_bytes, write_json
from hardrank.generators.bags import Bags
from hardrank.generators.draws import NEVER, multi_hot
from hardrank.generators.interest_gan import InterestGan
from hardrank.generators.networks import Critic, Generator
from hardrank.types import Floats, Ints, Share

__all__ = ["InterestGenerator", "dense", "networks", "restored"]

_CHUNK = 64
"""Rows at a time: (64, I) of numbers at most."""


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
        bags = Bags.of(conditions, self.n_items)
        if noise is None:
            noise = rng.standard_normal((len(bags), self.spec.noise), dtype=np.float32)
        if noise.shape != (len(bags), self.spec.noise):
            raise DataError(f"noise of shape {noise.shape}, not {(len(bags), self.spec.noise)}")
        spares = rng.choice(self.lengths, size=len(bags))
        wanted = np.where(bags.lengths > 0, bags.lengths, spares)
        if length is not None:
            wanted = np.full(len(bags), length)
        out: list[Ints] = []
        for start in range(0, len(bags), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(bags)))
            perturbed = self._perturbed(bags, rows, noise[rows], never)
            for b, row in zip(rows.tolist(), perturbed, strict=True):
                out.append(_drawn(row, bags.row(b), int(wanted[b]), keep))
        return out

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
        found = self.arrays()
        return digest_bytes(*(found[k].tobytes() for k in sorted(found)))

    def save(self, folder: Path) -> None:
        """`weights.safetensors` and `spec.json`, each atomic."""
        with atomic(folder / "weights.safetensors") as file:
            file.write(save({k: np.ascontiguousarray(v) for k, v in self.arrays().items()}))
        facts = {"spec": asdict(self.spec), "history": self.history, "warnings": self.warnings}
        write_json(folder / "spec.json", facts, default=list)

    @classmethod
    def load(cls, folder: Path) -> "InterestGenerator":
        """Raises `BundleError` where a file is missing, broken or of other dimensions."""
        try:
            facts = json.loads((folder / "spec.json").read_text("utf-8"))
            spec, arrays = InterestGan(**facts["spec"]), load_file(folder / "weights.safetensors")
            made = restored(spec, arrays)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, DataError) as error:
            raise BundleError(f"{folder} holds no interest generator ({error})") from error
        return cls(
            spec=spec, generator=made.generator, critic=made.critic, lengths=made.lengths,
            history=tuple(facts["history"]), warnings=tuple(facts["warnings"]),
        )  # fmt: skip

    @torch.no_grad()
    def _perturbed(self, bags: Bags, rows: Ints, noise: Floats, never: Ints | None) -> Floats:
        mask = torch.zeros(self.n_items, dtype=torch.bool)
        if never is not None:
            mask[torch.as_tensor(never)] = True
        logits = self.generator(dense(bags, rows), torch.as_tensor(noise), mask)
        found: Floats = logits.numpy()
        return found + np.stack([_noise_of(z, self.n_items) for z in noise])

    @torch.no_grad()
    def _judged(self, count: int, judge: Callable[[Ints], Tensor]) -> Floats:
        chunks = [np.arange(s, min(s + _CHUNK, count)) for s in range(0, count, _CHUNK)]
        found = [judge(rows).numpy() for rows in chunks]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)


def dense(bags: Bags, rows: Ints) -> Tensor:
    """(len(rows), I) of zeros and ones."""
    lengths = bags.lengths[rows]
    flat = np.concatenate([bags.row(int(b)) for b in rows]) if len(rows) else np.zeros(0, np.int64)
    owners = np.repeat(np.arange(len(rows)), lengths)
    return multi_hot(torch.as_tensor(owners), torch.as_tensor(flat), (len(rows), bags.n_items))


def networks(
    spec: InterestGan, features: Tensor, popularity: Tensor, seed: int
) -> tuple[Generator, Critic]:
    """Both with first weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(
            features, popularity, noise=spec.noise, width=spec.width, depth=spec.depth
        )
        critic = Critic(
            features, popularity, width=spec.width, depth=spec.depth, spectral=spec.spectral
        )
    return generator, critic


def restored(spec: InterestGan, arrays: Mapping[str, NDArray[Any]]) -> InterestGenerator:
    """The inverse of `arrays`. Raises `DataError` where the spec asks for other dimensions."""
    tensors = {k: torch.as_tensor(v.copy()) for k, v in arrays.items()}
    try:
        features, popularity = tensors["generator/features"], tensors["generator/popularity"]
        generator, critic = networks(spec, features, popularity, 0)
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


def _noise_of(noise: Floats, n_items: int) -> Floats:
    """Gumbel noise that z decides: the same z, the same sample, whatever else is drawn."""
    seed = int(digest_bytes(np.ascontiguousarray(noise).tobytes())[:16], 16)
    return np.random.default_rng(seed).gumbel(size=n_items).astype(np.float32)


def _drawn(perturbed: Floats, own: Ints, wanted: int, keep: Share | None) -> Ints:
    """Item rows of one profile; perturbed: (I,) logits plus noise."""
    free = int((perturbed > NEVER / 2).sum())
    if keep is None:
        if wanted > free:
            raise DataError(f"a profile of {wanted} items from {free} that may be drawn")
        return _highest(perturbed, wanted)
    stay = int(np.ceil(keep * min(len(own), wanted) - 1e-9))
    kept = set(own[_highest(perturbed[own], stay)].tolist())
    others = perturbed.copy()
    others[own] = NEVER
    if wanted - stay > (others > NEVER / 2).sum():
        raise DataError(f"{wanted - stay} new items wanted, fewer may be drawn")
    fresh = iter(_highest(others, wanted - stay).tolist())
    placed = [i if i in kept else next(fresh, None) for i in own.tolist()]
    return np.asarray([*(i for i in placed if i is not None), *fresh], dtype=np.int64)


def _highest(values: Floats, k: int) -> Ints:
    """(k,) columns, highest first."""
    if k == 0:
        return np.zeros(0, dtype=np.int64)
    found = np.argpartition(-values, min(k, len(values) - 1))[:k]
    return found[np.argsort(-values[found], kind="stable")].astype(np.int64)
