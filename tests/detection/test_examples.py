"""Labelled logs, users set apart, and the guard against leaks."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from hardrank.data import AddProfile, Dataset, Patch
from hardrank.detection.examples import LabelledLog, check_apart, labelled, usable, users_apart
from hardrank.errors import DataError, LeakError
from hardrank.testing.logs import taste_log

PAIR = Patch(
    (
        AddProfile("x", ("i0", "i59"), ratings=(5.0, 5.0)),
        AddProfile("y", ("i1", "i59"), ratings=(5.0, 5.0)),
    )
)


@pytest.fixture(scope="module")
def train() -> Dataset:
    return taste_log(users=40)


def test_only_the_added_users_are_fake(train: Dataset) -> None:
    log = labelled(train, PAIR, "handmade(size=2)", target="i59", seed=4)
    assert np.flatnonzero(log.fake).tolist() == [40, 41]
    assert (log.family, log.target, log.seed) == ("handmade", "i59", 4)
    assert log.profiles == {frozenset({"i0", "i59"}), frozenset({"i1", "i59"})}


def test_a_patch_needs_a_name_and_a_fake_user(train: Dataset) -> None:
    with pytest.raises(DataError, match="which attack"):
        labelled(train, PAIR)
    with pytest.raises(DataError, match="added no user"):
        labelled(train, Patch(), "nothing")
    with pytest.raises(DataError, match="a mask of 40"):
        LabelledLog(train, np.zeros(39, dtype=bool), "short")


def test_nothing_to_learn_from_says_what_to_give(train: Dataset) -> None:
    with pytest.raises(DataError, match=r"no example logs.*give logs with fake users"):
        usable([])
    clean = LabelledLog(train, np.zeros(train.n_users, dtype=bool), "none")
    with pytest.raises(DataError, match="none of the 1 example logs has a fake user"):
        usable([clean])


def test_the_same_people_are_apart_in_every_log_whatever_their_row(train: Dataset) -> None:
    one = labelled(train, PAIR, "handmade")
    apart = users_apart(one, 0.3, 0, "tested")
    assert 4 <= apart[:40].sum() <= 20
    reverse = one.dataset.n_users - 1
    turned = replace(
        one.dataset,
        users=one.dataset.users.reverse(),
        events=one.dataset.events.with_columns(user=(reverse - pl.col("user")).cast(pl.Int32)).sort(
            "user", maintain_order=True
        ),
    )
    other = LabelledLog(turned, one.fake[::-1].copy(), "handmade")
    np.testing.assert_array_equal(users_apart(other, 0.3, 0, "tested")[::-1], apart)
    assert not np.array_equal(users_apart(one, 0.3, 1, "tested"), apart)


def test_the_guard_names_a_fake_user_that_was_trained_on(train: Dataset) -> None:
    log = labelled(train, PAIR, "handmade", target="i59")
    nobody = np.zeros(log.dataset.n_users, dtype=bool)
    copied = labelled(
        train, Patch((AddProfile("z", ("i59", "i1"), ratings=(5.0, 1.0)),)), "other", target="i59"
    )
    with pytest.raises(LeakError, match=r"1 fake users of the scored log .'handmade' on 'i59'"):
        check_apart(log, nobody, [copied])
    apart = labelled(train, Patch((AddProfile("z", ("i2",), ratings=(5.0,)),)), "other")
    check_apart(log, nobody, [apart])


def test_the_guard_names_a_real_user_whose_label_was_seen(train: Dataset) -> None:
    log = labelled(train, PAIR, "handmade")
    apart = labelled(train, Patch((AddProfile("z", ("i2",), ratings=(5.0,)),)), "other")
    tested = users_apart(log, 0.3, 0, "tested") & ~log.fake
    with pytest.raises(LeakError, match=r"the labels of .* real users"):
        check_apart(log, tested, [apart])
    check_apart(log, tested, [apart.hiding(users_apart(apart, 0.3, 0, "tested"))])
