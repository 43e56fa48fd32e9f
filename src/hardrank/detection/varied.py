"""Example fake users with their habits varied, so that a detector does not learn the habits."""

from dataclasses import replace

import numpy as np

from hardrank.data import AddProfile, Patch

__all__ = ["varied"]

_SHORTEST = 0.25
"""Share of its fillers that a shortened profile keeps at least."""
_STEPS = 0.5, 1.0, 2.0


def varied(
    patch: Patch, target: str, rng: np.random.Generator, *, apart: float, towards: float
) -> Patch:
    """The same fake users at other lengths and with another rating of the target.

    Example attacks share two habits that they do not need: they fill the budget, and they
    give the target the end of the scale. A detector that learns these is passed by whoever
    drops them (Tramer et al., NeurIPS 2020). Here, drawn for the whole patch: all profiles as
    long as they are, all shortened alike, or each on its own, by fillers drawn at random; and
    the target rated 1/2, 1 or 2 steps milder on average. Items and their order stay.

    target: item id; a profile without it is left alone. apart: between two ratings of the
    log; 0 leaves ratings alone. towards: a rating that praises nothing, the scale's middle;
    no rating passes it.
    """
    way, steps = int(rng.integers(3)), float(rng.choice(_STEPS))
    share = float(rng.uniform(_SHORTEST, 1))
    below = np.diff(np.floor(np.arange(len(patch.edits) + 1) * steps)).tolist()
    out = []
    for edit, milder in zip(patch.edits, below, strict=True):
        if isinstance(edit, AddProfile) and target in edit.item_ids:
            kept = (1.0, share, float(rng.uniform(_SHORTEST, 1)))[way]
            edit = _shortened(edit, target, kept, rng)
            edit = _milder(edit, target, milder * apart, towards)
        out.append(edit)
    return Patch(tuple(out))


def _shortened(edit: AddProfile, target: str, share: float, rng: np.random.Generator) -> AddProfile:
    aim = edit.item_ids.index(target)
    fillers = np.delete(np.arange(len(edit.item_ids)), aim)
    chosen = rng.permutation(fillers)[: int(np.ceil(share * fillers.size))]
    at = np.sort(np.append(chosen, aim)).tolist()
    return replace(
        edit,
        item_ids=tuple(edit.item_ids[n] for n in at),
        ratings=None if edit.ratings is None else tuple(edit.ratings[n] for n in at),
        times=None if edit.times is None else tuple(edit.times[n] for n in at),
    )


def _milder(edit: AddProfile, target: str, by: float, towards: float) -> AddProfile:
    if edit.ratings is None:
        return edit
    aim, ratings = edit.item_ids.index(target), list(edit.ratings)
    away = ratings[aim] - towards
    ratings[aim] = round(towards + float(np.sign(away)) * max(0.0, abs(away) - by), 4)
    return replace(edit, ratings=tuple(ratings))
