"""Profiles as short vectors: an adversarial autoencoder, and a truncated SVD beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from hardrank.generators.bags import reduced
from hardrank.types import Floats, Ints

if TYPE_CHECKING:
    from hardrank.generators.patterns import LatentSegments

__all__ = ["Autoencoder", "Encoder", "Projection", "canonical", "fit_encoder", "restored_encoder"]

_SLOPE = 0.2
_CHUNK = 512
"""Profiles at a time."""


class Encoder(Protocol):
    """Makes vectors of sets of items; each depends on its own set alone (up to rounding)."""

    def latent(self, profiles: sparse.csr_matrix) -> Floats:
        """(B, D). profiles: (B, I) of zeros and ones."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]: ...


@dataclass(frozen=True, eq=False)
class Projection:
    """z = x V / |x V|, with V the item vectors of a truncated SVD: nothing is trained."""

    vectors: Floats
    """(I, D)."""

    def latent(self, profiles: sparse.csr_matrix) -> Floats:
        made = np.asarray(profiles @ self.vectors.astype(np.float64))
        norms = np.linalg.norm(made, axis=1, keepdims=True)
        return np.asarray(made / np.maximum(norms, 1e-12), dtype=np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"vectors": self.vectors}


class _Networks(nn.Module):
    """Encoder, decoder and discriminator of z."""

    def __init__(self, n_items: int, size: int, width: int, bias: Tensor) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(n_items, width), nn.Tanh(), nn.Linear(width, size))
        self.decode = nn.Linear(size, n_items)
        self.judge = nn.Sequential(
            nn.Linear(size, width), nn.LeakyReLU(_SLOPE), nn.Linear(width, 1)
        )
        with torch.no_grad():
            self.decode.bias.copy_(bias)
            self.decode.weight.mul_(0.1)


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """The trained encoder."""

    networks: _Networks

    @torch.no_grad()
    def latent(self, profiles: sparse.csr_matrix) -> Floats:
        """See `Encoder`."""
        parts = [
            self.networks.encode(_inputs(profiles[start : start + _CHUNK])).numpy()
            for start in range(0, profiles.shape[0], _CHUNK)
        ]
        size = self.networks.decode.in_features
        return np.concatenate(parts) if parts else np.zeros((0, size), np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {k: v.detach().numpy().copy() for k, v in self.networks.state_dict().items()}


def canonical(profiles: sparse.csr_matrix) -> Ints:
    """(B,) rows in an order that the profiles alone decide: who stands where changes nothing."""
    sets = [
        tuple(np.sort(profiles.indices[profiles.indptr[b] : profiles.indptr[b + 1]]).tolist())
        for b in range(profiles.shape[0])
    ]
    return np.asarray(sorted(range(len(sets)), key=lambda b: sets[b]), dtype=np.int64)


def fit_encoder(spec: "LatentSegments", profiles: sparse.csr_matrix, seed: int) -> Encoder:
    """Of the spec's kind, from non-empty profiles (B, I) in canonical order."""
    if spec.encoder == "svd":
        users = np.maximum(np.asarray(profiles.sum(1)).ravel(), 1) ** -0.5
        items = np.maximum(np.asarray(profiles.sum(0)).ravel(), 1) ** -0.5
        return Projection(reduced(sparse.diags(users) @ profiles @ sparse.diags(items), spec.size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        counts = np.asarray(profiles.sum(0)).ravel()
        bias = torch.as_tensor(np.log(counts + 1.0) - np.log(counts + 1.0).mean()).float()
        networks = _Networks(profiles.shape[1], spec.size, spec.width, bias)
    _train(spec, networks, profiles, seed)
    networks.eval()
    return Autoencoder(networks)


def restored_encoder(spec: "LatentSegments", arrays: Mapping[str, NDArray[Any]]) -> Encoder:
    """The inverse of `Encoder.arrays`. Raises `KeyError` or `RuntimeError` where they differ."""
    if spec.encoder == "svd":
        return Projection(np.asarray(arrays["vectors"], dtype=np.float32))
    n_items = len(arrays["decode.bias"])
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, and then replaced
        networks = _Networks(n_items, spec.size, spec.width, torch.zeros(n_items))
    networks.load_state_dict({k: torch.as_tensor(np.array(v)) for k, v in arrays.items()})
    networks.eval()
    return Autoencoder(networks)


def _train(spec: "LatentSegments", networks: _Networks, data: sparse.csr_matrix, seed: int) -> None:
    """Each step: the discriminator learns prior from code, then the autoencoder learns to
    reconstruct and to pass as the prior (Makhzani et al. 2015, section 2)."""
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    coder = torch.optim.Adam(
        [*networks.encode.parameters(), *networks.decode.parameters()], lr=spec.learning_rate
    )
    judge = torch.optim.Adam(networks.judge.parameters(), lr=spec.learning_rate)
    for _ in range(spec.epochs):
        order = rng.permutation(data.shape[0])
        for start in range(0, len(order), spec.batch_size):
            sets = _sets(data[np.sort(order[start : start + spec.batch_size])])
            z = networks.encode(_hidden(sets, spec.hidden, noise))
            if spec.adversarial:
                prior = torch.randn(z.shape, generator=noise)
                loss = _logistic(networks.judge(prior)) + _logistic(-networks.judge(z.detach()))
                _step(judge, loss)
            loss = -(networks.decode(z).log_softmax(1) * sets).sum() / sets.sum()
            if spec.adversarial:
                loss = loss + spec.adversarial * _logistic(networks.judge(z))
            _step(coder, loss)


def _step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _logistic(logits: Tensor) -> Tensor:
    return nn.functional.softplus(-logits).mean()


def _sets(profiles: sparse.csr_matrix) -> Tensor:
    return torch.as_tensor(profiles.toarray(), dtype=torch.float32)


def _inputs(profiles: sparse.csr_matrix) -> Tensor:
    return nn.functional.normalize(_sets(profiles), dim=1)


def _hidden(sets: Tensor, share: float, noise: torch.Generator) -> Tensor:
    """Unit vectors of the sets, of which a share of the items is hidden."""
    kept = torch.rand(sets.shape, generator=noise) >= share
    return nn.functional.normalize(sets * kept, dim=1)
