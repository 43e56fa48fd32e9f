"""Plain feed-forward networks whose first weights follow from a seed alone."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["Dense", "weights_of"]


class Dense(nn.Module):
    """Linear layers with leaky ReLU between them; the last is linear.

    He initialisation (He et al., ICCV 2015, section 2.2) from `generator`, biases 0. The last
    layer starts ten times smaller, so that an output begins near 0 and no sigmoid saturated.
    """

    def __init__(self, sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        pairs = list(pairwise(sizes))
        self.layers = nn.ModuleList(
            nn.Linear(fan_in, fan_out, device="meta") for fan_in, fan_out in pairs
        )
        self.layers.to_empty(device="cpu")  # not the draws of a global generator
        for number, (fan_in, fan_out) in enumerate(pairs):
            shrink = 0.1 if number == len(pairs) - 1 else 1.0
            drawn = torch.randn(fan_out, fan_in, generator=generator)
            layer = self.layers[number]
            assert isinstance(layer, nn.Linear)
            layer.weight.data.copy_(drawn * shrink * (2.0 / fan_in) ** 0.5)
            layer.bias.data.zero_()

    def forward(self, values: Tensor) -> Tensor:
        """(B, sizes[0]) -> (B, sizes[-1])."""
        for number, layer in enumerate(self.layers):
            values = layer(values)
            if number < len(self.layers) - 1:
                values = nn.functional.leaky_relu(values, 0.2)
        return values


def weights_of(network: nn.Module) -> int:
    """How many numbers it learns."""
    return sum(p.numel() for p in network.parameters())
