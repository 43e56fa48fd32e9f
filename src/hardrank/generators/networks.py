"""The two networks: both read sets of items as sums over item features."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from hardrank.generators.draws import NEVER

__all__ = ["Critic", "Generator"]

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
        made: Tensor = logits if never is None else logits.masked_fill(never, NEVER)
        return made


class Critic(nn.Module):
    """Logits: the plain head, whether a set is real; the pair head, whether two sets are of
    one user.

    A set is read as the mean over its items of a small network of their features (Zaheer et
    al., NeurIPS 2017, arXiv:1703.06114), its log length beside it. Means of many items hardly
    differ, so they are brought to mean 0 and deviation 1 over real profiles, as at the start
    (data-dependent initialisation, Salimans & Kingma, NeurIPS 2016, arXiv:1602.07868, section
    3). The pair head reads no length: halves of one history agree in it, which says nothing
    about interests.
    """

    features: Tensor
    plain_centre: Tensor
    plain_scale: Tensor
    pair_centre: Tensor
    pair_scale: Tensor

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
        self.likeness = nn.Linear(width + 1, 1)
        for head in ("plain", "pair"):
            self.register_buffer(f"{head}_centre", torch.zeros(width))
            self.register_buffer(f"{head}_scale", torch.ones(width))

    @torch.no_grad()
    def calibrate(self, sets: Tensor) -> None:
        """Measure what the heads read of real profiles. sets: (B, I), two rows or more."""
        for head, items in (("plain", self.plain_items), ("pair", self.pair_items)):
            means = _means(sets, items(self.features))
            setattr(self, f"{head}_centre", means.mean(0))
            setattr(self, f"{head}_scale", means.std(0).clamp(min=1e-4))

    def plain(self, sets: Tensor) -> Tensor:
        """(B,) logit that each set is a real profile. sets: (B, I) in [0, 1]."""
        count = sets.sum(1, keepdim=True)
        means = _means(sets, self.plain_items(self.features))
        scaled = (means - self.plain_centre) / self.plain_scale
        made: Tensor = self.plain_head(torch.cat([scaled, torch.log1p(count) / 5], 1))
        return made[:, 0]

    def pair(self, past: Tensor, other: Tensor) -> Tensor:
        """(B,) logit that row b of both is of one user. Reads |x| + |x'| numbers: the
        condition's features and the other's."""
        return self.pair_of(*self.interests(past, other))

    def interests(self, *sets: Tensor) -> list[Tensor]:
        """For each (B, I) the (B, W) that the pair head reads of it, all of one length."""
        means = _means(torch.cat(sets), self.pair_items(self.features))
        scaled = (means - self.pair_centre) / self.pair_scale
        units = nn.functional.normalize(scaled, dim=1) * scaled.shape[1] ** 0.5
        return list(units.split([len(s) for s in sets]))

    def pair_of(self, past: Tensor, other: Tensor) -> Tensor:
        """(B,) logits of rows of `interests`."""
        both: Tensor = self.pair_head(torch.cat([past, other], 1))[:, 0]
        alike = past * other
        near: Tensor = self.likeness(torch.cat([alike, alike.mean(1, keepdim=True)], 1))[:, 0]
        return both + near


def _means(sets: Tensor, items: Tensor) -> Tensor:
    """(B, W) mean of the items' rows (I, W) over each set (B, I)."""
    return (sets @ items) / sets.sum(1, keepdim=True).clamp(min=1)


def _layers(inside: int, width: int, depth: int, outside: int, *, spectral: bool) -> nn.Sequential:
    sizes = [inside, *[width] * depth, outside]
    made: list[nn.Module] = []
    for before, after in pairwise(sizes):
        linear = nn.Linear(before, after)
        made += [spectral_norm(linear) if spectral else linear, nn.LeakyReLU(_SLOPE)]
    return nn.Sequential(*made[:-1])
