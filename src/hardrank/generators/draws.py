"""Drawing k different items, with a gradient; and how likely such a draw is."""

import torch
from torch import Tensor

__all__ = ["NEVER", "gumbel", "log_likelihood", "multi_hot", "top_k"]

NEVER = -1e9
"""Logit of what may not be drawn: finite, so that no difference of two is NaN."""


def gumbel(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise: -log(-log(u)) of uniform u."""
    uniform = torch.rand(shape, generator=generator).clamp_(1e-9, 1 - 1e-7)
    return -torch.log(-torch.log(uniform))


def multi_hot(rows: Tensor, columns: Tensor, shape: tuple[int, int]) -> Tensor:
    """shape of zeros with ones at (rows, columns)."""
    out = torch.zeros(shape)
    out[rows, columns] = 1.0
    return out


def top_k(perturbed: Tensor, k: Tensor, temperature: float) -> Tensor:
    """(B, I) of zeros and ones, k[b] ones in row b where `perturbed` is highest.

    With `perturbed` = logits + Gumbel noise that is a draw of k[b] different items from the
    Plackett-Luce distribution of the logits (Kool et al., ICML 2019, arXiv:1903.06059). The
    gradient is that of sigmoid((perturbed - threshold) / temperature), the threshold held fixed
    half-way between the last item in and the first one out: straight through.
    """
    wide = min(int(k.max()) + 1, perturbed.shape[1]) if len(k) else 0
    if not wide:
        return perturbed * 0
    values, columns = perturbed.detach().topk(wide, dim=1)
    inside = torch.arange(wide) < k[:, None]
    hard = torch.zeros_like(perturbed).scatter_(1, columns, inside.to(perturbed.dtype))
    last = values.gather(1, (k[:, None] - 1).clamp(min=0))
    after = values.gather(1, k[:, None].clamp(max=wide - 1))
    threshold = torch.where(k[:, None] > 0, (last + after) / 2, after + 1.0)
    soft = torch.sigmoid((perturbed - threshold) / temperature)
    soft = soft * (perturbed > NEVER / 2)
    return hard + soft - soft.detach()


def log_likelihood(logits: Tensor, order: Tensor, inside: Tensor) -> Tensor:
    """(B,) mean log-probability per item of drawing the items of `order` in that order.

    Plackett-Luce: sum_t [l_t - log sum_{j not drawn before t} exp l_j]. logits: (B, I), `NEVER`
    where an item is not on offer; order: (B, K) columns, any number where not `inside`.
    """
    chosen = logits.gather(1, order).masked_fill(~inside, NEVER)
    hits = torch.zeros_like(logits).scatter_add_(1, order, inside.to(logits.dtype))
    others = logits.masked_fill(hits > 0, NEVER).logsumexp(1, keepdim=True)
    left = chosen.flip(1).logcumsumexp(1).flip(1)
    each = (chosen - torch.logaddexp(others, left)).masked_fill(~inside, 0.0)
    return each.sum(1) / inside.sum(1).clamp(min=1)
