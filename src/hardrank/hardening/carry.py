"""Gradients taken inside an objective, handed on by the scalar that it returns."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Gradients", "carrying", "graded", "learning", "shifted"]

Gradients = tuple[Tensor | None, ...]
"""One for each parameter; None where the loss does not depend on it."""


def learning(network: object) -> list[nn.Parameter]:
    """The parameters that training may change."""
    assert isinstance(network, nn.Module)
    return [p for p in network.parameters() if p.requires_grad]


def graded(loss: Tensor, wanted: Sequence[Tensor]) -> Gradients:
    """One backward pass of a scalar. Nobody's `.grad` changes."""
    return torch.autograd.grad(loss, wanted, allow_unused=True)


def carrying(value: Tensor, parameters: Sequence[Tensor], gradients: Gradients) -> Tensor:
    """A scalar of this value whose backward pass gives the parameters these gradients.

    It runs no part of the network again, and holds no graph but one node. Parameters
    without a gradient stay without one, so that weight decay passes them over as ever.
    """
    pairs = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
    total: Tensor = _Carry.apply(  # type: ignore[no-untyped-call]
        value.detach(), [g for _, g in pairs], *(p for p, _ in pairs)
    )
    return total


@contextmanager
def shifted(parameters: Sequence[nn.Parameter], shifts: Sequence[Tensor]) -> Iterator[None]:
    """Parameters moved inside; afterwards each has its own memory back, so to the last bit.

    The memory behind a parameter is exchanged and never written to. That reaches every
    module that shares the parameter, also one that is no submodule of the network (an
    encoder's view of its top layers), which `torch.func.functional_call` would pass by.
    Backward passes of what is computed inside must end inside.
    """
    kept = [p.data for p in parameters]
    try:
        for parameter, data, shift in zip(parameters, kept, shifts, strict=True):
            parameter.data = data + shift
        torch.clear_autocast_cache()  # it knows a parameter by its address
        yield
    finally:
        for parameter, data in zip(parameters, kept, strict=True):
            parameter.data = data
        torch.clear_autocast_cache()


class _Carry(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *_: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (up,) = grads
        return None, None, *(up * g for g in ctx.gradients)
