"""Each heuristic profile attack writes exactly what its paper says."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.attacks.profiles.average_profiles import AverageProfiles
from hardrank.attacks.profiles.bandwagon import Bandwagon
from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.kin import audience, kin
from hardrank.attacks.profiles.love_hate import LoveHate
from hardrank.attacks.profiles.mixed_copy import MixedCopy
from hardrank.attacks.profiles.obfuscated import Obfuscated
from hardrank.attacks.profiles.parts import Manner
from hardrank.attacks.profiles.popular_fillers import PopularFillers
from hardrank.attacks.profiles.power_users import PowerUsers
from hardrank.attacks.profiles.random_profiles import RandomProfiles
from hardrank.attacks.profiles.reverse_bandwagon import ReverseBandwagon
from hardrank.attacks.profiles.segment import Segment
from hardrank.attacks.profiles.sources import in_degrees
from hardrank.data import AddProfile, Dataset
from hardrank.data.dataset import EVENT_COLUMNS
from hardrank.errors import Unsupported
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Demote, Promote, ThreatModel
from hardrank.threats.log import CatalogueView, LogView
from hardrank.threats.profiles import play_profiles

Row = tuple[int, int, float]


def log_of(rows: Sequence[Row], *, items: int, titles: Sequence[str] = ()) -> Dataset:
    """(user, item, rating), each user's events a minute apart, users an hour."""
    events, seen = [], Counter[int]()
    for user, item, rating in sorted(rows, key=lambda row: row[0]):
        events.append((user, item, 3600 * user + 60 * seen[user], float(rating), 1.0))
        seen[user] += 1
    return Dataset(
        name="small",
        users=pl.DataFrame({"user_id": [f"u{u}" for u in range(max(seen) + 1)]}),
        items=pl.DataFrame(
            {
                "item_id": [f"i{i}" for i in range(items)],
                "title": list(titles) or [""] * items,
            }
        ),
        events=pl.DataFrame(events, schema=EVENT_COLUMNS, orient="row"),
    )


def settled(users: int = 10, items: int = 10) -> Dataset:
    """Everybody rates item i exactly 1 + i % 5; the last item, the target, is nobody's; item i
    has `users - i` events."""
    rows = [(u, i, 1 + i % 5) for i in range(items - 1) for u in range(users - i)]
    return log_of(rows, items=items)


def fakes(
    attack: Any, log: Dataset, target: str, *, profiles: int = 4, events: int = 6,
    demote: bool = False, seed: int = 0,
) -> list[AddProfile]:  # fmt: skip
    goal = Demote() if demote else Promote()
    budget = Budget(profiles=profiles, profile_events=events)
    threat = ThreatModel(goal=goal, surface="profiles", budget=budget)
    edits = play_profiles(attack, threat, log, target=target, seed=seed).patch.edits
    assert len(edits) == profiles
    return [edit for edit in edits if isinstance(edit, AddProfile)]


def rating_of(edit: AddProfile) -> dict[str, float]:
    assert edit.ratings is not None
    return dict(zip(edit.item_ids, edit.ratings, strict=True))


def test_random_fillers_are_drawn_evenly_and_rated_as_everything_is() -> None:
    """Mean and deviation of the fillers are those of the log (rounding adds 1/12 variance)."""
    log = taste_log(users=100, items=40)
    edits = fakes(RandomProfiles(), log, "i39", profiles=400, events=11)
    used = Counter(i for e in edits for i in e.item_ids[:-1])
    # 4,000 draws of 39 items: 102.6 each, deviation 9 at most
    assert set(used) == {f"i{i}" for i in range(39)} and min(used.values()) > 65
    assert max(used.values()) < 140
    given = np.asarray([r for e in edits for r in list(rating_of(e).values())[:-1]])
    real = log.events["rating"].to_numpy()
    loose = np.clip(np.random.default_rng(5).normal(real.mean(), real.std(), 100_000).round(), 1, 5)
    assert given.mean() == pytest.approx(loose.mean(), abs=0.06)
    assert given.std() == pytest.approx(loose.std(), abs=0.06)
    assert all(rating_of(e)["i39"] == 5 for e in edits)


def test_average_fillers_are_rated_as_each_item_is() -> None:
    """Where everybody agrees on an item there is nothing to draw."""
    for edit in fakes(AverageProfiles(), settled(), "i9"):
        given = rating_of(edit)
        assert given.pop("i9") == 5 and len(given) == 5
        assert all(rating == 1 + int(item[1:]) % 5 for item, rating in given.items())


@pytest.mark.parametrize("attack", [RandomProfiles(), AverageProfiles(), CopyProfile()])
def test_a_demotion_gives_the_target_the_lowest_rating(attack: Any) -> None:
    assert all(rating_of(e)["i9"] == 1 for e in fakes(attack, settled(), "i9", demote=True))


def test_a_bandwagon_praises_the_same_bestsellers_in_every_profile() -> None:
    edits = fakes(Bandwagon(share=0.6), settled(), "i9", profiles=6)
    for edit in edits:
        given = rating_of(edit)
        assert len(given) == 6 and given.pop("i9") == 5
        assert [given.pop(f"i{n}") for n in range(3)] == [5, 5, 5], "3 of 5 are bestsellers"
        assert set(given) <= {f"i{n}" for n in range(3, 9)} and set(given.values()) <= {
            1,
            2,
            3,
            4,
            5,
        }
    assert len({frozenset(e.item_ids) for e in edits}) > 1, "the rest is drawn"


def test_a_bandwagon_never_counts_the_target_as_company() -> None:
    for edit in fakes(Bandwagon(share=1), settled(), "i0"):
        assert set(edit.item_ids) == {"i0", "i1", "i2", "i3", "i4", "i5"}


def test_a_reverse_bandwagon_stands_by_what_is_disliked() -> None:
    """Of the known half (i0 to i4, as i0 has most events) i0 rates 1, i1 2 and i2 3; i5 rates
    1 as well, but few know it."""
    for edit in fakes(ReverseBandwagon(share=0.6), settled(), "i9", demote=True):
        given = rating_of(edit)
        assert {"i0", "i1", "i2", "i9"} <= {i for i, r in given.items() if r == 1}
    unpopular = ReverseBandwagon(items="unpopular", share=1)
    for edit in fakes(unpopular, settled(), "i0", demote=True, events=4):
        assert set(edit.item_ids) == {"i9", "i8", "i7", "i0"}
        assert set(rating_of(edit).values()) == {1}


def test_love_hate_loves_all_and_hates_one() -> None:
    for edit in fakes(LoveHate(), settled(), "i9", demote=True):
        given = rating_of(edit)
        assert given.pop("i9") == 1 and list(given.values()) == [5] * 5


def test_love_hate_is_refused_by_a_log_without_ratings() -> None:
    with pytest.raises(Unsupported, match="works by ratings, and the log has none"):
        fakes(LoveHate(), taste_log(users=9, ratings=False), "i9", demote=True)


def test_praise_demotes_nobody() -> None:
    with pytest.raises(Unsupported, match="every event is praise"):
        fakes(CopyProfile(), taste_log(users=9, ratings=False), "i9", demote=True)


def test_popular_fillers_come_from_the_pool_and_more_where_it_is_small() -> None:
    for edit in fakes(PopularFillers(pool=0.6), settled(), "i9", events=4):
        given = rating_of(edit)
        assert given.pop("i9") == 5 and set(given) <= {f"i{n}" for n in range(5)}
        assert all(rating == 1 + int(item[1:]) % 5 for item, rating in given.items())
    for edit in fakes(PopularFillers(pool=0.1), settled(), "i9", events=4):
        assert set(edit.item_ids) == {"i0", "i1", "i2", "i9"}, "as many as the profile needs"


FANS = [  # users 0 to 3 like i0 with i1 and i2; users 4 to 9 like i3 and i4; i5 is everybody's
    *((u, i, 5) for u in range(4) for i in (0, 1, 2)), *((u, 3, 1) for u in range(4)),
    *((u, i, 5) for u in range(4, 10) for i in (3, 4)), *((u, 5, 5) for u in range(10)),
    *((u, 1, 1) for u in range(4, 10)),
]  # fmt: skip


def test_a_segment_is_what_the_targets_audience_likes() -> None:
    """i1 and i2 are liked with i0; i3 has as many events of its users, but they dislike it."""
    log = log_of(FANS, items=8)
    for edit in fakes(Segment(share=1), log, "i0", events=4):
        assert rating_of(edit) == {"i0": 5, "i1": 5, "i2": 5, "i5": 5}
    for edit in fakes(Segment(share=0.5), log, "i0", events=5):
        given = rating_of(edit)
        assert (given.pop("i0"), given.pop("i1"), given.pop("i2")) == (5, 5, 5)
        assert list(given.values()) == [1, 1]


def test_kin_is_counted_as_it_says() -> None:
    """Slow twin: loops over users. Liked is what a user rates no lower than the own mean."""
    log = taste_log(users=30, items=20, seed=3)
    view = LogView(log, np.asarray([4]))
    likes: list[set[int]] = []
    for user in range(log.n_users):
        mine = log.events.filter(pl.col("user") == user)
        mean = float(mine["rating"].mean())  # type: ignore[arg-type]
        likes.append({r["item"] for r in mine.iter_rows(named=True) if r["rating"] >= mean})
    expected = []
    for item in range(log.n_items):
        alone = sum(item in mine for mine in likes)
        together = sum(item in mine and 4 in mine for mine in likes)
        expected.append(together / np.sqrt(alone + 10))
    assert kin(view) == pytest.approx(np.asarray(expected), abs=1e-6)
    close = [sum(expected[i] for i in mine) / max(len(mine), 1) ** 0.5 for mine in likes]
    assert audience(view) == pytest.approx(np.asarray(close), abs=1e-5)


def test_the_segment_of_an_unknown_item_is_read_from_its_words() -> None:
    """Nobody has i6, a small blue lamp; the few who like i2, a blue lamp, like i0 and i1, too.
    Without words the bestsellers' friends are left: i5 and what six of ten users like."""
    titles = ["a desk", "a chair", "blue lamp", "a rug", "a vase", "a pen", "small blue lamp", ""]
    log = log_of(FANS, items=8, titles=titles)
    edit = fakes(Segment(share=1), log, "i6", events=4)[0]
    assert set(edit.item_ids) == {"i0", "i1", "i2", "i6"}
    silent = fakes(Segment(share=1), log_of(FANS, items=8), "i6", events=4)[0]
    assert set(silent.item_ids) == {"i3", "i4", "i5", "i6"}


def test_a_copy_is_a_real_history_and_the_target() -> None:
    """In its order, with its ratings and times; of more than fit, the latest; each profile of
    another user."""
    log = taste_log(users=20, items=30, times=True)
    names = log.items["item_id"].to_list()
    real = []
    for user in range(log.n_users):
        mine = log.events.filter((pl.col("user") == user) & (pl.col("item") != 29))
        items = tuple(names[i] for i in mine["item"])
        real.append((items[-5:], tuple(mine["rating"])[-5:], tuple(mine["time"])[-5:]))
    edits = fakes(CopyProfile(), log, "i29", profiles=20, events=6)
    copies = [(e.item_ids[:-1], e.ratings[:-1], e.times[:-1]) for e in edits]  # type: ignore[index]
    assert sorted(copies) == sorted(real)
    assert all((e.item_ids[-1], e.ratings[-1]) == ("i29", 5) for e in edits)  # type: ignore[index]
    more = fakes(CopyProfile(), log, "i29", profiles=45, events=6)
    assert sorted(Counter(e.item_ids for e in more).values()) == [2] * 15 + [3] * 5


def test_a_copy_may_keep_events_at_random() -> None:
    log = taste_log(users=20, items=30)
    names = log.items["item_id"].to_list()
    real = [
        [names[i] for i in log.events.filter(pl.col("user") == user)["item"]] for user in range(20)
    ]
    edits = fakes(CopyProfile(keep="random"), log, "i29", profiles=20, events=6)
    latest = 0
    for edit in edits:
        kept = edit.item_ids[:-1]
        assert any([i for i in mine if i in kept] == list(kept) for mine in real)
        latest += any(mine[-5:] == list(kept) for mine in real)
    assert latest < 10


def test_the_audience_is_copied_best_first() -> None:
    """Users 0 to 3 like the target; everybody else has other tastes."""
    log = log_of(FANS, items=8)
    for edit in fakes(CopyProfile(users="audience"), log, "i0", events=9):
        assert set(edit.item_ids) == {"i0", "i1", "i2", "i3", "i5"}
        assert rating_of(edit)["i3"] == 1


def test_nobody_to_copy_leaves_the_target_alone() -> None:
    only = log_of([(0, 0, 5), (1, 0, 4)], items=3)
    for attack in (CopyProfile(), CopyProfile(users="audience"), PowerUsers(), MixedCopy()):
        assert {e.item_ids for e in fakes(attack, only, "i0")} == {("i0",)}


def test_power_users_are_those_others_listen_to() -> None:
    """User 0 shares an item with each of the others, who share none: all listen to him, and he
    to the first of equals."""
    rows = [(0, i, 4) for i in range(5)] + [(u, u - 1, 3) for u in range(1, 6)]
    log = log_of(rows, items=7)
    assert in_degrees(log, 1).tolist() == [5, 1, 0, 0, 0, 0]
    first = fakes(PowerUsers(neighbours=1), log, "i6", profiles=2, events=9)
    assert [set(e.item_ids) for e in first] == [{"i0", "i1", "i2", "i3", "i4", "i6"}, {"i0", "i6"}]
    busiest = fakes(PowerUsers(by="events"), log, "i6", profiles=1, events=9)
    assert busiest[0].item_ids == ("i0", "i1", "i2", "i3", "i4", "i6")


def test_in_degrees_are_counted_as_they_say() -> None:
    """Slow twin: cosine of item sets, pair by pair."""
    log = taste_log(users=40, items=25, events=6)
    sets = [set(log.events.filter(pl.col("user") == user)["item"].to_list()) for user in range(40)]
    expected = np.zeros(40, dtype=int)
    for user, mine in enumerate(sets):
        alike = [
            0.0 if other == user else len(mine & his) / np.sqrt(len(mine) * len(his))
            for other, his in enumerate(sets)
        ]
        for other in sorted(range(40), key=lambda o: (-round(alike[o], 6), o))[:3]:
            expected[other] += alike[other] > 0
    found = in_degrees(log, 3)
    # cosines that differ by rounding alone may change places
    assert found.sum() == expected.sum() and np.abs(found - expected).sum() <= 6


def test_a_mixed_copy_takes_equal_parts_of_like_minded_users() -> None:
    """Two pairs of users share one item each; the rest of their items is their own."""
    rows = [(0, i, 5) for i in (0, 1, 2, 3)] + [(1, i, 2) for i in (0, 4, 5, 6)]
    rows += [(2, i, 4) for i in (7, 8, 9, 10)] + [(3, i, 3) for i in (7, 11, 12, 13)]
    log, real, whose = log_of(rows, items=15), set(rows), {5.0: 0, 2.0: 1, 4.0: 2, 3.0: 3}
    for events in (5, 70):  # no longer than its sources are
        edits = fakes(MixedCopy(neighbours=1), log, "i14", profiles=30, events=events)
        for edit in edits:
            given = rating_of(edit)
            assert given.pop("i14") == 5
            assert Counter(given.values()) in ({5: 2, 2: 2}, {4: 2, 3: 2})
            assert {(whose[rating], int(i[1:]), rating) for i, rating in given.items()} <= real
    assert len({frozenset(e.item_ids) for e in edits}) > 10


def test_no_mixed_copy_repeats_a_real_user() -> None:
    """Jaccard to the nearest real user: copies share all but the target."""
    log = taste_log(users=60, items=80, events=24, seed=1)
    names = log.items["item_id"].to_list()
    real = [
        {names[i] for i in log.events.filter(pl.col("user") == user)["item"]} for user in range(60)
    ]

    def nearest(attack: Any) -> list[float]:
        edits = fakes(attack, log, "i79", profiles=20, events=100)
        mine = [set(e.item_ids) for e in edits]
        return [max(len(m & r) / len(m | r) for r in real) for m in mine]

    assert max(nearest(MixedCopy())) < 0.8 < 0.9 < min(nearest(CopyProfile()))


def test_target_shifting_changes_the_targets_rating_alone() -> None:
    """One step from the end: 4 to promote, 2 to demote."""
    quiet = Obfuscated(base=Bandwagon(), noise=0, shift=0)
    for edit in fakes(quiet, settled(), "i9"):
        given = rating_of(edit)
        assert given["i9"] == 4 and [given[f"i{n}"] for n in (0, 1)] == [5, 5]
    for edit in fakes(Obfuscated(base=LoveHate(), noise=0, shift=0), settled(), "i9", demote=True):
        given = rating_of(edit)
        assert given.pop("i9") == 2 and set(given.values()) == {5}
    still = Obfuscated(base=Bandwagon(), noise=0, shift=0, target_shift=False)
    assert all(rating_of(e)["i9"] == 5 for e in fakes(still, settled(), "i9"))


def test_user_shifting_moves_all_fillers_of_a_profile_together() -> None:
    """On a fine and wide scale, where nothing is rounded or cut."""
    rows = [(u, i, 50.25) for u in range(5) for i in range(1, 7)] + [(5, 0, 0.125), (5, 1, 100)]
    log = log_of(rows, items=8)
    attack = Obfuscated(base=CopyProfile(), noise=0, shift=0.05)
    shifts = []
    for edit in fakes(attack, log, "i7", profiles=6, events=9):
        given = rating_of(edit)
        if len(given) == 7:
            assert len({r for i, r in given.items() if i != "i7"}) == 1
            shifts.append(given["i1"])
        assert given["i7"] == pytest.approx(90.0125, abs=1e-3), "a tenth of the scale below"
    assert len(set(shifts)) == 5 and 50.25 not in shifts


def test_noise_blurs_each_filler_by_itself() -> None:
    edits = fakes(Obfuscated(base=AverageProfiles(), shift=0), settled(30, 20), "i19", events=20)
    moved = [
        rating - (1 + int(item[1:]) % 5)
        for edit in edits
        for item, rating in rating_of(edit).items()
        if item != "i19"
    ]
    assert len(moved) == 76 and 20 < sum(m != 0 for m in moved) < 60
    assert min(moved) < 0 < max(moved)


def test_the_base_of_an_obfuscated_attack_sees_no_more_than_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def spy(self: Any, view: CatalogueView, *args: Any) -> Any:
        seen.append(type(view))
        return real(self, view, *args)

    real = Bandwagon.__call__
    monkeypatch.setattr(Bandwagon, "__call__", spy)
    fakes(Obfuscated(base=Bandwagon()), settled(), "i9")
    assert seen == [CatalogueView]


def test_an_obfuscated_attack_has_the_goals_of_its_base() -> None:
    with pytest.raises(Unsupported, match="base attack 'love-hate' cannot promote"):
        fakes(Obfuscated(base=LoveHate()), settled(), "i9")


@pytest.mark.parametrize("attack", [RandomProfiles, CopyProfile, MixedCopy, Bandwagon])
def test_the_target_stands_last_or_anywhere(attack: Any) -> None:
    log = taste_log(users=30, items=30)
    last = fakes(attack(), log, "i29", profiles=30, events=6)
    assert {e.item_ids[-1] for e in last} == {"i29"}
    anywhere = fakes(attack(manner=Manner(place="anywhere")), log, "i29", profiles=60, events=6)
    assert {e.item_ids.index("i29") for e in anywhere} == set(range(6))
    for edit in anywhere:
        assert edit.times is not None and list(edit.times) == sorted(edit.times)


@pytest.mark.parametrize("attack", [RandomProfiles, CopyProfile, MixedCopy, Bandwagon])
def test_a_burst_falls_into_the_last_share_of_the_log(attack: Any) -> None:
    log = taste_log(users=30, items=30)
    first, last = int(log.events["time"].min()), int(log.events["time"].max())  # type: ignore[arg-type]
    begins = last - 0.1 * (last - first)
    burst = fakes(attack(manner=Manner(window=0.1)), log, "i29", profiles=30)
    assert min(t for e in burst for t in e.times or ()) >= begins - 1
    spread = fakes(attack(), log, "i29", profiles=30)
    assert min(t for e in spread for t in e.times or ()) < begins


def test_the_gaps_of_fake_users_are_those_of_one_real_user() -> None:
    """User u acts every 10^u seconds; nobody's gaps are mixed."""
    rows = [(u, u * 10**6 + n * 10**u) for u in range(4) for n in range(6)]
    events = [(u, n % 6, when, 5.0 - n % 2, 1.0) for n, (u, when) in enumerate(rows)]
    log = Dataset(
        name="clocks",
        users=pl.DataFrame({"user_id": [f"u{u}" for u in range(4)]}),
        items=pl.DataFrame({"item_id": [f"i{i}" for i in range(8)], "title": [""] * 8}),
        events=pl.DataFrame(events, schema=EVENT_COLUMNS, orient="row"),
    )
    edits = fakes(Segment(), log, "i7", profiles=40, events=6)
    gaps = [set(np.diff(e.times or ()).tolist()) for e in edits]
    assert all(len(mine) == 1 for mine in gaps)
    assert set.union(*gaps) == {1, 10, 100, 1000}


def test_natural_lengths_are_those_of_real_users_within_the_budget() -> None:
    """Half of the users have 2 events, half 8; the budget holds 5."""
    rows = [(u, i, 3 + i % 2) for u in range(10) for i in range(2 if u % 2 else 8)]
    log = log_of(rows, items=12)
    edits = fakes(RandomProfiles(lengths="natural"), log, "i11", profiles=200, events=5)
    found = Counter(len(e.item_ids) for e in edits)
    assert set(found) == {2, 5} and 70 < found[2] < 130
    typical = fakes(Bandwagon(lengths="natural"), log, "i11", events=50)
    assert {len(e.item_ids) for e in typical} == {5}, "the median user, for who sees no log"


@pytest.mark.parametrize(
    ("stars", "allowed"),
    [
        ([1, 2, 5], {1, 2, 3, 4, 5}),
        ([1, 2.5, 5], {x / 2 for x in range(2, 11)}),
        ([0.5, 4], {x / 2 for x in range(1, 9)}),
    ],
)
def test_ratings_are_such_as_people_give(stars: list[float], allowed: set[float]) -> None:
    rows = [(u, i, stars[(u + i) % len(stars)]) for u in range(9) for i in range(9)]
    attack = Obfuscated(base=RandomProfiles(), target_shift=False)
    edits = fakes(attack, log_of(rows, items=20), "i19", profiles=30, events=12)
    given = {r for e in edits for r in e.ratings or ()}
    assert given <= allowed and len(given) > 3


def test_a_fine_scale_is_not_rounded() -> None:
    rows = [(u, i, (u * 7 + i * 3) % 11 / 8) for u in range(9) for i in range(9)]
    edits = fakes(RandomProfiles(), log_of(rows, items=20), "i19", profiles=10, events=12)
    assert len({r for e in edits for r in e.ratings or ()}) > 50
