"""The two published generators of fake users: what they keep of a template, what they write."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.attacks.profiles.aush import Aush
from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.kin import kin
from hardrank.attacks.profiles.leg_up import LegUp
from hardrank.context import RunContext
from hardrank.data import AddProfile, Dataset
from hardrank.data.sources import MovieLens
from hardrank.errors import DataError
from hardrank.generators.leg_up_training import Tutors
from hardrank.surrogates import Aim, EaseSurrogate
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.log import LogView
from hardrank.threats.profiles import play_profiles

BRISK_AUSH = {"steps": 5, "width": 8, "batch": 16}
EASE = EaseSurrogate(weight=20.0)
BRISK_LEG = {"steps": 4, "pretraining": 4, "width": 8, "batch": 16, "surrogates": (EASE,)}


def played(
    attack: Any, train: Dataset, target: str = "i59", profiles: int = 6, events: int = 9,
    seed: int = 0,
) -> list[AddProfile]:  # fmt: skip
    threat = ThreatModel(
        goal=Promote(items=(target,)), surface="profiles",
        budget=Budget(profiles=profiles, profile_events=events),
    )  # fmt: skip
    patch = play_profiles(attack, threat, train, target=target, seed=seed).patch
    return [edit for edit in patch.edits if isinstance(edit, AddProfile)]


def owners(train: Dataset, rated: dict[str, float | None]) -> list[int]:
    """Users with all these items, rated so."""
    joined = train.events.with_columns(item_id=train.items["item_id"].gather(train.events["item"]))
    found = []
    for user, events in joined.group_by("user"):
        own = dict(zip(events["item_id"], events["rating"], strict=True))
        if all(i in own and own[i] == r for i, r in rated.items()):
            found.append(int(user[0]))
    return found


def segment(train: Dataset, target: str, count: int) -> set[str]:
    row = train.item_rows[target]
    alike = kin(LogView(train, np.asarray([row])))
    alike[row] = -1
    rows = np.argsort(-alike, kind="stable")[:count]
    return set(train.items["item_id"].gather(rows).to_list())


def test_aush_keeps_the_templates_ratings_and_writes_those_of_the_selected() -> None:
    """S2-10. Fillers are one real user's, with his ratings; the target gets the top (a public
    toolbox gave that to the selected items instead); selected ratings are whole."""
    train = taste_log()
    chosen = segment(train, "i59", 3)
    for profile in played(Aush(**BRISK_AUSH), train):
        assert profile.ratings is not None and len(profile.item_ids) == 9
        rated = dict(zip(profile.item_ids, profile.ratings, strict=True))
        assert rated.pop("i59") == 5.0
        assert chosen <= set(rated)
        assert all(rated.pop(item) in (1, 2, 3, 4, 5) for item in chosen)
        assert len(rated) == 5 and owners(train, dict(rated))


def test_aush_rates_by_template_when_honest_and_the_top_when_shilling() -> None:
    train = taste_log()
    chosen = segment(train, "i59", 3)
    shill = Aush(adversarial=0, reconstruction=0, steps=150, learning_rate=1e-2, width=8)
    for profile in played(shill, train):
        rated = dict(zip(profile.item_ids, profile.ratings or (), strict=True))
        assert [rated[item] for item in chosen] == [5.0] * 3
    honest = Aush(adversarial=0, shilling=0, steps=150, learning_rate=1e-2, width=8)
    written = [
        rating
        for profile in played(honest, train, profiles=20)
        for item, rating in zip(profile.item_ids, profile.ratings or (), strict=True)
        if item in chosen
    ]
    assert min(written) < 4 < max(written)


def test_aush_without_ratings_chooses_items_of_the_segment() -> None:
    train = taste_log(ratings=False)
    pool = segment(train, "i59", 12)
    for profile in played(Aush(pool=12, selected=4, **BRISK_AUSH), train):
        assert profile.ratings is None and "i59" in profile.item_ids
        rest = set(profile.item_ids) - {"i59"}
        assert len(rest) == 8 and len(rest & pool) == 4
        assert owners(train, dict.fromkeys(rest - pool))


def test_leg_up_keeps_to_template_and_levels() -> None:
    """With nothing outside the template every event but the target's is one real user's."""
    train = taste_log()
    for profile in played(LegUp(outside=0.0, **BRISK_LEG), train):
        assert profile.ratings is not None
        rated = dict(zip(profile.item_ids, profile.ratings, strict=True))
        assert rated.pop("i59") == 5.0 and len(rated) == 8
        assert set(rated.values()) <= {1.0, 2.0, 3.0, 4.0, 5.0}
        assert any(
            set(rated) <= {train.items["item_id"][int(i)] for i in train.histories().history(u)}
            for u in range(train.n_users)
        )


def test_leg_up_leaves_the_template_as_far_as_it_is_told() -> None:
    train = taste_log()
    for profile in played(LegUp(outside=0.5, **BRISK_LEG), train):
        own = set(profile.item_ids) - {"i59"}
        shared = max(
            len(own & {train.items["item_id"][int(i)] for i in train.histories().history(u)})
            for u in range(train.n_users)
        )
        assert len(own) == 8 and shared >= 4


@pytest.mark.parametrize("attack", [Aush(**BRISK_AUSH), LegUp(**BRISK_LEG)])
def test_same_seed_same_profiles_whatever_was_played_before(attack: Any) -> None:
    """Also where what is shared between targets comes from memory in one case."""
    train = taste_log()
    Tutors._last.clear()
    first = played(attack, train)
    played(attack, train, target="i58")
    assert played(attack, train) == first
    assert played(attack, train, seed=1) != first


@pytest.mark.parametrize("attack", [Aush(**BRISK_AUSH), LegUp(**BRISK_LEG)])
def test_odd_logs(attack: Any) -> None:
    """No times, no ratings, one-event users, a target nobody touched, more fillers than
    items; a log without events says so."""
    train = taste_log(ratings=False, times=False, users=20, items=12, events=2)
    assert len(played(attack, train, target="i11", events=40)) == 6
    assert all(p.item_ids == ("i11",) for p in played(attack, train, target="i11", events=1))
    empty = train.where(pl.lit(False))
    with pytest.raises(DataError, match="no user to take"):
        played(attack, empty, target="i11")


@pytest.mark.slow
def test_without_the_surrogates_loss_the_gain_is_lost() -> None:
    """S2-10: with weight 0 the profiles promote no better than copies; with it twice as much
    of the audience lists the target, by the surrogate's exact retraining."""
    train = taste_log(users=300, items=90, events=15)
    surrogate = EASE.fit(train, RunContext())
    row = train.item_rows["i89"]

    def reached(attack: Any) -> float:
        import torch

        selection = torch.zeros(30, 90)
        for n, profile in enumerate(played(attack, train, "i89", profiles=30, events=16)):
            selection[n, [train.item_rows[i] for i in profile.item_ids]] = 1.0
        return surrogate.exposure(selection, torch.tensor([row]), 10)

    options: dict[str, Any] = {
        "width": 32, "pretraining": 60, "surrogates": (EASE,), "aim": Aim(k=10), "outside": 0.5,
    }  # fmt: skip
    learned = reached(LegUp(**options))
    blind = reached(LegUp(promotion=0.0, **options))
    copied = reached(CopyProfile())
    assert learned >= 2 * max(copied, blind, 0.02)
    assert blind <= copied + 0.05


@pytest.mark.slow
def test_on_movielens_the_surrogate_beats_the_copy(data_folder: Any) -> None:
    """50 profiles of 91 events, target 1077: more of the non-raters list it than after copies
    of real users with the target."""
    import torch

    train = MovieLens(path=data_folder / "ml-100k" / "raw").load()
    surrogate = EaseSurrogate().fit(train, RunContext())
    row = torch.tensor([train.item_rows["1077"]])

    def reached(attack: Any) -> float:
        selection = torch.zeros(50, train.n_items)
        for n, profile in enumerate(played(attack, train, "1077", profiles=50, events=91)):
            selection[n, [train.item_rows[i] for i in profile.item_ids]] = 1.0
        return surrogate.exposure(selection, row, 50)

    assert reached(LegUp(steps=30, pretraining=60)) > reached(CopyProfile())
