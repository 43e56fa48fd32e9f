"""Fewer fake users than the budget allows."""

from dataclasses import replace

import numpy as np

from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.few_profiles import FewProfiles
from hardrank.data import AddProfile
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.log import LogView
from hardrank.threats.profiles import play_profiles


def played(attack: object, profiles: int, *, ratings: bool = True) -> object:
    threat = ThreatModel(
        goal=Promote(items=("i57",)), surface="profiles",
        budget=Budget(profiles=profiles, profile_events=9), log="log",
    )  # fmt: skip
    log = taste_log(ratings=ratings)
    return play_profiles(attack, threat, log, target="i57", seed=3).patch  # type: ignore[arg-type]


def test_it_is_its_base_with_a_smaller_budget() -> None:
    """To the last event; and never more than the threat's own budget."""
    log = taste_log()
    view, goal = LogView(log, np.array([log.item_rows["i57"]])), Promote(items=("i57",))
    few = FewProfiles(base=CopyProfile(), profiles=4)
    for granted, sent in ((40, 4), (2, 2)):
        made, base = (
            attack(view, goal, Budget(profiles=p, profile_events=9), np.random.default_rng(3))
            for attack, p in ((few, granted), (CopyProfile(), sent))
        )
        assert made == base and len(made) == sent


def test_praise_as_usual_is_the_mean_of_the_targets_ratings() -> None:
    """Rounded to whole stars, as this log has them; all else is the same."""
    log = taste_log()
    row = log.item_rows["i2"]
    mean = log.events.filter(log.events["item"] == row)["rating"].mean()
    view = LogView(log, np.array([row]))
    goal, budget = Promote(items=("i2",)), Budget(profiles=6, profile_events=9)
    attack = FewProfiles(base=CopyProfile(), profiles=4)
    best, usual = (
        replace(attack, praise=praise)(view, goal, budget, np.random.default_rng(3)).edits
        for praise in ("base", "usual")
    )
    for one, other in zip(best, usual, strict=True):
        assert isinstance(one, AddProfile) and isinstance(other, AddProfile)
        assert one.ratings and other.ratings and one.item_ids == other.item_ids
        at = one.item_ids.index("i2")
        assert one.ratings[at] == 5.0
        assert other.ratings[at] == np.round(mean) != 5.0
        assert np.delete(one.ratings, at).tolist() == np.delete(other.ratings, at).tolist()
    bare = played(FewProfiles(base=CopyProfile(), profiles=4, praise="usual"), 40, ratings=False)
    assert all(e.ratings is None for e in bare.edits)  # type: ignore[attr-defined]
