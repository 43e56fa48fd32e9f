"""A running mean of the weights: calmer than the last step's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """mean <- d * mean + (1 - d) * weights after each step, d = min(decay, (1 + n) / (10 + n)).

    Polyak & Juditsky 1992, exponential as in Tarvainen & Valpola, NeurIPS 2017,
    arXiv:1703.01780, section 3.1. n counts the steps done: a mean that starts at random
    weights must first forget them. Holds one more copy of what learns; nothing at decay 0.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = dict(parameters) if decay else {}, decay
        self.means: dict[str, Tensor] = {k: p.detach().clone() for k, p in self.parameters.items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """steps: of the optimiser, done so far."""
        share = 1 - min(self.decay, (1 + steps) / (10 + steps))
        for name, parameter in self.parameters.items():
            self.means[name].lerp_(parameter, share)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The means in the place of the weights inside; afterwards the weights to the bit."""
        weights = {k: p.detach().clone() for k, p in self.parameters.items()}
        self.install()
        try:
            yield
        finally:
            self._set(weights)

    def install(self) -> None:
        """The means in the place of the weights."""
        self._set(self.means)

    @torch.no_grad()
    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])
