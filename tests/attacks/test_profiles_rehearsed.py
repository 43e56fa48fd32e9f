"""The adaptive attacker plays the defence through."""

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.profiles.bandwagon import Bandwagon
from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.random_profiles import RandomProfiles
from hardrank.attacks.profiles.rehearsed import Rehearsed
from hardrank.data import AddProfile, Dataset
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Match, Promote, ThreatModel
from hardrank.threats.profiles import play_profiles

TARGET = "i57"
THREAT = ThreatModel(
    goal=Promote(items=(TARGET,), k=5), surface="profiles",
    budget=Budget(profiles=10, profile_events=9),
)  # fmt: skip


def _copies(dataset: Dataset) -> NDArray[np.float32]:
    """(U,) 1 for who has the target, and else only what one other user has, too."""
    matrix = np.zeros((dataset.n_users, dataset.n_items))
    matrix[dataset.events["user"].to_numpy(), dataset.event_items] = 1
    target = dataset.item_rows[TARGET]
    knows = matrix[:, target] > 0
    matrix[:, target] = 0
    shared = matrix @ matrix.T
    np.fill_diagonal(shared, 0)
    copied = shared.max(axis=1) >= np.maximum(matrix.sum(axis=1), 1)
    return (knows & copied).astype(np.float32)


def _played(candidates: tuple[object, ...], detector: object = None) -> Match:
    attack = Rehearsed(candidates=candidates, flagged=0.05)  # type: ignore[arg-type]
    return play_profiles(attack, THREAT, taste_log(), target=TARGET, detector=detector)  # type: ignore[arg-type]


def _flagged(match: Match) -> int:
    log = taste_log()
    return int(_copies(log.apply(match.patch))[log.n_users :].sum())


def test_without_a_detector_the_strongest_candidate_is_taken() -> None:
    """Copies of real users reach more lists than random ones, on the attacker's surrogates."""
    best = _played((RandomProfiles(), CopyProfile()))
    alone = _played((CopyProfile(),))
    items = [e.item_ids for e in best.patch.edits if isinstance(e, AddProfile)]
    own = taste_log().histories()
    rows = taste_log().item_rows
    pasts = [set(own.history(u).tolist()) for u in range(len(own))]
    copied = [any({rows[i] for i in ids} - {rows[TARGET]} <= past for past in pasts)
              for ids in items]  # fmt: skip
    assert all(copied) and len(items) == 10
    assert alone.profiles == 10


def test_with_one_it_writes_what_the_detector_lets_pass() -> None:
    """Every copy is flagged by the detector of copies; an attacker who knows it writes others."""
    plain = _played((CopyProfile(),))
    assert _flagged(plain) == 10
    adapted = _played((CopyProfile(), Bandwagon()), _copies)
    assert _flagged(adapted) < 5


def test_survivors_of_all_candidates_are_joined() -> None:
    """Where no candidate passes whole, what is left of each makes one patch within the budget,
    with names of its own."""
    log = taste_log()

    def odd(dataset: Dataset) -> NDArray[np.float32]:
        """Flags new users whose last item's number is even; whoever they are."""
        histories = dataset.histories()
        real = np.zeros(log.n_users, dtype=np.float32)
        fakes = [min(histories.history(u)) % 2 == 0 for u in range(log.n_users, dataset.n_users)]
        return np.concatenate([real, np.array(fakes, dtype=np.float32)])

    match = _played((CopyProfile(), RandomProfiles(), Bandwagon()), odd)
    names = [e.user_id for e in match.patch.edits if isinstance(e, AddProfile)]
    assert len(set(names)) == len(names) <= 10
    poisoned = log.apply(match.patch)
    assert odd(poisoned)[log.n_users :].sum() == 0


def test_the_same_seed_writes_the_same() -> None:
    first = _played((CopyProfile(), Bandwagon()), _copies)
    assert first.patch == _played((CopyProfile(), Bandwagon()), _copies).patch
