"""A cap on growth (`data.growth`) that the attacker knows of, and plays through."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hardrank.data import AddProfile, Patch
from hardrank.data.growth import growth_capped
from hardrank.threats.log import LogView
from hardrank.types import NonNegative, Share, spec

__all__ = ["KnownCap", "cut"]


@spec
class KnownCap:
    """New users may not give an item more than people's choices predict: the cap as the
    attacker believes it to be. He takes the users who joined last for the other new ones."""

    slack: NonNegative = 3.0
    """Standard deviations beyond what is predicted, as the defender has it."""
    newcomers: Share = 0.2
    """Share of the real users who are new, the last ones by their first event; drawn at random
    where the log has no times."""

    def left(
        self, view: LogView, fakes: tuple[AddProfile, ...], seed: int
    ) -> tuple[AddProfile, ...]:
        """The fake users with those of their events that pass; nobody without one. seed: of
        the lot that decides where the cap has no reason to prefer an event."""
        rng, real = np.random.default_rng(seed), view.train.n_users
        log = view.train.apply(Patch(tuple(replace(f, user_id=f"new-{n}")
                                           for n, f in enumerate(fakes))))  # fmt: skip
        new = np.ones(log.n_users, dtype=np.bool_)
        new[:real] = _latest(view, self.newcomers, rng)
        kept = growth_capped(log, new, rng, slack=self.slack).dataset
        users, names = kept.events["user"].to_numpy(), view.items["item_id"].to_list()
        own = [{names[i] for i in kept.event_items[users == real + n]} for n in range(len(fakes))]
        pairs = zip(fakes, own, strict=True)
        return tuple(
            cut(fake, np.flatnonzero([i in items for i in fake.item_ids]))
            for fake, items in pairs
            if items
        )


def cut(fake: AddProfile, kept: NDArray[np.int64]) -> AddProfile:
    """Those events alone, in their order."""
    at = np.sort(kept).tolist()
    return replace(
        fake,
        item_ids=tuple(fake.item_ids[n] for n in at),
        ratings=None if fake.ratings is None else tuple(fake.ratings[n] for n in at),
        times=None if fake.times is None else tuple(fake.times[n] for n in at),
    )


def _latest(view: LogView, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(U,) the share of the users whose first event is the latest."""
    many = view.train.n_users
    order = rng.permutation(many)
    if view.window is not None:
        first = np.full(many, np.inf)
        times = view.train.events["time"].to_numpy().astype(np.float64)
        np.minimum.at(first, view.train.events["user"].to_numpy(), times)
        first[np.isinf(first)] = -np.inf  # who has no event is nobody's newcomer
        order = order[np.argsort(first[order], kind="stable")]
    out = np.zeros(many, dtype=np.bool_)
    out[order[many - round(share * many) :]] = True
    return out
