"""The network of the calibrator: events of a profile in their order, a log-odds out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hardrank.detection.calibrator_reading import Reading
from hardrank.types import Floats, Ints

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Profiles", "built", "log_odds", "loss", "of_arrays", "profiles_of", "weights_of"]

_AT_ONCE = 256
"""Profiles that are scored together."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Profiles:
    """N sequences of events, the newest L of each at most, one after the other."""

    channels: Floats
    """(E, C)"""
    items: Ints
    """(E,) rows of `texts`."""
    offsets: Ints
    """(N + 1,)"""
    texts: Floats
    """(T, D)"""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        return np.diff(self.offsets)


def profiles_of(reading: Reading, users: Ints, length: int) -> Profiles:
    """The newest `length` events of each of `users`, each of whom has one."""
    ends = reading.offsets[users + 1]
    starts = np.maximum(reading.offsets[users], ends - length)
    sizes = ends - starts
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    at = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], sizes)
    return Profiles(
        channels=reading.channels[at], items=reading.items[at], offsets=offsets,
        texts=reading.texts,
    )  # fmt: skip


def built(channels: int, text: int, size: int, dropout: float, seed: int) -> "nn.ModuleDict":
    """With random weights. text: D, 0 for none; size: of the projected texts and the states."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: dict[str, nn.Module] = {
            "step": nn.Linear(channels + (size if text else 0), size),
            "states": nn.GRU(size, size, batch_first=True),
            "dropout": nn.Dropout(dropout),
            "head": nn.Linear(4 * size, 1),
        }
        if text:
            parts["text"] = nn.Linear(text, size, bias=False)
        return nn.ModuleDict(parts)


def log_odds(network: "nn.ModuleDict", batch: Sequence["Tensor"], texts: "Tensor") -> "Tensor":
    """(B,) of being fake. batch: (B, L, C) channels, (B, L) rows of texts, (B, L) bool whether
    there is an event. texts: (T, D).

        x_t = gelu(W [P v_t, c_t]),  h = gru(x),  s = w . [mean h, max h, mean x, max x]

    with v_t the text vector of the item and c_t the channels of the event; padding is in no
    mean and in no maximum.
    """
    import torch
    import torch.nn.functional as F

    channels, rows, real = batch
    if "text" in network:
        projected = network["text"](texts)  # the catalogue once, not once for each event
        channels = torch.cat([F.embedding(rows, projected), channels], dim=2)
    x = F.gelu(network["step"](network["dropout"](channels)))
    h, _ = network["states"](x)
    there = real[..., None]
    pooled = []
    for values in (h, x):
        pooled.append((values * there).sum(1) / there.sum(1))
        pooled.append(values.masked_fill(~there, -torch.inf).amax(1))
    out: Tensor = network["head"](network["dropout"](torch.cat(pooled, dim=1)))
    return out[:, 0]


def loss(odds: "Tensor", fake: "Tensor", weight: "Tensor", entropy: float) -> "Tensor":
    """Mean over users of w (BCE(p, y) + entropy * [y = 0] H(p)), p = sigmoid(odds), with H the
    entropy of a coin: -p ln p - (1 - p) ln(1 - p). odds, fake (0 or 1), weight: (B,)."""
    import torch.nn.functional as F

    rows = F.binary_cross_entropy_with_logits(odds, fake, reduction="none")
    if entropy:
        p = odds.sigmoid()
        undecided = -p * F.logsigmoid(odds) - (1 - p) * F.logsigmoid(-odds)
        rows = rows + entropy * (1 - fake) * undecided
    return (weight * rows).mean()


def batches(profiles: Profiles, order: Ints) -> tuple["Tensor", "Tensor", "Tensor"]:
    """The profiles of `order`, padded on the right: what `log_odds` reads."""
    import torch

    sizes = profiles.lengths[order]
    width = int(sizes.max())
    real = np.arange(width) < sizes[:, None]
    at = (profiles.offsets[order][:, None] + np.arange(width))[real]
    channels = np.zeros((*real.shape, profiles.channels.shape[1]), dtype=np.float32)
    rows = np.zeros(real.shape, dtype=np.int64)
    channels[real], rows[real] = profiles.channels[at], profiles.items[at]
    return torch.from_numpy(channels), torch.from_numpy(rows), torch.from_numpy(real)


def scored(network: "nn.ModuleDict", profiles: Profiles) -> NDArray[np.float64]:
    """(N,) log-odds, without dropout."""
    import torch

    out = np.zeros(len(profiles))
    texts = torch.from_numpy(np.array(profiles.texts))
    was = network.training
    network.eval()
    with torch.no_grad():
        for rows in _alike(profiles.lengths):
            found = log_odds(network, batches(profiles, rows), texts)
            out[rows] = found.double().numpy()
    network.train(was)
    return out


def weights_of(network: "nn.ModuleDict") -> dict[str, NDArray[Any]]:
    """Name -> array of everything that was learned."""
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


def of_arrays(arrays: Mapping[str, NDArray[Any]], dropout: float) -> "nn.ModuleDict":
    """The inverse of `weights_of`. Raises `KeyError` for an array that is missing."""
    import torch

    size, inputs = arrays["step.weight"].shape
    text = arrays["text.weight"].shape[1] if "text.weight" in arrays else 0
    network = built(inputs - (size if text else 0), text, size, dropout, 0)
    for name, value in network.state_dict().items():
        value.copy_(torch.from_numpy(np.array(arrays[name])))
    network.eval()
    return network


def _alike(lengths: Ints) -> Iterator[Ints]:
    """Rows of profiles of about equal length."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), _AT_ONCE):
        yield order[start : start + _AT_ONCE]
