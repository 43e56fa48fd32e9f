"""New users may not move one item further than people do (S4-05)."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.random_profiles import RandomProfiles
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.data.growth import allowed, growth_capped, surplus
from hardrank.errors import DataError
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.profiles import play_profiles

TARGET = "i57"


def _poisoned(log: Dataset, target: str, attack: Any = None) -> tuple[Dataset, Any]:
    """With forty fake users who name the target, and who is new."""
    threat = ThreatModel(
        goal=Promote(items=(target,)), surface="profiles",
        budget=Budget(profiles=40, profile_events=9), log="log",
    )  # fmt: skip
    made = log.apply(play_profiles(attack or CopyProfile(), threat, log, target=target).patch)
    return made, np.arange(made.n_users) >= log.n_users


def _kept(log: Dataset, new: Any, *, slack: float = 3.0, seed: int = 0) -> Dataset:
    return growth_capped(log, new, np.random.default_rng(seed), slack=slack).dataset


def test_the_cap_is_the_formula() -> None:
    """Two items by hand: l = m (n_i + 1) / (n + I); ceil(l + slack sqrt(l) + 2)."""
    log = taste_log()
    new = np.arange(log.n_users) >= 90
    users = log.events["user"].to_numpy()
    m, n = int((users >= 90).sum()), int((users < 90).sum())
    found = allowed(log, new, 3.0)
    for item in (0, 40):
        before = int(((log.event_items == item) & (users < 90)).sum())
        usual = m * (before + 1) / (n + log.n_items)
        assert found[item] == np.ceil(usual + 3 * np.sqrt(usual) + 2)


@pytest.mark.parametrize("ratings", [True, False])
def test_poison_is_capped_and_earlier_users_keep_all(ratings: bool) -> None:
    """Forty fake users name an item that hardly anybody knew: a handful of events stay, and
    fewer where all of them praise it."""
    log = taste_log(ratings=ratings)
    poisoned, new = _poisoned(log, TARGET)
    kept = _kept(poisoned, new)
    row = log.item_rows[TARGET]
    assert poisoned.counts[row] >= 40
    extra, most = int(kept.counts[row] - log.counts[row]), allowed(poisoned, new, 3.0)
    assert most[row] <= 8
    assert extra < most[row] if ratings else extra == most[row]
    assert (kept.counts >= log.counts).all()
    assert (kept.counts - log.counts <= most).all()


def test_the_surplus_is_the_formula_written_as_loops() -> None:
    """A slow twin; the earlier users' ratings are what items are judged by, and the kept ones
    are what users are judged by."""
    log = taste_log()
    new = np.arange(log.n_users) >= 90
    kept = np.random.default_rng(0).random(log.n_events) < 0.7
    events = [(u, i, r) for u, i, r in log.events.select("user", "item", "rating").iter_rows()]
    early = [r for u, _, r in events if u < 90]
    mu = sum(early) / len(early)
    means = []
    for item in range(log.n_items):
        mine = [r for u, i, r in events if i == item and u < 90]
        means.append((sum(mine) + 5 * mu) / (len(mine) + 5))
    for mask in (None, kept):
        praise, blame = [], []
        for user, item, rating in events:
            apart = [
                r - means[i] for n, (u, i, r) in enumerate(events)
                if u == user and (mask is None or mask[n])
            ]  # fmt: skip
            habit = sum(apart) / (len(apart) + 5)
            praise.append(rating - means[item] - min(habit, 0))
            blame.append(means[item] - rating + max(habit, 0))
        found = surplus(log, new, mask)
        np.testing.assert_allclose(found[0], praise, atol=1e-5)
        np.testing.assert_allclose(found[1], blame, atol=1e-5)
    bare = taste_log(ratings=False)
    assert not np.any(surplus(bare, new))


@settings(max_examples=25, deadline=None)
@given(first=st.integers(1, 119), slack=st.floats(0, 4), seed=st.integers(0, 99))
def test_what_is_left_of_new_events_is_within_both_bounds(
    first: int, slack: float, seed: int
) -> None:
    """Whoever is new, and whatever they rate: the count, and the sums of praise and of blame,
    by the habits that users have in what is left: what was dropped excuses nothing."""
    log = taste_log(seed=seed % 3)
    ratings = np.random.default_rng(seed).integers(1, 6, size=log.n_events).astype(np.float32)
    log = replace(log, events=log.events.with_columns(rating=pl.Series(ratings)))
    new = np.arange(log.n_users) >= first
    mine = new[log.events["user"].to_numpy()]
    spread = np.sqrt(np.mean(_apart(log, new)[~mine] ** 2))
    before = np.bincount(log.event_items[~mine], minlength=log.n_items)
    usual = mine.sum() * (before + 1) / (before.sum() + log.n_items)
    kept = _kept(log, new, slack=slack, seed=seed)
    left = kept.events.filter(pl.col("user") >= first).select("user", "item")
    pairs = log.events.with_row_index("row").join(left, on=["user", "item"], how="semi")
    rows = pairs["row"].to_numpy()
    read = ~mine
    read[rows] = True
    for worth in surplus(log, new, read):
        sums = np.bincount(log.event_items[rows], weights=worth[rows], minlength=log.n_items)
        assert (sums <= slack * spread * np.sqrt(usual) + 1e-6).all()
    assert (np.bincount(left["item"], minlength=log.n_items) <= allowed(log, new, slack)).all()
    assert kept.events.filter(pl.col("user") < first).height == (~mine).sum()


def _apart(log: Dataset, new: Any) -> Any:
    """(E,) r - m_i - b_u"""
    users, items = log.events["user"].to_numpy(), log.event_items
    ratings = log.events["rating"].to_numpy().astype(float)
    early = ~new[users]
    mu = ratings[early].mean()
    n = np.bincount(items[early], minlength=log.n_items)
    means = (np.bincount(items[early], weights=ratings[early], minlength=log.n_items) + 5 * mu) / (
        n + 5
    )
    apart = ratings - means[items]
    habit = np.bincount(users, weights=apart) / (np.bincount(users) + 5)
    return apart - habit[users]


def test_blame_of_everything_else_does_not_hide_praise() -> None:
    """A fake user who hates all but the target says more for it than one who loves all; and
    that one's praise counts in full."""
    log = taste_log()
    new = np.arange(log.n_users + 20) >= log.n_users
    left, worth = {}, {}
    for others in (1.0, 5.0):
        poisoned = log.apply(Patch(tuple(_fan(n, others) for n in range(20))))
        fake = new[poisoned.events["user"].to_numpy()]
        rates = fake & (poisoned.event_items == 40)
        worth[others] = surplus(poisoned, new)[0][rates]
        left[others] = int(_kept(poisoned, new).counts[40] - log.counts[40])
    assert worth[1.0].min() > worth[5.0].max() + 1 and worth[5.0].min() > 0.5
    assert left[1.0] < left[5.0] < allowed(poisoned, new, 3.0)[40]


def _fan(n: int, others: float) -> AddProfile:
    names = tuple(f"i{item}" for item in range(20))
    return AddProfile(
        user_id=f"x{n}", item_ids=(*names, "i40"), ratings=(*[others] * 20, 5.0),
        times=(1_600_000_000,) * 21,
    )  # fmt: skip


def test_events_made_up_at_random_do_not_drive_out_the_real_audience() -> None:
    """Real newcomers of the item's taste name it, and forty random fakes do: all of the former
    stay. Drawn by lot, half of them would go."""
    log = taste_log(users=240, ratings=False)
    poisoned, _ = _poisoned(log, "i9", RandomProfiles())
    new = np.arange(poisoned.n_users) >= 150
    kept = _kept(poisoned, new, slack=0.0)

    def audience(read: Dataset) -> int:
        users = read.events["user"].to_numpy()
        mine = (users >= 150) & (users < 240) & (users % 3 == 0)
        return int((mine & (read.event_items == 9)).sum())

    named = int((poisoned.event_items[new[poisoned.events["user"].to_numpy()]] == 9).sum())
    room = allowed(poisoned, new, 0.0)[9]
    assert room / named < 0.6
    assert audience(kept) == audience(poisoned) >= 20


def test_without_newcomers_nothing_goes() -> None:
    log = taste_log()
    nobody = np.zeros(log.n_users, dtype=np.bool_)
    assert _kept(log, nobody).n_events == log.n_events


def test_where_everybody_is_new_all_items_are_alike() -> None:
    """No earlier event says what is usual: each item gets its share of all, and no praise is
    too much where nobody judged before."""
    log = taste_log()
    all_new = np.ones(log.n_users, dtype=np.bool_)
    usual = log.n_events / log.n_items
    most = np.ceil(usual + 3 * np.sqrt(usual) + 2)
    assert (_kept(log, all_new).counts == np.minimum(log.counts, most)).all()


def test_the_same_rng_drops_the_same_and_mistakes_are_told() -> None:
    log = taste_log()
    new = np.arange(log.n_users) >= 30
    first, again = (
        growth_capped(log, new, np.random.default_rng(4), slack=0.0).record for _ in range(2)
    )
    assert first.equals(again) and first.height > 0
    with pytest.raises(DataError, match="mask"):
        growth_capped(log, new[:3], np.random.default_rng(0))
    with pytest.raises(DataError, match="slack"):
        growth_capped(log, new, np.random.default_rng(0), slack=-1.0)
