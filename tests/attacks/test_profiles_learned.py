"""Learned profile attacks: feasible at every step, better than what they begin from, adaptive."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.crafted_profiles import CraftedProfiles
from hardrank.attacks.profiles.parts import Draft
from hardrank.attacks.profiles.pga import Pga
from hardrank.attacks.profiles.random_profiles import RandomProfiles
from hardrank.attacks.profiles.rev_adv import RevAdv
from hardrank.attacks.profiles.selection import Crowd, invented, recruited, rounded, squeezed
from hardrank.context import RunContext
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.errors import Unsupported
from hardrank.surrogates import Aim, AlsSurrogate, EaseSurrogate, UnrolledSurrogate
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.log import LogView
from hardrank.threats.profiles import play_profiles
from hardrank.types import Floats

_LOG = taste_log(users=60, items=45, events=12, seed=2)
_TARGET = "i44"
_ALS = AlsSurrogate(factors=6, sweeps=4)
_ATTACKS = [
    CraftedProfiles(surrogates=(EaseSurrogate(weight=20.0), _ALS), steps=5),
    Pga(surrogate=_ALS, steps=12),
    RevAdv(surrogate=UnrolledSurrogate(factors=6, sweeps=3, afresh=True), steps=20, restarts=2),
]
_ids = {"ids": lambda attack: attack.kind}


def _threat(profiles: int = 6, events: int = 8) -> ThreatModel:
    return ThreatModel(
        goal=Promote(items=(_TARGET,), k=5),
        surface="profiles",
        budget=Budget(profiles=profiles, profile_events=events),
    )


def _played(attack: Any, *, seed: int = 0, detector: Any = None, **budget: int) -> Patch:
    return play_profiles(
        attack, _threat(**budget), _LOG, target=_TARGET, seed=seed, detector=detector
    ).patch


def _rows(log: Dataset) -> np.ndarray[Any, np.dtype[np.float64]]:
    out = np.zeros((log.n_users, log.n_items))
    out[log.events["user"].to_numpy(), log.event_items] = 1
    return out


def _shown(patch: Patch, k: int = 5) -> float:
    """T-HR@k of an EASE that is trained here, from scratch, on log and fakes."""
    both = _rows(_LOG.apply(patch))
    inverse = np.linalg.inv(both.T @ both + 20.0 * np.eye(_LOG.n_items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    real, target = both[: _LOG.n_users], _LOG.item_rows[_TARGET]
    scores = np.where(real > 0, -np.inf, real @ weights)
    eligible = real[:, target] == 0
    better = (scores > scores[:, [target]]).sum(axis=1)
    return float((better[eligible] < k).mean())


def _crowd(sizes: list[int], rows: list[list[int]], n_items: int = 8) -> Crowd:
    drafts = tuple(
        Draft(rows=np.asarray(r, dtype=np.int64), ratings=np.zeros(len(r), np.float32))
        for r in rows
    )
    return Crowd(drafts=drafts, targets=np.asarray([7]), sizes=np.asarray(sizes), n_items=n_items)


def test_crafted_profiles_beat_what_they_begin_from() -> None:
    """On an EASE that the attack never saw, against copies and random fillers, one budget."""
    made = CraftedProfiles(surrogates=(EaseSurrogate(weight=20.0), _ALS), steps=20, stealth=0.2)
    crafted = _shown(_played(made, profiles=12))
    copies = _shown(_played(CopyProfile(), profiles=12))
    random = _shown(_played(RandomProfiles(), profiles=12))
    assert crafted >= max(copies, random) + 0.04


@pytest.mark.parametrize("attack", _ATTACKS[1:], **_ids)
def test_gradients_beat_their_own_start(attack: Any) -> None:
    """A surrogate from another random start likes the profiles better than those after one
    step."""
    judge = attack.surrogate.fit(_LOG, RunContext(seed=99))
    target = torch.tensor([_LOG.item_rows[_TARGET]])

    def loss(made: Any) -> float:
        fakes = [_rows(_LOG.apply(_played(made, seed=n)))[_LOG.n_users :] for n in range(3)]
        losses = [judge.promotion(torch.as_tensor(f), target, Aim(k=5)) for f in fakes]
        return float(torch.stack(losses).mean())

    first = type(attack)(surrogate=attack.surrogate, steps=1)
    assert loss(attack) < loss(first)


@pytest.mark.parametrize("attack", _ATTACKS, **_ids)
def test_profiles_use_the_budget_and_are_different_people(attack: Any) -> None:
    patch = _played(attack)
    sets = [frozenset(e.item_ids) for e in patch.edits if isinstance(e, AddProfile)]
    assert [len(s) for s in sets] == [8] * 6
    assert all(_TARGET in s for s in sets)
    assert len(set(sets)) == 6


@pytest.mark.parametrize("attack", _ATTACKS, **_ids)
def test_no_profiles_no_patch_and_no_demotion(attack: Any) -> None:
    assert _played(attack, profiles=0) == Patch()
    assert attack.goals == ("promote",)
    assert attack.needs == "log"


def test_a_target_alone_fits_a_budget_of_one_event() -> None:
    for attack in _ATTACKS:
        edits = _played(attack, profiles=2, events=1).edits
        assert [e.item_ids for e in edits if isinstance(e, AddProfile)] == [(_TARGET,)] * 2


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_stealth_keeps_that_share_of_a_real_history(share: float) -> None:
    """Each fake user shares the fillers asked for with one real user, rated as that one did."""
    made = CraftedProfiles(surrogates=(EaseSurrogate(weight=20.0),), steps=10, stealth=share)
    real = [
        dict(zip(e["item"].to_list(), e["rating"].to_list(), strict=True))
        for e in _LOG.events.partition_by("user")
    ]
    for edit in _played(made, events=6).edits:
        assert isinstance(edit, AddProfile)
        assert edit.ratings is not None
        fillers = list(zip(edit.item_ids, edit.ratings, strict=True))[:-1]
        rows = [(_LOG.item_rows[i], r) for i, r in fillers]
        kept = max(sum(user.get(i) == r for i, r in rows) for user in real)
        assert kept >= np.ceil(share * 5)


class _Shy:
    """Suspects users by the share of their events that lie outside one taste group."""

    calls = 0

    def __call__(self, dataset: Dataset) -> Floats:
        self.calls += 1
        rows = _rows(dataset)
        inside = np.stack([rows[:, g::3].sum(1) for g in range(3)]).max(axis=0)
        with np.errstate(invalid="ignore"):
            return (1 - inside / rows.sum(1)).astype(np.float32)


def _doubt(patch: Patch) -> float:
    """Mean share of the real users who look less suspicious than a fake one."""
    scores = _Shy()(_LOG.apply(patch))
    real, fake = scores[: _LOG.n_users], scores[_LOG.n_users :]
    return float((real[None] < fake[:, None]).mean())


def test_who_knows_the_detector_is_suspected_less() -> None:
    """All the weight on suspicion gives a less suspected set than without a detector; all on
    exposure, one that lists more."""
    detector, threat = _Shy(), _threat(profiles=12)
    assert isinstance(threat.goal, Promote)

    def made(seen: Any, evasion: float) -> Patch:
        attack = CraftedProfiles(
            surrogates=(EaseSurrogate(weight=20.0),), steps=10, stealth=0.0, evasion=evasion
        )
        view = LogView(_LOG, np.asarray([_LOG.item_rows[_TARGET]]), None, seen)
        return attack(view, threat.goal, threat.budget, np.random.default_rng(4))

    plain, hidden, bold = made(None, 0.5), made(detector, 1.0), made(detector, 0.0)
    assert detector.calls == 8  # three shares and the mix of their versions, twice
    assert _doubt(hidden) < _doubt(plain)
    assert _doubt(hidden) < _doubt(bold)
    assert _shown(bold) > _shown(hidden)


def test_ease_is_left_out_where_the_catalogue_is_too_large_only_if_nobody_asked() -> None:
    asked = CraftedProfiles(surrogates=(EaseSurrogate(most_items=10),), steps=1)
    with pytest.raises(Unsupported, match="at most 10"):
        _played(asked)


def test_who_is_recruited_has_a_history_long_enough() -> None:
    view = LogView(_LOG, np.asarray([_LOG.item_rows[_TARGET]]))
    budget = Budget(profiles=5, profile_events=10)
    crowd = recruited(view, budget, np.random.default_rng(0))
    assert all(len(d.rows) >= 9 for d in crowd.drafts)
    assert all(_LOG.item_rows[_TARGET] not in d.rows for d in crowd.drafts)
    many = recruited(view, Budget(profiles=200, profile_events=10), np.random.default_rng(0))
    assert len(many.drafts) == 200
    assert not invented(view, budget, np.random.default_rng(0)).own.any()


def test_rounding_by_hand() -> None:
    """Targets first; then the best own events that must stay; then the best of any."""
    crowd = _crowd([4, 3], [[0, 1, 2], [3]])
    soft = torch.tensor([[1, 2, 3, 9, 8, 7, 0, 0], [5, 4, 6, 1, 0, 0, 0, 0]]).float()
    free = [[0, 0, 0, 1, 1, 1, 0, 1], [1, 0, 1, 0, 0, 0, 0, 1]]
    most = [[0, 1, 1, 1, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0, 0, 1]]
    every = [[1, 1, 1, 0, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0, 0, 1]]
    for share, expected in ((0.0, free), (0.5, most), (1.0, every)):
        assert rounded(crowd, soft, share).tolist() == expected


def test_projection_by_hand() -> None:
    """A row that fits stays; one that does not is lowered by the same amount everywhere."""
    crowd = _crowd([3, 3], [[], []], n_items=8)
    soft = torch.tensor([[1.5, 1, 0.5, 0, 0, 0, 0, 0], [0.5, -1, 0.25, 0, 0, 0, 0, 0.0]])
    out = squeezed(crowd, soft)
    expected = torch.tensor([[1, 0.75, 0.25, 0, 0, 0, 0, 1], [0.5, 0, 0.25, 0, 0, 0, 0, 1]])
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4))
def test_projection_is_the_nearest_feasible_row(seed: int, sizes: list[int]) -> None:
    """Feasible, and no random feasible row lies nearer."""
    rng = np.random.default_rng(seed)
    crowd = _crowd(sizes, [[]] * len(sizes))
    soft = torch.as_tensor(rng.normal(0.4, 1.0, size=(len(sizes), 8)))
    out = squeezed(crowd, soft)
    assert ((out >= 0) & (out <= 1)).all()
    assert (out[:, 7] == 1).all()
    assert (out.sum(1) <= crowd.lengths + 1e-6).all()
    for row, near, size in zip(soft[:, :7], out[:, :7], sizes, strict=True):
        for _ in range(20):
            other = torch.as_tensor(rng.random(7))
            other = other * min(1.0, (size - 1) / float(other.sum()))
            assert (row - near).norm() <= (row - other).norm() + 1e-6
