"""The two networks: both read sets of items as sums over item features."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from hardrank.generators.draws import NEVER

__all__ = ["Critic", "Generator", "seeded"]

_SLOPE = 0.2
"""Of the leaky ReLU: saturated units would pass no gradient to the generator."""


class Generator(nn.Module):
    """Logits over the catalogue for a condition x and noise z.

    logits_i = q . v_i + b_i + s * popularity_i with (q, s) = MLP(mean vector of x, log |x|, z).
    Item vectors v start at the features, biases b at the log's log-counts.
    """

    features: Tensor
    popularity: Tensor

    def __init__(
        self, features: Tensor, popularity: Tensor, *, noise: int, width: int, depth: int
    ) -> None:
        super().__init__()
        size = features.shape[1]
        self.register_buffer("features", features)
        self.register_buffer("popularity", popularity)
        self.body = _layers(size + 1 + noise, width, depth, size + 1, spectral=False)
        self.vectors = nn.Parameter(features.clone())
        self.bias = nn.Parameter(popularity.clone())

    def forward(self, condition: Tensor, noise: Tensor, never: Tensor | None = None) -> Tensor:
        """(B, I) logits. condition: (B, I) of zeros and ones; noise: (B, Z); never: (B, I) or
        (I,) True where an item may not be drawn."""
        count = condition.sum(1, keepdim=True)
        mean = (condition @ self.features) / count.clamp(min=1)
        state = self.body(torch.cat([mean, torch.log1p(count) / 5, noise], 1))
        logits = state[:, :-1] @ self.vectors.t() + self.bias + state[:, -1:] * self.popularity
        return logits if never is None else logits.masked_fill(never, NEVER)


class Critic(nn.Module):
    """Logits: the plain head, whether a set is real; the pair head, whether two sets are of
    one user.

    A set is read as the mean over its items of a small network of their features (Zaheer et
    al., NeurIPS 2017, arXiv:1703.06114), its log length beside it. The pair head reads no
    length: halves of one history agree in length, which says nothing about interests.
    """

    features: Tensor

    def __init__(
        self, features: Tensor, popularity: Tensor, *, width: int, depth: int, spectral: bool
    ) -> None:
        super().__init__()
        columns = torch.cat([features, popularity[:, None], popularity[:, None] ** 2], 1)
        self.register_buffer("features", columns)
        inside = columns.shape[1]
        self.plain_items = _layers(inside, width, 1, width, spectral=spectral)
        self.pair_items = _layers(inside, width, 1, width, spectral=spectral)
        self.plain_head = _layers(width + 1, width, depth, 1, spectral=spectral)
        self.pair_head = _layers(2 * width, width, depth, 1, spectral=spectral)
        self.likeness = nn.Linear(2, 1)

    def plain(self, sets: Tensor) -> Tensor:
        """(B,) logit that each set is a real profile. sets: (B, I) in [0, 1]."""
        count = sets.sum(1, keepdim=True)
        mean = (sets @ self.plain_items(self.features)) / count.clamp(min=1)
        made: Tensor = self.plain_head(torch.cat([mean, torch.log1p(count) / 5], 1))
        return made[:, 0]

    def pair(self, past: Tensor, other: Tensor) -> Tensor:
        """(B,) logit that row b of both is of one user. Reads |x| + |x'| numbers: the
        condition's features and the other's."""
        items = self.pair_items(self.features)
        both = [sets @ items / sets.sum(1, keepdim=True).clamp(min=1) for sets in (past, other)]
        made: Tensor = self.pair_head(torch.cat(both, 1))[:, 0]
        left, right = both
        cosine = nn.functional.cosine_similarity(left, right)
        scaled = nn.functional.cosine_similarity(*(b - items.mean(0) for b in both))
        near: Tensor = self.likeness(torch.stack([cosine, scaled], 1))[:, 0]
        return made + near


def seeded(seed: int, build: "type[nn.Module]", *args: object, **options: object) -> nn.Module:
    """A network whose first weights depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(*args, **options)


def _layers(inside: int, width: int, depth: int, outside: int, *, spectral: bool) -> nn.Sequential:
    sizes = [inside, *[width] * depth, outside]
    made: list[nn.Module] = []
    for before, after in zip(sizes[:-1], sizes[1:], strict=True):
        linear = nn.Linear(before, after)
        made += [spectral_norm(linear) if spectral else linear, nn.LeakyReLU(_SLOPE)]
    return nn.Sequential(*made[:-1])
