"""Borrow a network in the middle of training and give it back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Draws", "evaluating"]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode inside; afterwards each in its own former mode."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@dataclass(frozen=True, eq=False)
class Draws:
    """The global random numbers that were about to be drawn at one moment.

    Dropout masks and sampled negatives come from the global generators. `replayed` draws
    them again, as often as wanted, and leaves the generators where they stood.
    """

    cpu: Tensor
    cuda: tuple[Tensor, ...]

    @classmethod
    def now(cls) -> "Draws":
        used = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        return cls(torch.get_rng_state(), tuple(torch.cuda.get_rng_state_all()) if used else ())

    @contextmanager
    def replayed(self) -> Iterator[None]:
        before = Draws.now()
        self._set()
        try:
            yield
        finally:
            before._set()

    def _set(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(list(self.cuda))
