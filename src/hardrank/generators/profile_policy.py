"""A policy that writes profiles item by item, and the policy gradient that trains it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hardrank.types import Floats, Ints

__all__ = ["ProfilePolicy", "Written", "advantages", "ascend", "grouped", "new_policy"]

_NEVER = -1e9
"""Logit of what may not be drawn; finite, so that entropies stay numbers."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Written:
    """B profiles of at most T items, with what was open when each item was drawn.

    C groups of G places; G is the size of the largest group.
    """

    rows: Tensor
    """(B, T) item rows; beyond a profile's length they mean nothing."""
    groups: Tensor
    """(B, T) the group of each."""
    places: Tensor
    """(B, T) and its place in the group."""
    open_groups: Tensor
    """(B, T, C) True where a group had an item left."""
    open_items: Tensor
    """(B, T, G) True where an item of that group was left."""
    inside: Tensor
    """(B, T) True within the length of each profile."""
    chances: Tensor
    """(B, T) log-probability of each draw."""

    def profiles(self) -> list[Ints]:
        """B arrays of item rows, in the order of the draw."""
        rows, inside = self.rows.numpy(), self.inside.numpy()
        return [row[kept] for row, kept in zip(rows, inside, strict=True)]

    def first(self, n: int) -> "Written":
        """The first n profiles alone."""
        return Written(**{name: value[:n] for name, value in vars(self).items()})


def grouped(features: Floats, rows: Ints, depth: int) -> Ints:
    """(2^depth, G) item rows: a complete binary tree over the items, cut at that depth.

    Each split is at the median along the direction in which the items of the node differ
    most. Groups differ in size by one at most; short ones are filled up with -1.

    features: (I, F); rows: the items to group, at least 2^depth of them.
    """
    leaves = [np.asarray(rows)]
    for _ in range(depth):
        leaves = [half for leaf in leaves for half in _halves(features, leaf)]
    out = np.full((len(leaves), max(leaf.size for leaf in leaves)), -1, dtype=np.int64)
    for number, leaf in enumerate(leaves):
        out[number, : leaf.size] = leaf
    return out


def _halves(features: Floats, rows: Ints) -> tuple[Ints, Ints]:
    here = features[rows].astype(np.float64)
    here -= here.mean(axis=0)
    _, vectors = np.linalg.eigh(here.T @ here)
    axis = vectors[:, -1]
    # the sign of an eigenvector is anybody's choice
    axis = axis * np.sign(axis[np.argmax(np.abs(axis))])
    order = rows[np.argsort(np.round(here @ axis, 9), kind="stable")]
    middle = (rows.size + 1) // 2
    return order[:middle], order[middle:]


class ProfilePolicy(nn.Module):
    """Draws an item of the catalogue given the items drawn before and the target.

    The state h is that of a GRU that has read the vectors of the items so far and began at
    the target's. A draw takes two steps, so that it costs C + G and not I numbers:

        p(item) = softmax_c(W h + b)[group of item] * softmax_g(q(h) . x_item)

    Both heads begin at zero: an untrained policy draws evenly. An item is drawn once.
    """

    features: Tensor
    menu: Tensor

    def __init__(self, features: Tensor, menu: Tensor, start: Tensor, *, width: int) -> None:
        """features: (I, F) x; menu: (C, G) of `grouped`; start: (F,) the target's."""
        super().__init__()
        size = features.shape[1]
        self.register_buffer("features", features)
        self.register_buffer("menu", menu)
        self.register_buffer("start", start)
        self.begin = nn.Linear(size, width)
        self.reader = nn.GRU(size, width, batch_first=True)
        self.group_head = nn.Linear(width, len(menu))
        self.item_head = nn.Linear(width, size)
        for head in (self.group_head, self.item_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    @torch.no_grad()
    def write(self, lengths: Ints, generator: torch.Generator) -> Written:
        """One profile for each length (B,); none longer than there are items."""
        inside = torch.arange(int(lengths.max())) < torch.as_tensor(lengths)[:, None]
        state = self._begun(len(lengths))
        left = (self.menu >= 0).expand(len(lengths), -1, -1).clone()  # (B, C, G)
        kept: dict[str, list[Tensor]] = {}
        for _ in range(inside.shape[1]):
            open_groups = left.any(2)
            group, first = _pick(_shut(self.group_head(state), open_groups), generator)
            open_items = left[torch.arange(len(left)), group]
            logits = self._items(state[:, None], group[:, None])[:, 0]
            place, second = _pick(_shut(logits, open_items), generator)
            left[torch.arange(len(left)), group, place] = False
            rows = self.menu[group, place]
            step = {
                "rows": rows, "groups": group, "places": place, "open_groups": open_groups,
                "open_items": open_items, "chances": first + second,
            }  # fmt: skip
            for name, value in step.items():
                kept.setdefault(name, []).append(value)
            state = self.reader(self.features[rows][:, None], state[None])[1][0]
        return Written(inside=inside, **{name: torch.stack(v, 1) for name, v in kept.items()})

    def replayed(self, written: Written) -> tuple[Tensor, Tensor]:
        """(B, T) log-probability of each draw now, and the entropy it was drawn with."""
        state = self._begun(len(written.rows))
        states = state[:, None]  # (B, T, W)
        if written.rows.shape[1] > 1:  # a GRU refuses to read nothing
            read, _ = self.reader(self.features[written.rows[:, :-1]], state[None])
            states = torch.cat([states, read], 1)
        groups = _shut(self.group_head(states), written.open_groups).log_softmax(2)
        items = _shut(self._items(states, written.groups), written.open_items).log_softmax(2)
        chances = _at(groups, written.groups) + _at(items, written.places)
        return chances, _entropy(groups) + _entropy(items)

    def _begun(self, n: int) -> Tensor:
        made: Tensor = torch.tanh(self.begin(self.start)).expand(n, -1)
        return made.contiguous()

    def _items(self, states: Tensor, groups: Tensor) -> Tensor:
        """(B, T, G) logits of the items of each group (B, T)."""
        vectors = self.features[self.menu[groups].clamp(min=0)]  # (B, T, G, F)
        out: Tensor = (vectors @ self.item_head(states)[..., None])[..., 0]
        return out


def _shut(logits: Tensor, still: Tensor) -> Tensor:
    return logits.masked_fill(~still, _NEVER)


def _pick(logits: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(B,) a draw of each row, and its log-probability."""
    chances = logits.log_softmax(1)
    drawn = torch.multinomial(chances.exp(), 1, generator=generator)
    return drawn[:, 0], chances.gather(1, drawn)[:, 0]


def _at(chances: Tensor, chosen: Tensor) -> Tensor:
    return chances.gather(2, chosen[..., None])[..., 0]


def _entropy(chances: Tensor) -> Tensor:
    return -(chances.exp() * chances).sum(2)


def new_policy(
    features: Floats, menu: Ints, start: Floats, *, width: int, seed: int
) -> ProfilePolicy:
    """An untrained policy; nobody else's random numbers are drawn. See `ProfilePolicy`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        given = torch.as_tensor(features, dtype=torch.float32), torch.as_tensor(menu)
        return ProfilePolicy(*given, torch.as_tensor(start, dtype=torch.float32), width=width)


def advantages(rewards: NDArray[Any]) -> NDArray[np.float64]:
    """(B,) each reward less the mean of the others', in standard deviations of all; zeros
    where all are equal."""
    rewards = np.asarray(rewards, dtype=np.float64)
    away = rewards - rewards.mean()
    spread = float(away.std())
    if len(rewards) < 2 or spread <= 1e-12 * max(1.0, float(np.abs(rewards).max())):
        return np.zeros(len(rewards))
    scaled: NDArray[np.float64] = away / spread * len(rewards) / (len(rewards) - 1)
    return scaled


def ascend(
    policy: ProfilePolicy, optimiser: torch.optim.Optimizer, written: Written,
    gains: NDArray[Any], *, epochs: int, clip: float, entropy: float,
) -> None:  # fmt: skip
    """`epochs` steps on one batch.

    With r_t the chance of draw t now over that when it was drawn, A the profile's gain:

        max  mean_t min(r_t A, clamp(r_t, 1 - clip, 1 + clip) A) + entropy * H_t

    Schulman et al. 2017, arXiv:1707.06347, equations 7 and 9, without a critic.
    """
    gain = torch.as_tensor(gains, dtype=torch.float32)[:, None]
    weight = written.inside.float() / written.inside.sum()
    for _ in range(epochs):
        chances, spread = policy.replayed(written)
        # beyond its length a profile has draws that nobody rewards
        ratio = (chances - written.chances).masked_fill(~written.inside, 0.0).exp()
        surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
        loss = -((surrogate + entropy * spread) * weight).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
