"""The features of users: slow twins, invariances, and logs that lack columns."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.detection.planted_profiles import random_fillers, wide_log, with_fakes

from hardrank.detection import user_features
from hardrank.detection.fits import affinity, event_fit, surge
from hardrank.detection.parts import midranks, read, robust
from hardrank.detection.scan import event_bursts
from hardrank.testing.detectors import reordered
from hardrank.testing.logs import taste_log
from hardrank.testing.worlds import dataset


def column(data, name):
    names, values = user_features(data)
    return values[:, names.index(name)]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), rated=st.booleans(), timed=st.booleans())
def test_features_follow_a_permutation_of_users_and_items(seed, rated, timed):
    log = taste_log(users=50, items=30, events=8, seed=seed, ratings=rated, times=timed)
    rng = np.random.default_rng(seed)
    users, items = rng.permutation(50), rng.permutation(30)
    one, other = user_features(log), user_features(reordered(log, users, items))
    assert one.names == other.names
    np.testing.assert_allclose(other.values, one.values[users], rtol=1e-7, atol=1e-7)


def test_names_are_the_same_whatever_the_log_has():
    full = user_features(taste_log(users=30, items=20, events=5))
    bare = user_features(taste_log(users=30, items=20, events=5, ratings=False, times=False))
    assert full.names == bare.names
    assert len(set(full.names)) == len(full.names)
    for name in ("rdma", "fmtd", "rating_entropy", "time_span", "burst_largest", "active_days"):
        assert not bare.values[:, bare.names.index(name)].any()
        assert full.values[:, full.names.index(name)].any()


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_tiny_logs_have_finite_features(kept):
    log = taste_log(users=20, items=10, events=4)
    few = log.where(pl.col("user") < kept)
    assert user_features(few).values.shape[0] == 20
    single = log.where(pl.int_range(pl.len()).over("user") == 0)
    assert np.isfinite(user_features(single).values).all()


def test_classic_attributes_by_hand():
    """Two users rate item 0 with 5 and 1; the first also rates item 1 with 3."""
    data = dataset(["a", "b"], [[0, 1], [0]])
    data = replace(data, events=data.events.with_columns(rating=pl.Series([5.0, 3.0, 1.0]).cast(
        pl.Float32)))  # fmt: skip
    # item means 3 and 3, raters 2 and 1; deviations 2, 0 and 2
    np.testing.assert_allclose(column(data, "rdma"), [(2 / 2 + 0) / 2, 2 / 2])
    np.testing.assert_allclose(column(data, "wdma"), [(2 / 4 + 0) / 2, 2 / 4])
    np.testing.assert_allclose(column(data, "wda"), [1.0, 1.0])
    np.testing.assert_allclose(column(data, "mean_var"), [2.0, 4.0])
    np.testing.assert_allclose(column(data, "fmtd"), [2.0, 0.0])
    np.testing.assert_allclose(column(data, "fmv"), [0.0, 0.0])
    np.testing.assert_allclose(column(data, "tmf"), [1.0, 1.0])
    np.testing.assert_allclose(column(data, "length_var"), [0.5 / 0.5, 0.5 / 0.5])
    np.testing.assert_allclose(column(data, "popularity_q100"), np.log([3, 3]))
    np.testing.assert_allclose(column(data, "jaccard_largest"), [0.5, 0.5])


def test_event_fit_equals_counting_without_the_user():
    """The slow twin: take the user out of the log, count, and look up."""
    data = taste_log(users=25, items=12, events=6, seed=2)
    log, fast = read(data), event_fit(read(data))
    rows = log.matrix.toarray()
    for event in range(0, len(log.users), 7):
        user, item = log.users[event], log.items[event]
        others = np.delete(rows, user, axis=0)
        n, active = others.sum(0), (others.sum(1) > 0).sum()
        rest = [j for j in np.flatnonzero(rows[user]) if j != item]
        odds = [
            np.log(((others[:, item] * others[:, j]).sum() + 0.5) / (n[item] * n[j] / active + 0.5))
            for j in rest
        ]
        assert fast[event] == pytest.approx(np.mean(odds))


def test_affinity_stores_pairs_that_somebody_has():
    log = read(dataset(["a", "b", "c"], [[0, 1], [1, 2]]))
    table = affinity(log).toarray()
    assert (table != 0).tolist() == [[False, False, False]] * 3 or table[0, 2] == 0
    # nobody else has a and b together: log(0.5 / (0 * 1 / 1 + 0.5)) = 0
    assert table[0, 1] == pytest.approx(0.0)


def test_surge_knows_that_items_differ():
    log = read(dataset(["a", "b"], [[0], [0], [1], [1]]))
    assert surge(np.array([1.0, 1.0, 0.0, 0.0]), log)[0] > 0
    np.testing.assert_array_equal(surge(np.ones(4), log), [0, 0])


def test_a_rush_is_significant_and_the_rest_is_not():
    log = wide_log()
    late = [[*range(100, 113), 100 + 60 * 86_400] for _ in range(20)]
    late = [[t + 1_600_000_000 for t in row] for row in late]
    data, fake = with_fakes(log, random_fillers(log), times=late)
    rows = read(data)
    found = event_bursts(rows)
    rush = fake[rows.users] & (rows.items == log.n_items - 1)
    assert found[rush].min() > 50
    assert np.quantile(found[~rush], 0.5) < 5


def test_ranks_and_distances():
    np.testing.assert_allclose(
        midranks(np.array([1, 1, 5, np.nan])), [1 / 3, 1 / 3, 2.5 / 3, np.nan]
    )
    np.testing.assert_allclose(robust(np.array([0.0, 1.0, 2.0])), [-1 / 1.4826, 0, 1 / 1.4826])
    assert not robust(np.ones(4)).any()
