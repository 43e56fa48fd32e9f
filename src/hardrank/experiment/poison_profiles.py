"""What the fake profiles of a run look like beside the real ones: histograms for the report."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardrank.data import Dataset
from hardrank.experiment.poison_logs import Poisoned

__all__ = ["portraits"]

Mask = NDArray[np.bool_]
_LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987)
"""Lower bounds of the bins of profile lengths; the last one is open."""


def portraits(logs: Sequence[Poisoned], real: int) -> dict[str, Any]:
    """Share of profiles or events in each bin, of real users and of each attack's fake ones,
    all logs together: `{"bins": {...}, "real": {...}, "attacks": {label: {...}}}`.

    `length` of profiles, `popularity` deciles of the items of events (9 the most popular),
    `rating` of events where the log has ratings.
    """
    if not logs:
        return {}
    first = logs[0].log
    ratings = _ratings(first)
    by_attack: dict[str, list[Poisoned]] = {}
    for p in (p for p in logs if p.match.profiles):
        by_attack.setdefault(p.match.attack, []).append(p)
    return {
        "bins": {"length": list(_LENGTHS), "popularity": list(range(10)), "rating": ratings},
        "real": _portrait([first], real, ratings, fake=False),
        "attacks": {
            name: _portrait([p.log for p in some], real, ratings, fake=True)
            for name, some in by_attack.items()
        },
    }


def _ratings(log: Dataset) -> list[float]:
    column = log.events["rating"]
    return [] if column.null_count() else sorted(column.unique().to_list())


def _portrait(
    logs: Iterable[Dataset], real: int, ratings: Sequence[float], *, fake: bool
) -> dict[str, list[float]]:
    length = np.zeros(len(_LENGTHS))
    popularity, rating = np.zeros(10), np.zeros(len(ratings))
    for log in logs:
        users = log.events["user"].to_numpy()
        own: Mask = (users >= real) == fake
        sizes = np.diff(log.offsets)
        sizes = sizes[real:] if fake else sizes[:real]
        bins = np.searchsorted(_LENGTHS, sizes[sizes > 0], side="right") - 1
        length += np.bincount(bins, minlength=len(_LENGTHS))
        counts = np.bincount(log.event_items[users < real], minlength=log.n_items)
        place = np.argsort(np.argsort(counts, kind="stable"), kind="stable")
        decile = (place * 10 // log.n_items)[log.event_items[own]]
        popularity += np.bincount(decile, minlength=10)
        if ratings:
            values = log.events["rating"].to_numpy()[own]
            near = np.abs(values[:, None] - np.asarray(ratings)[None, :]).argmin(axis=1)
            rating += np.bincount(near, minlength=len(ratings))
    return {"length": _shares(length), "popularity": _shares(popularity),
            "rating": _shares(rating)}  # fmt: skip


def _shares(counts: NDArray[np.float64]) -> list[float]:
    total = counts.sum()
    return [round(float(c / total), 6) if total else 0.0 for c in counts]
