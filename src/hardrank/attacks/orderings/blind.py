"""Orders that need no query."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.types import spec

__all__ = ["AsRead", "Shuffled"]


@spec
class AsRead:
    """From the first word to the last. No query."""

    kind: Literal["as-read"] = "as-read"

    def __call__(self, draft: Draft, aim: Aim, rng: np.random.Generator) -> Sequence[int]:
        return range(len(draft.words))


@spec
class Shuffled:
    """In random order: the control for every ordering. No query."""

    kind: Literal["shuffled"] = "shuffled"

    def __call__(self, draft: Draft, aim: Aim, rng: np.random.Generator) -> Sequence[int]:
        order: list[int] = rng.permutation(len(draft.words)).tolist()
        return order
