"""The attacker who knows a cap on growth plays it through (S4-05)."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hardrank.attacks.profiles.caps import KnownCap, _latest
from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.disguises import Scene
from hardrank.attacks.profiles.evasive_profiles import EvasiveProfiles
from hardrank.attacks.profiles.few_profiles import FewProfiles
from hardrank.attacks.profiles.helped_profiles import HelpedProfiles
from hardrank.attacks.profiles.rehearsed import Rehearsed
from hardrank.attacks.profiles.selection import sworn, usual
from hardrank.data import AddProfile, Dataset
from hardrank.data.growth import growth_capped
from hardrank.experiment.poison_defences import newcomers
from hardrank.surrogates import Aim
from hardrank.testing import ProfileAttackContract
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.log import LogView
from hardrank.threats.profiles import play_profiles

TARGET = "i57"
LOG = taste_log()
BUDGET = Budget(profiles=12, profile_events=9)
GOAL = Promote(items=(TARGET,), k=5)
THREAT = ThreatModel(goal=GOAL, surface="profiles", budget=BUDGET, log="log")
CAP = KnownCap(slack=1.0)
HELPED = HelpedProfiles(named=2, steps=2)
Fakes = tuple[AddProfile, ...]


def _view(detector: object = None) -> LogView:
    return LogView(LOG, np.array([LOG.item_rows[TARGET]]), detector=detector)  # type: ignore[arg-type]


def _fakes(attack: object, detector: object = None) -> Fakes:
    match = play_profiles(attack, THREAT, LOG, target=TARGET, detector=detector)  # type: ignore[arg-type]
    return tuple(e for e in match.patch.edits if isinstance(e, AddProfile))


def _names(fakes: Fakes) -> int:
    return sum(TARGET in f.item_ids for f in fakes)


def _blind(dataset: Dataset) -> NDArray[np.float32]:
    return np.zeros(dataset.n_users, dtype=np.float32)


def _scene(detector: object = _blind, cap: KnownCap | None = None) -> Scene:
    view = _view(detector)
    jury = sworn(view, usual(view, ()), Aim(k=5), np.random.default_rng(1))
    return Scene(
        view=view, border=0.5, stars=(5.0, 4.0, 3.0), weight=2.0, jury=jury, cap=cap, seed=3
    )


def test_what_is_left_is_what_the_defence_leaves() -> None:
    """Who joined last is known from the log, so nothing but the lot among ties is guessed: here
    it is drawn as the attacker draws it."""
    fakes = _fakes(CopyProfile())
    left = CAP.left(_view(), fakes, 3)
    log = LOG.apply(play_profiles(CopyProfile(), THREAT, LOG, target=TARGET).patch)
    new = np.ones(log.n_users, dtype=np.bool_)
    new[: LOG.n_users] = newcomers(LOG, CAP.newcomers, seed=0)
    lot = np.random.default_rng(3)
    lot.permutation(LOG.n_users)
    kept = growth_capped(log, new, lot, slack=1.0).dataset
    mine = kept.events["user"].to_numpy() >= LOG.n_users
    assert sum(len(f.item_ids) for f in left) == mine.sum() < sum(len(f.item_ids) for f in fakes)
    assert _names(left) == (mine & (kept.event_items == LOG.item_rows[TARGET])).sum() < 12


def test_events_that_stay_keep_their_ratings_and_times() -> None:
    fakes = _fakes(CopyProfile())
    for fake in CAP.left(_view(), fakes, 3):
        (whole,) = [f for f in fakes if f.user_id == fake.user_id]
        events = zip(whole.item_ids, whole.ratings or (), whole.times or (), strict=True)
        kept = zip(fake.item_ids, fake.ratings or (), fake.times or (), strict=True)
        assert set(kept) <= set(events)


def test_a_cap_that_is_wide_takes_nothing() -> None:
    fakes = _fakes(CopyProfile())
    assert KnownCap(slack=1e6).left(_view(), fakes, 0) == fakes


def test_the_worth_is_of_what_the_cap_leaves() -> None:
    """Praise that does not pass is worth nothing: twelve who name the target are worth what
    is left of them."""
    fakes = _fakes(CopyProfile())
    capped, free = _scene(cap=CAP), _scene()
    assert capped.tried(fakes).worth[0] == free.tried(CAP.left(_view(), fakes, 3)).worth[0]
    assert capped.tried(fakes).worth[0] < free.tried(fakes).worth[0]


def test_of_equal_worth_those_are_better_who_name_the_target() -> None:
    """Helpers alone are no attack, however many of them pass."""
    fakes = _fakes(HELPED)
    assert _scene().tried(fakes).worth[1] == 2
    assert _scene().tried(fakes[2:]).worth[1] == 0


def test_rehearsed_takes_what_wins_most_behind_the_cap() -> None:
    """All copies praise, and none of their praise passes; two who rate as usual do."""
    menu = (HELPED, CopyProfile())
    assert _names(_fakes(Rehearsed(candidates=menu))) == 12
    assert _names(_fakes(Rehearsed(candidates=menu, cap=CAP))) == 2


def test_helpers_never_name_the_target_whatever_is_done_to_them() -> None:
    """Shortened, crossed, retimed, exchanged along a slope that asks for the target most."""
    scene, rng = _scene(), np.random.default_rng(0)
    named, helper = _fakes(HELPED)[0], _fakes(HELPED)[-1]
    assert TARGET in named.item_ids and TARGET not in helper.item_ids
    slope = np.zeros(LOG.n_items)
    slope[LOG.item_rows[TARGET]] = -100.0
    for _ in range(20):
        helper = scene.disguised(helper, (named,), slope, rng)
        helper = scene.exchanged(helper, slope, 0.5, rng)
        assert TARGET not in helper.item_ids
        assert 0 < len(helper.item_ids) == len(set(helper.item_ids)) == len(helper.ratings or ())
        named = scene.disguised(named, (helper,), slope, rng)
        assert TARGET in scene.exchanged(named, slope, 0.5, rng).item_ids


def test_a_helper_is_shortened_to_what_serves_best() -> None:
    scene, rng = _scene(), np.random.default_rng(0)
    helper = _fakes(HELPED)[-1]
    slope = np.full(LOG.n_items, 1.0)
    best = helper.item_ids[3]
    slope[LOG.item_rows[best]] = -10.0
    shorter = [scene._shortened(helper, slope, rng) for _ in range(20)]
    assert min(len(f.item_ids) for f in shorter) < len(helper.item_ids)
    assert all(best in f.item_ids for f in shorter)


def test_praise_is_lowered_by_turns_among_those_who_give_it() -> None:
    """From what the base attack gave, and never raised."""
    scene = _scene()
    row = scene.view.items["item_id"].to_list()
    helper = AddProfile(user_id="h", item_ids=(row[0],), ratings=(2.0,))

    def namer(star: float) -> AddProfile:
        return AddProfile(user_id="n", item_ids=(row[1], TARGET), ratings=(1.0, star))

    fakes = (namer(5.0), helper, namer(5.0), namer(4.0), helper, namer(4.0), namer(2.0))
    given = [scene.given(f) for f in scene.praised(fakes, 0.5)]
    assert given == [5.0, None, 4.0, 4.0, None, 3.0, 2.0]
    assert scene.praised(fakes, 0.0) == fakes
    assert scene.praised(fakes, 9.0)[0].ratings == (1.0, 3.0)


def test_against_both_defences_helpers_are_disguised_and_stay_helpers() -> None:
    """The detector knows the full length of those who name the target and of those who do not;
    the cap takes the events of those who are too many."""
    real = LOG.n_users

    def long(dataset: Dataset) -> NDArray[np.float32]:
        out = (np.diff(dataset.offsets) >= BUDGET.profile_events - 1).astype(np.float32)
        out[:real] = 0
        return out

    attack = EvasiveProfiles(
        first=Rehearsed(candidates=(CopyProfile(),), cap=CAP), candidates=(HELPED,),
        lengths=(1.0, 0.65), rounds=2,
    )  # fmt: skip
    fakes = _fakes(attack, long)
    assert 0 < _names(fakes) < len(fakes) == 12
    assert all(0 < len(f.item_ids) < 8 for f in fakes)
    assert fakes == _fakes(attack, long)


@pytest.mark.parametrize("times", [True, False])
def test_who_is_new_is_the_share_of_the_users_who_joined_last(times: bool) -> None:
    """By lot where the log has no times; and what is left depends on nothing but the seed."""
    log = taste_log(times=times)
    view = LogView(log, np.array([log.item_rows[TARGET]]))
    lots = [_latest(view, CAP.newcomers, np.random.default_rng(seed)) for seed in (1, 2)]
    assert [lot.sum() for lot in lots] == [round(CAP.newcomers * log.n_users)] * 2
    assert (lots[0] == lots[1]).all() == times
    if times:
        assert (lots[0] == newcomers(log, CAP.newcomers, seed=0)).all()
    fakes = tuple(
        e for e in play_profiles(CopyProfile(), THREAT, log, target=TARGET).patch.edits
        if isinstance(e, AddProfile)
    )  # fmt: skip
    assert CAP.left(view, fakes, 1) == CAP.left(view, fakes, 1)


class TestRehearsedWithHelpers(ProfileAttackContract):
    """In any log, with a cap and candidates that do not always name the target."""

    cases = 3
    names_target = False
    may_refuse = 0.5

    def make(self) -> Rehearsed:
        few = FewProfiles(base=CopyProfile(), profiles=2, praise="usual")
        return Rehearsed(candidates=(HELPED, few), cap=CAP)
