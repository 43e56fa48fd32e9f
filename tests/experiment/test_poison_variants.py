"""Versions of example attacks that a detector learns from as well."""

from hardrank.attacks.profiles.bandwagon import Bandwagon
from hardrank.data import AddProfile
from hardrank.experiment.poison_logs import Poisoned
from hardrank.experiment.poison_variants import variants_of
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.profiles import play_profiles

TARGET = "i57"
THREAT = ThreatModel(
    goal=Promote(items=(TARGET,)), surface="profiles",
    budget=Budget(profiles=6, profile_events=9),
)  # fmt: skip


def _played() -> Poisoned:
    log = taste_log()
    match = play_profiles(Bandwagon(), THREAT, log, target=TARGET)
    return Poisoned(match=match, log=log.apply(match.patch))


def test_variants_praise_less_and_keep_to_the_example() -> None:
    """Never above 4.5 stars on average, never below the middle of the scale; no new item."""
    played = _played()
    made = variants_of(played, taste_log(), 8, 0)
    assert len(made) == 8 and len({repr(patch) for patch in made}) == 8
    for patch in made:
        stars = []
        for old, new in zip(played.match.patch.edits, patch.edits, strict=True):
            assert isinstance(old, AddProfile) and isinstance(new, AddProfile) and new.ratings
            assert set(new.item_ids) <= set(old.item_ids)
            stars.append(new.ratings[new.item_ids.index(TARGET)])
        assert 3.0 <= sum(stars) / len(stars) <= 4.5 and min(stars) >= 3.0


def test_variants_are_the_same_for_the_same_seed() -> None:
    played, log = _played(), taste_log()
    assert variants_of(played, log, 2, 5) == variants_of(played, log, 2, 5)
    assert variants_of(played, log, 2, 5) != variants_of(played, log, 2, 6)
    assert variants_of(played, log, 0, 5) == []
    bare = taste_log(ratings=False)
    assert len(variants_of(played, bare, 1, 0)) == 1
