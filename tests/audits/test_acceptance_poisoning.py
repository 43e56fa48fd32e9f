"""Distances of fake profiles from real ones: what is popular is what real users chose."""

import numpy as np

from hardrank.audits.poisoning import disguise
from hardrank.data import AddProfile, Patch
from hardrank.testing.logs import taste_log


def test_fake_users_do_not_make_popular_what_they_name() -> None:
    """Two hundred of them name one rare item: it stays rare, and they stand out by it."""
    log = taste_log(users=60, items=30, events=8)
    rare = int(np.argsort(log.counts, kind="stable")[0])
    patch = Patch(tuple(AddProfile(f"x{n}", (f"i{rare}",), (5.0,)) for n in range(200)))
    made = disguise(log.apply(patch), log.n_users, seed=0, trial="x", target="t")
    found = dict(zip(made["audit"].to_list(), made["value"].to_list(), strict=True))
    last_decile = np.argsort(log.counts, kind="stable")[:3]
    share = float(log.counts[last_decile].sum() / log.n_events)
    assert found["disguise-popularity"] > 0.85
    assert abs(found["disguise-popularity"] - (1 - share)) < 1e-9
