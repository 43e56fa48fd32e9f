"""Example attacks without the habits that they do not need."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hardrank.data import AddProfile, Patch
from hardrank.detection.varied import varied

ITEMS = tuple(f"i{n}" for n in range(20))


def _patch(star: float = 5.0, profiles: int = 8) -> Patch:
    ratings = (star, *(2.0,) * 19)
    times = tuple(range(100, 120))
    return Patch(
        tuple(
            AddProfile(user_id=f"n{n}", item_ids=ITEMS, ratings=ratings, times=times)
            for n in range(profiles)
        )
    )


def _profiles(seed: int, star: float = 5.0) -> list[AddProfile]:
    made = varied(_patch(star), "i0", np.random.default_rng(seed), apart=1.0, towards=3.0)
    return [edit for edit in made.edits if isinstance(edit, AddProfile)]


@given(st.integers(0, 2**32))
def test_a_varied_profile_is_part_of_the_old_one(seed: int) -> None:
    """Target and order stay, as do ratings and times of the fillers; a quarter stays at least."""
    for edit in _profiles(seed):
        assert "i0" in edit.item_ids and 6 <= len(edit.item_ids) <= 20
        assert list(edit.item_ids) == [i for i in ITEMS if i in set(edit.item_ids)]
        assert edit.ratings is not None and edit.times is not None
        assert set(edit.ratings[1:]) == {2.0}
        assert edit.times == tuple(100 + int(i[1:]) for i in edit.item_ids)


def test_all_ways_occur() -> None:
    """Over seeds: whole, alike and different lengths; praise of 4.5, 4 and 3 on average."""
    found = [_profiles(seed) for seed in range(60)]
    lengths = [{len(edit.item_ids) for edit in one} for one in found]
    assert {20} in lengths
    assert any(len(one) == 1 and one != {20} for one in lengths)
    assert any(len(one) > 1 for one in lengths)
    means = {float(np.mean([(e.ratings or ())[0] for e in one])) for one in found}
    assert means == {4.5, 4.0, 3.0}


def test_blame_gets_milder_upwards_and_stops_in_the_middle() -> None:
    stars = {(e.ratings or ())[0] for seed in range(30) for e in _profiles(seed, star=2.0)}
    assert stars == {2.0, 3.0}


def test_other_profiles_and_logs_without_ratings_pass() -> None:
    """Without the target nothing is changed; without ratings and times only the length is."""
    other = Patch((AddProfile(user_id="n", item_ids=("i1", "i2")),))
    rng = np.random.default_rng(0)
    assert varied(other, "i0", rng, apart=1.0, towards=3.0) == other
    bare = Patch((AddProfile(user_id="n", item_ids=ITEMS),))
    for _ in range(20):
        (edit,) = varied(bare, "i0", rng, apart=0.0, towards=0.0).edits
        assert isinstance(edit, AddProfile) and edit.ratings is None and edit.times is None


def test_the_same_seed_varies_alike() -> None:
    assert _profiles(5) == _profiles(5)
