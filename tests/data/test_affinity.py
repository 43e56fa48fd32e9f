"""How well a user's other items go with an item."""

from typing import Any

import numpy as np

from hardrank.data import Dataset
from hardrank.data.affinity import affinity
from hardrank.testing.logs import taste_log


def _by_loops(log: Dataset, earlier: Any, event: int) -> float:
    touched = np.zeros((log.n_users, log.n_items))
    touched[log.events["user"].to_numpy(), log.event_items] = 1
    believed = touched[earlier]
    n, both = believed.sum(0), believed.T @ believed
    user, item = int(log.events["user"][event]), int(log.event_items[event])
    total = 0.0
    for j in np.flatnonzero(touched[user]).tolist():
        if j != item:
            others = both[item, j] - n[item] * n[j] / len(believed)
            total += others / np.sqrt((n[item] + 10) * (n[j] + 10))
    return float(total / np.sqrt(touched[user].sum()))


def test_it_is_the_formula_written_as_loops() -> None:
    """A slow twin, over more users than are looked at together, believed ones among them."""
    log = taste_log(users=150, items=30, events=8)
    earlier = np.arange(150) < 50
    events = np.random.default_rng(0).permutation(log.n_events)[:300]
    expected = [_by_loops(log, earlier, event) for event in events.tolist()]
    np.testing.assert_allclose(affinity(log, earlier, events), expected, atol=1e-12)


def test_events_of_ones_own_taste_fit_better() -> None:
    """The planted groups choose among their own items; an item of another group fits worse."""
    log = taste_log()
    earlier = np.arange(log.n_users) % 2 == 0
    rows = np.flatnonzero(~earlier[log.events["user"].to_numpy()])
    own = log.events["user"].to_numpy()[rows] % 3 == log.event_items[rows] % 3
    values = affinity(log, earlier, rows)
    assert own.any() and not own.all()
    assert values[own].mean() > values[~own].mean() + 0.3


def test_without_earlier_users_everything_fits_alike() -> None:
    log = taste_log()
    nobody = np.zeros(log.n_users, dtype=np.bool_)
    events = np.arange(log.n_events)
    assert not affinity(log, nobody, events).any()
