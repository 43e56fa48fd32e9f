"""Item rows out of logits: one profile for each condition, whatever network gives the logits."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hardrank.data import Queries
from hardrank.errors import DataError
from hardrank.files import digest_bytes
from hardrank.generators.bags import Bags
from hardrank.generators.draws import NEVER, multi_hot
from hardrank.types import Floats, Ints, Share

__all__ = ["CHUNK", "Speaks", "dense", "sampled"]

CHUNK = 64
"""Rows at a time: (64, I) of numbers at most."""


class Speaks(Protocol):
    """A network that says for a condition and noise what is likely to be drawn."""

    def __call__(self, condition: Tensor, noise: Tensor, never: Tensor | None = None) -> Tensor:
        """(B, I) logits. condition: (B, I) of zeros and ones; noise: (B, Z); never: (B, I) or
        (I,) True where an item may not be drawn."""
        ...


def sampled(
    network: Speaks, lengths: Ints, conditions: Queries, rng: np.random.Generator, *,
    n_items: int, size: int, length: int | None = None, keep: Share | None = None,
    noise: Floats | None = None, never: Ints | None = None,
) -> list[Ints]:  # fmt: skip
    """See `InterestGenerator.sample`. lengths: of real profiles; size: Z, of the noise."""
    bags = Bags.of(conditions, n_items)
    if noise is None:
        noise = rng.standard_normal((len(bags), size), dtype=np.float32)
    if noise.shape != (len(bags), size):
        raise DataError(f"noise of shape {noise.shape}, not {(len(bags), size)}")
    spares = rng.choice(lengths, size=len(bags))
    wanted = np.where(bags.lengths > 0, bags.lengths, spares)
    if length is not None:
        wanted = np.full(len(bags), length)
    mask = torch.zeros(n_items, dtype=torch.bool)
    if never is not None:
        mask[torch.as_tensor(never)] = True
    out: list[Ints] = []
    for start in range(0, len(bags), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(bags)))
        perturbed = _perturbed(network, dense(bags, rows), noise[rows], mask)
        for b, row in zip(rows.tolist(), perturbed, strict=True):
            out.append(_drawn(row, bags.row(b), int(wanted[b]), keep))
    return out


@torch.no_grad()
def _perturbed(network: Speaks, conditions: Tensor, noise: Floats, never: Tensor) -> Floats:
    """(B, I) logits plus Gumbel noise."""
    found: Floats = network(conditions, torch.as_tensor(noise), never).numpy()
    return found + np.stack([_noise_of(z, found.shape[1]) for z in noise])


def dense(bags: Bags, rows: Ints) -> Tensor:
    """(len(rows), I) of zeros and ones."""
    lengths = bags.lengths[rows]
    flat = np.concatenate([bags.row(int(b)) for b in rows]) if len(rows) else np.zeros(0, np.int64)
    owners = np.repeat(np.arange(len(rows)), lengths)
    return multi_hot(torch.as_tensor(owners), torch.as_tensor(flat), (len(rows), bags.n_items))


def _noise_of(noise: Floats, n_items: int) -> Floats:
    """Gumbel noise that z decides: the same z, the same sample, whatever else is drawn."""
    seed = int(digest_bytes(np.ascontiguousarray(noise).tobytes())[:16], 16)
    return np.random.default_rng(seed).gumbel(size=n_items).astype(np.float32)


def _drawn(perturbed: Floats, own: Ints, wanted: int, keep: Share | None) -> Ints:
    """Item rows of one profile; perturbed: (I,) logits plus noise."""
    free = int((perturbed > NEVER / 2).sum())
    if keep is None:
        if wanted > free:
            raise DataError(
                f"a profile of {wanted} items from {free} that may be drawn",
                remedy="ask for a shorter one",
            )
        return _highest(perturbed, wanted)
    stay = int(np.ceil(keep * min(len(own), wanted) - 1e-9))
    kept = set(own[_highest(perturbed[own], stay)].tolist())
    others = perturbed.copy()
    others[own] = NEVER
    left = int((others > NEVER / 2).sum())
    if wanted - stay > left:
        raise DataError(
            f"a profile of {wanted} items that keeps {stay} needs {wanted - stay} new ones; {left} "
            "are left",
            remedy="ask for a shorter one, or keep more",
        )
    fresh = iter(_highest(others, wanted - stay).tolist())
    placed = [i if i in kept else next(fresh, None) for i in own.tolist()]
    return np.asarray([*(i for i in placed if i is not None), *fresh], dtype=np.int64)


def _highest(values: Floats, k: int) -> Ints:
    """(k,) columns, highest first."""
    if k == 0:
        return np.zeros(0, dtype=np.int64)
    found = np.argpartition(-values, min(k, len(values) - 1))[:k]
    return found[np.argsort(-values[found], kind="stable")].astype(np.int64)
