"""Probabilities without labels, and trust in items."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.detection.planted_profiles import random_fillers, wide_log, with_fakes

from hardrank.data.trust import trust_of
from hardrank.detection import PcaSelect, calibrated, item_trust
from hardrank.errors import DataError


@pytest.mark.parametrize("seed", range(5))
def test_without_an_upper_tail_nobody_is_suspected(seed):
    rng = np.random.default_rng(seed)
    for honest in (rng.uniform(size=500), -rng.exponential(size=500), np.ones(500)):
        assert not calibrated(honest).any()


@pytest.mark.parametrize("seed", range(5))
def test_of_a_normal_bulk_hardly_anybody_is_suspected(seed):
    found = calibrated(np.random.default_rng(seed).normal(size=1000))
    assert (found > 0.9).sum() <= 2


def test_a_second_bulk_is_suspected_and_the_first_is_not():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(size=950), rng.normal(8, 1, size=50)])
    found = calibrated(scores)
    assert found[950:].min() > 0.9
    assert found[:950].max() < 0.5


@given(st.lists(st.floats(-1e3, 1e3) | st.just(float("nan")), max_size=50))
def test_probabilities_rise_with_the_score(scores):
    values = np.array(scores, dtype=np.float64)
    found = calibrated(values)
    known = ~np.isnan(values)
    assert np.array_equal(np.isnan(found), ~known)
    assert ((found[known] >= 0) & (found[known] <= 1)).all()
    assert (np.diff(found[known][np.argsort(values[known], kind="stable")]) >= 0).all()


def test_trust_falls_where_the_fakes_are():
    log = wide_log()
    data, fake = with_fakes(log, random_fillers(log))
    fraud = calibrated(PcaSelect()(data))
    users = trust_of(data, fraud)
    names = data.users["user_id"].to_list()
    trusted = np.array([users[n] for n in names])
    assert trusted[fake].mean() < 0.3 < 0.95 < trusted[~fake].mean()
    items = item_trust(data, fraud)
    target = data.items["item_id"][log.n_items - 1]
    assert min(items, key=items.__getitem__) == target
    assert items[target] < 0.3


def test_item_trust_is_the_mean_of_its_users():
    log = wide_log()
    p = np.zeros(300)
    p[0] = 0.5
    found = item_trust(log, p)
    for row, name in enumerate(log.items["item_id"]):
        users = log.events["user"].to_numpy()[log.event_items == row]
        assert found[name] == pytest.approx(1 - p[users].mean() if len(users) else 1.0)
    for wrong in (p[:-1], p + 1):
        with pytest.raises(DataError, match="probabilities"):
            item_trust(log, wrong)
