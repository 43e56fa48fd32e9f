"""Which number format is faster here."""

from functools import cache
from typing import Literal

import torch

__all__ = ["half_is_faster"]


def half_is_faster(wish: Literal["auto", "float32", "bfloat16"]) -> bool:
    """Whether the large products run in bfloat16: as wished, or for `auto` where the
    processor multiplies bfloat16 natively (without that it is emulated and slower)."""
    return _native() if wish == "auto" else wish == "bfloat16"


@cache
def _native() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in probes)
