"""A number that is not finite ends training before it can reach a weight."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hardrank.errors import Diverged

__all__ = ["Position", "gradient_norm"]


@dataclass(frozen=True, kw_only=True)
class Position:
    """Raises `Diverged` that names the epoch, the step and the batch, each counted from 1."""

    epoch: int
    """The one at work."""
    step: int
    """Of the optimiser, over all epochs."""
    batch: int
    """Within the epoch."""
    path: Path | None
    """Checkpoint of the last good epoch."""

    def require_loss(self, value: float) -> None:
        if not math.isfinite(value):
            raise self._fault(f"the loss is {value}")

    def require_gradients(self, norm: Tensor, parameters: Mapping[str, nn.Parameter]) -> None:
        """norm: of all gradients together; only if it is not finite are they looked at."""
        if bool(norm.isfinite()):
            return
        for name, parameter in parameters.items():
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
                raise self._fault(f"the gradient of '{name}' is not finite")
        raise self._fault("the norm of the gradient is too large for its number format")

    def require_weights(self, parameters: Mapping[str, nn.Parameter]) -> None:
        for name, parameter in parameters.items():
            if not bool(parameter.isfinite().all()):
                raise self._fault(f"the weight '{name}' is not finite")

    def _fault(self, what: str) -> Diverged:
        kept = "nothing is kept of this training"
        if self.path is not None and self.epoch > 1:
            kept = f"epoch {self.epoch - 1}, the last good one, is kept in {self.path}"
        return Diverged(
            f"{what} at epoch {self.epoch}, step {self.step} (batch {self.batch} of the epoch); "
            f"{kept}; lower learning_rate, or the radius or weight of the objective"
        )


def gradient_norm(parameters: Mapping[str, nn.Parameter]) -> Tensor:
    """L2 norm of all gradients together, a scalar."""
    grads = [p.grad for p in parameters.values() if p.grad is not None]
    return torch.nn.utils.get_total_norm(grads)
