"""Example attacks a second time, without the habits that an adaptive attacker drops."""

import numpy as np

from hardrank.attacks.profiles.parts import step
from hardrank.context import derive
from hardrank.data import Dataset, Patch
from hardrank.detection.varied import varied
from hardrank.experiment.poison_logs import Poisoned
from hardrank.threats.log import LogView

__all__ = ["variants_of"]


def variants_of(played: Poisoned, train: Dataset, many: int, seed: int) -> list[Patch]:
    """So many versions of an example's fake users, each varied as a whole: see `varied`."""
    match = played.match
    view = LogView(train, np.asarray([train.item_rows[match.target]]))
    apart, middle = (step(view), sum(view.scale) / 2) if view.scale else (0.0, 0.0)
    rngs = [
        np.random.default_rng(derive(seed, "variant", match.attack, match.target, n))
        for n in range(many)
    ]
    return [varied(match.patch, match.target, r, apart=apart, towards=middle) for r in rngs]
