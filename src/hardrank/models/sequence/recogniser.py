"""The head that tells attacked texts from clean ones."""

from torch import Tensor, nn

__all__ = ["Recogniser"]


class Recogniser(nn.Module):
    """One hidden layer on what the item tower makes of a text."""

    def __init__(self, size: int) -> None:
        """size: D, of the vectors that it reads."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, 1)
        )

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., D) -> (...) log-odds that an attack wrote the text."""
        out: Tensor = self.layers(vectors)[..., 0]
        return out
