"""Ratings and times for drawn profiles, as the log has them: items alone are no history there."""

from collections.abc import Sequence

import numpy as np

from hardrank.attacks.profiles.parts import rated, timed
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.threats.log import LogView
from hardrank.types import Ints

__all__ = ["as_edits"]


def as_edits(train: Dataset, drawn: Sequence[Ints], prefix: str, rng: np.random.Generator) -> Patch:
    """One user for each profile, with what each event of the log has, and as the attacks that
    draw from a generator give it.

    Ratings are normal around each item's own mean, with its deviation, snapped to what a user of
    this log could give. Times begin anywhere and have the gaps of one real user drawn at random.
    Where some events of the log have no rating (or no time), profiles have none, either.
    drawn: item rows of each profile, oldest first.
    """
    nobody: Ints = np.zeros(0, dtype=np.int64)
    view = LogView(train, nobody)
    ids = train.items["item_id"].to_list()
    edits = []
    for n, rows in enumerate(drawn):
        ratings = None if view.scale is None else rated(view, rows, rng, by_item=True)
        times = timed(view, len(rows), rng)
        edits.append(
            AddProfile(
                user_id=f"{prefix}-{n}",
                item_ids=tuple(ids[i] for i in rows.tolist()),
                ratings=None if ratings is None else tuple(round(float(r), 4) for r in ratings),
                times=None if times is None else tuple(times.tolist()),
            )
        )
    return Patch(tuple(edits))
