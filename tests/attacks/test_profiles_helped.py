"""Fake users who help without naming the target (S4-05)."""

from dataclasses import replace

import numpy as np

from hardrank.attacks.profiles.helped_profiles import HelpedProfiles
from hardrank.attacks.profiles.selection import sworn, usual
from hardrank.data import AddProfile
from hardrank.surrogates import Aim
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.log import LogView
from hardrank.threats.profiles import play_profiles

TARGET = "i57"
BUDGET = Budget(profiles=20, profile_events=9)
THREAT = ThreatModel(
    goal=Promote(items=(TARGET,), k=5), surface="profiles", budget=BUDGET, log="log"
)
HELPED = HelpedProfiles(named=4, steps=6)


def _fakes(attack: HelpedProfiles, *, ratings: bool = True, seed: int = 0) -> list[AddProfile]:
    log = taste_log(ratings=ratings)
    patch = play_profiles(attack, THREAT, log, target=TARGET, seed=seed).patch
    return [edit for edit in patch.edits if isinstance(edit, AddProfile)]


def test_so_many_name_the_target_and_the_others_never_do() -> None:
    fakes = _fakes(HELPED)
    assert [TARGET in f.item_ids for f in fakes] == [True] * 4 + [False] * 16
    assert {len(f.item_ids) for f in fakes[:4]} == {9}
    assert {len(f.item_ids) for f in fakes[4:]} == {8}
    assert all(len(set(f.item_ids)) == len(f.ratings or ()) for f in fakes)


def test_praise_is_the_best_or_what_others_give() -> None:
    log = taste_log()
    row = log.item_rows[TARGET]
    view = LogView(log, np.array([row]))
    for praise, star in (("best", 5.0), ("usual", float(np.round(view.means[row])))):
        for fake in _fakes(replace(HELPED, praise=praise))[:4]:
            assert fake.ratings and fake.ratings[fake.item_ids.index(TARGET)] == star
    assert all(f.ratings is None for f in _fakes(HELPED, ratings=False))


def test_helpers_help_on_the_attackers_surrogates() -> None:
    """The loss with all fake users is lower than with those alone who name the target."""
    log = taste_log(ratings=False)
    view = LogView(log, np.array([log.item_rows[TARGET]]))
    jury = sworn(view, usual(view, ()), Aim(k=5, sharpness=2.0), np.random.default_rng(1))
    chosen = np.zeros((20, log.n_items), dtype=np.float32)
    for p, fake in enumerate(_fakes(replace(HELPED, steps=30), ratings=False)):
        chosen[p, [log.item_rows[i] for i in fake.item_ids]] = 1
    import torch

    everybody = torch.as_tensor(chosen)
    assert jury.value(everybody) < jury.value(everybody[:4])


def test_with_nothing_but_the_target_to_write_helpers_name_it_too() -> None:
    """A profile of one event: an empty one would break the rules."""
    threat = replace(THREAT, budget=Budget(profiles=6, profile_events=1))
    patch = play_profiles(HELPED, threat, taste_log(), target=TARGET).patch
    assert [e.item_ids for e in patch.edits if isinstance(e, AddProfile)] == [(TARGET,)] * 6


def test_the_same_seed_writes_the_same() -> None:
    assert _fakes(HELPED, seed=4) == _fakes(HELPED, seed=4) != _fakes(HELPED, seed=5)
