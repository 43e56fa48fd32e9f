"""Fake users who blame what stands in the target's way (S4-05)."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.love_hate import LoveHate
from hardrank.attacks.profiles.rival_profiles import RivalProfiles
from hardrank.context import RunContext
from hardrank.data import AddProfile, Patch
from hardrank.data.growth import growth_capped
from hardrank.errors import Unsupported
from hardrank.models.rating_mf import RatingMf
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.log import LogView
from hardrank.threats.profiles import play_profiles

TARGET = "i57"
BUDGET = Budget(profiles=20, profile_events=9)
THREAT = ThreatModel(
    goal=Promote(items=(TARGET,), k=5), surface="profiles", budget=BUDGET, log="log"
)
RIVAL = RivalProfiles(named=4, rivals=8, masks=10, known=20)
Ratings = dict[str, float]


def _fakes(attack: RivalProfiles, *, threat: ThreatModel = THREAT, seed: int = 0) -> list[Ratings]:
    patch = play_profiles(attack, threat, taste_log(), target=TARGET, seed=seed).patch
    assert len(patch) == threat.budget.profiles
    return [
        dict(zip(edit.item_ids, edit.ratings or (), strict=True))
        for edit in patch.edits
        if isinstance(edit, AddProfile)
    ]


def test_so_many_praise_the_target_and_the_others_blame_the_same_few() -> None:
    fakes = _fakes(RIVAL)
    assert [TARGET in fake for fake in fakes] == [True] * 4 + [False] * 16
    assert {len(fake) for fake in fakes[:4]} == {9}
    blamed = {item for fake in fakes[4:] for item in fake}
    assert len(blamed) == 8 and {r for fake in fakes[4:] for r in fake.values()} == {1.0}


def test_an_even_habit_praises_as_much_as_it_blames() -> None:
    for fake in _fakes(replace(RIVAL, even=1.0))[4:]:
        assert sorted(fake.values()) == [1.0] * 5 + [5.0] * 4
    for fake in _fakes(replace(RIVAL, even=0.5))[4:]:
        assert sorted(fake.values()) == [1.0] * 6 + [5.0] * 3


def test_the_masked_praise_what_few_know_and_blame_what_many_do() -> None:
    """Two thirds of 8 fillers; the masks are the least rated of what is in no list."""
    log = taste_log()
    for fake in _fakes(replace(RIVAL, praise=0.0))[:4]:
        assert fake.pop(TARGET) == 5.0
        praised = [log.item_rows[i] for i, r in fake.items() if r == 5.0]
        blamed = [log.item_rows[i] for i, r in fake.items() if r == 1.0]
        assert (len(praised), len(blamed)) == (5, 3)
        assert log.counts[praised].max() <= np.median(log.counts) <= log.counts[blamed].min()


def test_the_target_is_praised_by_turns() -> None:
    for praise, stars in (
        (0.5, [5.0, 4.0, 5.0, 4.0]), (0.0, [5.0] * 4), (1.5, [4.0, 3.0, 4.0, 3.0]),
        (9.0, [1.0] * 4),
    ):  # fmt: skip
        fakes = _fakes(replace(RIVAL, praise=praise))
        assert [fake[TARGET] for fake in fakes[:4]] == stars


def test_the_base_writes_who_praises() -> None:
    """With the base alone the fillers are what a copied user gave, not one and five stars."""
    written = RivalProfiles(named=4, rivals=8, writing="base", base=CopyProfile(), praise=0.0)
    fakes = _fakes(written)
    assert [TARGET in fake for fake in fakes] == [True] * 4 + [False] * 16
    assert {r for fake in fakes[:4] for r in fake.values()} - {1.0, 5.0}
    with pytest.raises(Unsupported, match="'love-hate' cannot promote"):
        _fakes(replace(written, base=LoveHate()))


def test_nothing_but_the_target_to_write() -> None:
    """A catalogue of the target alone: an empty profile would break the rules."""
    log = taste_log(users=12, items=15).where(pl.col("item") == 0)
    log = replace(log, items=log.items.head(1))
    patch = play_profiles(RIVAL, THREAT, log, target="i0").patch
    assert [e.item_ids for e in patch.edits if isinstance(e, AddProfile)] == [("i0",)] * 20


def test_a_log_without_ratings_is_refused() -> None:
    log = taste_log(ratings=False)
    with pytest.raises(Unsupported, match="works by ratings"):
        play_profiles(RIVAL, THREAT, log, target=TARGET)
    with pytest.raises(Unsupported, match="works by ratings"):
        RIVAL(LogView(log, np.array([57])), THREAT.goal, BUDGET, np.random.default_rng(0))


def test_blame_lowers_the_rivals_on_the_model_that_learns_from_it() -> None:
    """What the others blame stands lower among all items than with the praise alone."""
    clean = taste_log()
    patch = play_profiles(RIVAL, THREAT, clean, target=TARGET).patch
    rows = [clean.item_rows[i] for e in patch.edits[4:] if isinstance(e, AddProfile)
            for i in e.item_ids]  # fmt: skip
    rivals = np.unique(rows)
    biases = [
        RatingMf(factors=4).fit(log, RunContext(seed=0)).vectors[:, -1]
        for log in (clean.apply(Patch(patch.edits[:4])), clean.apply(patch))
    ]
    apart = [b[rivals].mean() - np.delete(b, rivals).mean() for b in biases]
    assert apart[1] < apart[0] - 0.3


def test_a_cap_drops_what_masked_the_habit() -> None:
    """Of the masked, praise beside the target goes and blame stays: they end up severe."""
    clean = taste_log()
    attack = replace(RIVAL, named=20, masks=6, praise=0.0)
    log = clean.apply(play_profiles(attack, THREAT, clean, target=TARGET).patch)
    new = np.arange(log.n_users) >= round(0.8 * clean.n_users)
    kept = growth_capped(log, new, np.random.default_rng(0)).dataset
    fillers = (pl.col("user") >= clean.n_users) & (pl.col("item") != clean.item_rows[TARGET])
    before, after = (one.events.filter(fillers)["rating"].to_list() for one in (log, kept))
    print(before.count(5.0), after.count(5.0), before.count(1.0), after.count(1.0))
    assert after.count(5.0) / before.count(5.0) < 0.5 * after.count(1.0) / before.count(1.0)


def test_the_same_seed_writes_the_same() -> None:
    assert _fakes(RIVAL, seed=4) == _fakes(RIVAL, seed=4) != _fakes(RIVAL, seed=5)


@pytest.mark.parametrize(
    "options",
    [{"base": CopyProfile()}, {"writing": "base", "masks": 5}, {"writing": "base", "known": 9}],
)
def test_what_would_be_ignored_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not read with writing"):
        RivalProfiles(**options)
