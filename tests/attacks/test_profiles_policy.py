"""A policy learns by reward alone what to write, and to avoid what the detector flags."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.attacks.profiles.policy_profiles import Learning, PolicyProfiles
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.generators.profile_policy import (
    ProfilePolicy,
    advantages,
    ascend,
    grouped,
    new_policy,
)
from hardrank.surrogates import EaseSurrogate
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.log import LogView
from hardrank.threats.profiles import check_profiles, play_profiles
from hardrank.types import Floats

_LOG = taste_log(users=120, items=150, events=14, seed=2)
_TARGET, _K = "i149", 10
_GOAL = Promote(items=(_TARGET,), k=_K)
_BUDGET = Budget(profiles=20, profile_events=12)
_POLICY = PolicyProfiles(
    surrogates=(EaseSurrogate(weight=20.0),), factors=6, width=16, steps=25, batch=16, finals=8
)
_QUERIES = 25 * 16 + 8


def _learned(attack: PolicyProfiles, detector: Any = None, seed: int = 0) -> Learning:
    view = LogView(_LOG, np.asarray([_LOG.item_rows[_TARGET]]), None, detector)
    return attack.learned(view, _GOAL, _BUDGET, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def learned() -> Learning:
    return _learned(_POLICY)


def _profiles(patch: Patch) -> list[tuple[str, ...]]:
    return [edit.item_ids for edit in patch.edits if isinstance(edit, AddProfile)]


def _rows(log: Dataset) -> np.ndarray[Any, np.dtype[np.float64]]:
    out = np.zeros((log.n_users, log.n_items))
    out[log.events["user"].to_numpy(), log.event_items] = 1
    return out


def _shown(patch: Patch) -> float:
    """T-HR@k, over real users who never touched the target, of neighbours by cosine in the
    poisoned log."""
    rows = _rows(_LOG.apply(patch))
    long = np.linalg.norm(rows, axis=0)
    cosines = rows.T @ rows / np.maximum(np.outer(long, long), 1e-9)
    np.fill_diagonal(cosines, 0)
    real, target = rows[: _LOG.n_users], _LOG.item_rows[_TARGET]
    scores = np.where(real > 0, -np.inf, real @ cosines)
    eligible = real[:, target] == 0
    better = (scores >= scores[:, [target]]).sum(axis=1) - 1
    return float((better[eligible] < _K).mean())


def test_reward_rises_over_training(learned: Learning) -> None:
    """S2-33: the mean reward of a step's samples. One that learns nothing does not rise."""
    rewards = np.asarray(learned.rewards)
    assert len(rewards) == 25
    thirds = [part.mean() for part in (rewards[:8], rewards[8:16], rewards[17:])]
    assert thirds[0] < thirds[1] < thirds[2]
    still = np.asarray(_learned(replace(_POLICY, learning_rate=0.0)).rewards)
    assert rewards[-8:].mean() > still.mean() + 5 * still.std()


def test_every_sample_is_a_valid_profile(learned: Learning) -> None:
    """S2-33: ids of the catalogue, each once, the target in each, as many events as allowed."""
    check_profiles(learned.patch, _BUDGET, _LOG)
    profiles = _profiles(learned.patch)
    assert len(profiles) == 20
    assert all(len(set(ids)) == 12 and ids[-1] == _TARGET for ids in profiles)


def test_ten_points_more_than_a_random_policy_with_the_same_queries(learned: Learning) -> None:
    """S1-49: on a victim of another kind than the surrogate, the best of as many random sets."""
    random = replace(_POLICY, learning_rate=0.0, steps=1, batch=2, finals=_QUERIES - 2)
    assert _shown(learned.patch) >= _shown(_learned(random).patch) + 0.10


class _Allergic:
    """Suspects who has both the target and one certain item: nobody in the clean log."""

    def __init__(self, item: str) -> None:
        self.pair, self.calls = [_LOG.item_rows[item], _LOG.item_rows[_TARGET]], 0

    def __call__(self, dataset: Dataset) -> Floats:
        self.calls += 1
        return _rows(dataset)[:, self.pair].all(axis=1).astype(np.float32)


@pytest.mark.parametrize("asking", [1, 3])
def test_it_learns_to_avoid_what_the_detector_flags(learned: Learning, asking: int) -> None:
    """Through a detector that has no gradient. It is asked on the clean log, every `asking`
    steps and once for each last set."""
    counts = Counter(
        i for e in learned.patch.edits if isinstance(e, AddProfile) for i in e.item_ids
    )
    item = counts.most_common(2)[1][0]
    detector = _Allergic(item)
    shy = replace(_POLICY, evasion=0.8, asking=asking)
    made = _learned(shy, detector)
    assert detector.calls == 1 + -(-25 // asking) + 8
    flagged = int(detector(_LOG.apply(made.patch)).sum())
    assert flagged <= counts[item] / 3


def test_same_seed_same_patch_and_a_call_gives_what_was_learned() -> None:
    brief = replace(_POLICY, steps=2, finals=2)
    threat = ThreatModel(goal=_GOAL, surface="profiles", budget=_BUDGET)
    first = play_profiles(brief, threat, _LOG, target=_TARGET, seed=3).patch
    torch.manual_seed(5)
    assert play_profiles(brief, threat, _LOG, target=_TARGET, seed=3).patch == first
    assert play_profiles(brief, threat, _LOG, target=_TARGET, seed=4).patch != first
    view = LogView(_LOG, np.asarray([_LOG.item_rows[_TARGET]]))
    called = brief(view, _GOAL, _BUDGET, np.random.default_rng(0))
    assert called == _learned(brief).patch


def test_no_profiles_no_patch() -> None:
    view = LogView(_LOG, np.asarray([_LOG.item_rows[_TARGET]]))
    none = Budget(profiles=0, profile_events=5)
    assert _POLICY(view, _GOAL, none, np.random.default_rng(0)) == Patch()


def _policy(items: int, depth: int, seed: int = 0) -> ProfilePolicy:
    features = np.random.default_rng(seed).normal(size=(items, 4)).astype(np.float32)
    menu = grouped(features, np.arange(1, items), depth)
    return new_policy(features, menu, features[0], width=6, seed=seed)


@settings(max_examples=40, deadline=None)
@given(items=st.integers(3, 40), depth=st.integers(0, 4), seed=st.integers(0, 99))
def test_the_tree_holds_every_item_once(items: int, depth: int, seed: int) -> None:
    depth = min(depth, int(np.log2(items - 1)))
    features = np.random.default_rng(seed).normal(size=(items, 3)).astype(np.float32)
    menu = grouped(features, np.arange(1, items), depth)
    assert len(menu) == 2**depth
    assert sorted(menu[menu >= 0].tolist()) == list(range(1, items))
    sizes = (menu >= 0).sum(axis=1)
    assert sizes.max() - sizes.min() <= 1


def test_the_tree_splits_where_items_differ_most() -> None:
    features = np.array([[9, 0], [1, 0.1], [8, 0.2], [0, 0.3]], dtype=np.float32)
    assert [sorted(group) for group in grouped(features, np.arange(4), 1).tolist()] == [
        [1, 3],
        [0, 2],
    ]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), items=st.integers(4, 30))
def test_draws_are_valid_and_replayed_with_their_chance(seed: int, items: int) -> None:
    """S2-33: whatever the weights, no item twice and none off the menu, up to the last one; and
    the log-probability of each draw is the same when read back at once."""
    policy = _policy(items, min(2, int(np.log2(items - 1))), seed)
    draw = torch.Generator().manual_seed(seed)
    for weight in policy.parameters():
        torch.nn.init.normal_(weight, generator=draw)
    lengths = np.array([items - 1, 1, max(items // 2, 1)])
    drawn = policy.write(lengths, draw)
    for rows, length in zip(drawn.profiles(), lengths.tolist(), strict=True):
        assert len(set(rows.tolist())) == length
        assert set(rows.tolist()) <= set(range(1, items))
    chances, entropies = policy.replayed(drawn)
    torch.testing.assert_close(
        chances[drawn.inside], drawn.chances[drawn.inside], atol=1e-4, rtol=1e-4
    )
    assert (entropies[drawn.inside] >= -1e-5).all()


def test_an_untrained_policy_draws_evenly() -> None:
    """Groups of equal size: each of the 16 items first with chance 1/16."""
    drawn = _policy(17, 2).write(np.array([3]), torch.Generator().manual_seed(0))
    assert drawn.chances[0, 0].exp().item() == pytest.approx(1 / 16, rel=1e-5)


def test_a_bandit_by_hand() -> None:
    """Profiles of one item, of which one pays: the policy comes to draw nothing else."""
    policy, draw = _policy(9, 1, seed=1), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(policy.parameters(), lr=0.05)
    for _ in range(60):
        drawn = policy.write(np.ones(32, dtype=np.int64), draw)
        rewards = (drawn.rows[:, 0] == 5).numpy().astype(float)
        ascend(policy, optimiser, drawn, advantages(rewards), epochs=3, clip=0.2, entropy=0.0)
    last = policy.write(np.ones(200, dtype=np.int64), draw)
    assert (last.rows[:, 0] == 5).float().mean() > 0.9


@pytest.mark.parametrize(
    ("ratio", "gain", "moves"),
    [(2.0, 1.0, False), (2.0, -1.0, True), (0.5, -1.0, False), (0.5, 1.0, True), (1.1, 1.0, True)],
)
def test_a_chance_that_moved_far_enough_moves_no_further(
    ratio: float, gain: float, moves: bool
) -> None:
    """Equation 7: beyond 1 +- clip on the side that the gain asks for, no gradient; on the other
    side all of it. A profile of one draw, so nothing else can move."""
    policy = _policy(9, 1, seed=1)
    drawn = policy.write(np.ones(1, dtype=np.int64), torch.Generator().manual_seed(0))
    drawn = replace(drawn, chances=drawn.chances - np.log(ratio))
    before = {k: v.clone() for k, v in policy.state_dict().items()}
    ascend(
        policy, torch.optim.SGD(policy.parameters(), lr=0.1), drawn, np.array([gain]),
        epochs=1, clip=0.2, entropy=0.0,
    )  # fmt: skip
    after = policy.state_dict()
    assert any(not torch.equal(v, after[k]) for k, v in before.items()) is moves
    now = float(policy.replayed(drawn)[0].detach()[0, 0])
    rise = now - float(drawn.chances[0, 0]) - np.log(ratio)
    assert np.sign(round(rise, 5)) == (np.sign(gain) if moves else 0)


def test_advantages_by_hand() -> None:
    """1 less the mean of the others (0, 2) is 0; 0 less 1.5 and 2 less 0.5 in deviations."""
    unit = np.sqrt(2 / 3)
    np.testing.assert_allclose(advantages(np.array([0.0, 1.0, 2.0])), [-1.5 / unit, 0, 1.5 / unit])
    assert advantages(np.full(4, -7.3)).tolist() == [0.0] * 4
    assert advantages(np.array([3.0])).tolist() == [0.0]
