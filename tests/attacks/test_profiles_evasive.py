"""The adaptive attacker who rewrites fake users until the detector lets them pass."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.crafted_profiles import CraftedProfiles
from hardrank.attacks.profiles.disguises import Scene
from hardrank.attacks.profiles.evasive_profiles import EvasiveProfiles
from hardrank.attacks.profiles.rehearsed import Rehearsed
from hardrank.attacks.profiles.selection import sworn, usual
from hardrank.data import AddProfile, Dataset
from hardrank.surrogates import Aim
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Match, Promote, ThreatModel
from hardrank.threats.log import LogView
from hardrank.threats.profiles import play_profiles

TARGET = "i57"
BUDGET = Budget(profiles=10, profile_events=9)
THREAT = ThreatModel(
    goal=Promote(items=(TARGET,), k=5), surface="profiles", budget=BUDGET, log="log"
)
CRAFTED = CraftedProfiles(steps=2)
PLAIN = Rehearsed(candidates=(CopyProfile(), CRAFTED), flagged=0.05)
SMALL = EvasiveProfiles(first=PLAIN, candidates=(CRAFTED,), rounds=2)
Judge = Callable[[Dataset], NDArray[np.float32]]


def _obvious(dataset: Dataset) -> NDArray[np.float32]:
    """Flags whoever has as many events as the budget lets him, or rates the target best."""
    n = np.diff(dataset.offsets)
    users = dataset.events["user"].to_numpy()
    given = dataset.events["rating"].fill_null(0).to_numpy()
    praised = (dataset.event_items == dataset.item_rows[TARGET]) & (given == 5)
    out = (n == BUDGET.profile_events).astype(np.float32)
    out[users[praised]] = 1
    real = taste_log().n_users
    out[:real] = 0  # the planted users are above suspicion
    return out


def _played(attack: object, detector: Judge | None = _obvious, seed: int = 3) -> Match:
    return play_profiles(attack, THREAT, taste_log(), target=TARGET, seed=seed, detector=detector)  # type: ignore[arg-type]


def _flagged(match: Match, detector: Judge = _obvious) -> int:
    log = taste_log()
    return int((detector(log.apply(match.patch))[log.n_users :] > 0).sum())


def test_passes_where_attacks_of_a_fixed_menu_are_flagged() -> None:
    """The detector knows two habits of every attack: full length and five stars."""
    assert _flagged(_played(CRAFTED)) == 10
    assert _flagged(_played(PLAIN)) == 10
    evasive = _played(SMALL)
    assert evasive.profiles == 10
    assert _flagged(evasive) == 0


def test_without_a_detector_it_writes_what_its_first_does() -> None:
    match = _played(SMALL, None)
    assert match.profiles == 10
    lengths = {len(e.item_ids) for e in match.patch.edits if isinstance(e, AddProfile)}
    stars = {
        (e.ratings or ())[e.item_ids.index(TARGET)]
        for e in match.patch.edits
        if isinstance(e, AddProfile)
    }
    assert lengths == {9} and stars == {5.0}


def test_where_nobody_is_flagged_praise_is_whole() -> None:
    """No disguise without need: the best rating stays."""

    def blind(dataset: Dataset) -> NDArray[np.float32]:
        return np.zeros(dataset.n_users, dtype=np.float32)

    match = _played(replace(SMALL, rating_weight=100.0), blind)
    for edit in match.patch.edits:
        assert isinstance(edit, AddProfile) and edit.ratings
        assert edit.ratings[edit.item_ids.index(TARGET)] == 5.0


def test_the_target_stays_in_every_profile_and_no_item_stands_twice() -> None:
    """After many rounds of shortening, crossing, retiming and exchanging, under a detector that
    flags half of them by a feature that they do not control."""

    def odd(dataset: Dataset) -> NDArray[np.float32]:
        histories = dataset.histories()
        out = np.zeros(dataset.n_users, dtype=np.float32)
        for user in range(taste_log().n_users, dataset.n_users):
            out[user] = int(histories.history(user).sum()) % 2
        return out

    match = _played(replace(SMALL, rounds=6), odd)
    for edit in match.patch.edits:
        assert isinstance(edit, AddProfile)
        assert TARGET in edit.item_ids and len(set(edit.item_ids)) == len(edit.item_ids)
        assert edit.ratings is not None and len(edit.ratings) == len(edit.item_ids)
    assert _flagged(match, odd) <= 2


def test_never_worse_than_its_first_on_the_attackers_own_measure() -> None:
    """What the first attacker writes is a candidate, and a round is kept only where it wins."""
    view = LogView(taste_log(), np.array([taste_log().item_rows[TARGET]]), detector=_obvious)
    goal, rng = Promote(items=(TARGET,), k=5), np.random.default_rng(8)
    before = PLAIN(view, goal, BUDGET, rng)
    jury = sworn(view, usual(view, ()), Aim(k=5), rng)
    scene = Scene(view=view, border=0.0, stars=(5.0, 4.0, 3.0), weight=2.0, jury=jury)
    worths = []
    for rounds in (0, 2):
        attack = replace(SMALL, rounds=rounds)
        patch = attack(view, goal, BUDGET, np.random.default_rng(8))
        worths.append(scene.tried(tuple(e for e in patch.edits if isinstance(e, AddProfile))).worth)
    first = scene.tried(tuple(e for e in before.edits if isinstance(e, AddProfile))).worth
    assert first < worths[0] <= worths[1]


def test_a_log_without_ratings_can_be_played() -> None:
    """There, no praise can be lowered; the length alone is disguised."""
    real = taste_log().n_users

    def long(dataset: Dataset) -> NDArray[np.float32]:
        out = (np.diff(dataset.offsets) == BUDGET.profile_events).astype(np.float32)
        out[:real] = 0
        return out

    match = play_profiles(SMALL, THREAT, taste_log(ratings=False), target=TARGET, detector=long)
    assert match.profiles == 10
    assert all(len(e.item_ids) < 9 for e in match.patch.edits if isinstance(e, AddProfile))


def test_the_same_seed_writes_the_same() -> None:
    assert _played(SMALL).patch == _played(SMALL).patch
