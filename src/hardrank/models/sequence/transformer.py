"""A causal pre-norm transformer over item vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CausalTransformer"]


class CausalTransformer(nn.Module):
    """(B, L, D) item vectors in, (B, L, D) states out; state l has read items 0..l.

    Histories are padded on the right: a causal mask then already keeps every real position
    from reading padding, and no row is ever fully masked (which would give NaN).
    SASRec (Kang & McAuley, ICDM 2018) with pre-norm blocks and GELU.
    """

    def __init__(self, *, size: int, layers: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.empty(length, size))
        self.blocks = nn.ModuleList(_Block(size, heads, dropout) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(size)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, vectors: Tensor) -> Tensor:
        states = self.dropout(vectors + self.positions[: vectors.shape[1]])
        for block in self.blocks:
            states = block(states)
        out: Tensor = self.norm(states)
        return out


class _Block(nn.Module):
    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.drop = heads, dropout
        self.before_attention, self.before_mlp = nn.LayerNorm(size), nn.LayerNorm(size)
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.mlp = nn.Sequential(
            nn.Linear(size, 4 * size), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * size, size)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        batch, length, size = states.shape
        qkv = self.qkv(self.before_attention(states))
        query, key, value = qkv.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        drop = self.drop if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=drop)
        states = states + self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, size)))
        out: Tensor = states + self.dropout(self.mlp(self.before_mlp(states)))
        return out
