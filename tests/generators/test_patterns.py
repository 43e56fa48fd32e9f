"""Segments of users: planted ones are found, order changes nothing, worth is told honestly."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from hardrank.context import RunContext
from hardrank.data import Dataset, Queries
from hardrank.errors import DataError
from hardrank.generators.clusters import Groups, grouped, k_means, silhouette
from hardrank.generators.latent import canonical
from hardrank.generators.pattern_facts import described, segment_log_odds, worth_of
from hardrank.generators.patterns import LatentSegments, SegmentModel
from hardrank.testing.logs import GROUPS, taste_log

FAST = LatentSegments(epochs=60, width=32, most=6)
RUN = RunContext(seed=1)


@pytest.fixture(scope="module")
def log() -> Dataset:
    return taste_log(users=240, items=90, events=12, seed=5)


@pytest.fixture(scope="module")
def fitted(log: Dataset) -> SegmentModel:
    return FAST.fit(log, RUN)


def truth(log: Dataset) -> list[int]:
    return [u % GROUPS for u in range(log.n_users)]


def shuffled(log: Dataset, order: list[int]) -> Dataset:
    """The same log with user `order[n]` in row n."""
    histories = log.histories().take(np.array(order))
    owners = pl.Series(histories.owners, dtype=pl.Int32)
    rows = np.concatenate([np.arange(log.offsets[u], log.offsets[u + 1]) for u in order])
    return replace(log, users=log.users[order], events=log.events[rows].with_columns(user=owners))


@pytest.mark.parametrize("encoder", ["autoencoder", "svd"])
def test_planted_segments_are_found(log: Dataset, encoder: str) -> None:
    """S4-09: ARI of at least 0.6, without being told how many there are."""
    model = replace(FAST, encoder=encoder).fit(log, RUN)
    assert len(model) == GROUPS
    assert adjusted_rand_score(truth(log), model.assign(log.histories())) >= 0.6


def test_a_log_without_segments_is_said_to_have_none(log: Dataset) -> None:
    """S4-09: the same counts with the planted tastes shuffled away are worth no bits, and two
    halves of the users do not agree on segments."""
    rng = np.random.default_rng(0)
    items = pl.Series("item", rng.permutation(log.event_items), dtype=pl.Int32)
    noise = replace(log, events=log.events.with_columns(item=items))
    spec = replace(FAST, encoder="svd")
    planted, none = worth_of(spec, log, 0), worth_of(spec, noise, 0)
    assert planted.bits_low > 0.2 and planted.stability > 0.8
    assert none.bits < 0.05 and none.stability < 0.4


def test_who_stands_where_changes_nothing(log: Dataset, fitted: SegmentModel) -> None:
    order = np.random.default_rng(3).permutation(log.n_users).tolist()
    other = shuffled(log, order)
    again = FAST.fit(other, RUN)
    assert all(np.array_equal(v, again.arrays()[k]) for k, v in fitted.arrays().items())
    mine = fitted.assign(log.histories())
    assert again.assign(other.histories()).tolist() == mine[order].tolist()


def test_strangers_are_placed_and_the_empty_are_not(log: Dataset, fitted: SegmentModel) -> None:
    labels = fitted.assign(log.histories())
    expected = [int(labels[g]) for g in range(GROUPS)]
    strangers = [[g, g + 3, g + 6, g + 9] for g in range(GROUPS)]
    found = fitted.assign(Queries.of([*strangers, []])).tolist()
    assert found == [*expected, -1] and len(set(found)) == GROUPS + 1
    repeated = fitted.assign(Queries.of([strangers[0] * 3]))
    assert repeated.tolist() == found[:1]
    with pytest.raises(DataError, match="beyond the 90"):
        fitted.assign(Queries.of([[90]]))


def test_it_is_restored_to_the_bit(log: Dataset, fitted: SegmentModel) -> None:
    back = FAST.restore(fitted.arrays())
    assert np.array_equal(back.latent(log.histories()), fitted.latent(log.histories()))
    assert np.array_equal(back.assign(log.histories()), fitted.assign(log.histories()))
    with pytest.raises(DataError, match="do not fit the spec"):
        replace(FAST, size=5).restore(fitted.arrays())
    with pytest.raises(DataError, match="do not fit the spec"):
        replace(FAST, encoder="svd").restore(fitted.arrays())


def test_nobody_elses_random_numbers_are_drawn(log: Dataset, fitted: SegmentModel) -> None:
    """Neither training nor restoring moves the global state."""
    import torch

    before = torch.get_rng_state()
    FAST.fit(log, RUN)
    FAST.restore(fitted.arrays()).assign(log.histories())
    assert torch.equal(torch.get_rng_state(), before)


def test_segments_are_described_by_what_is_rare_elsewhere(
    log: Dataset, fitted: SegmentModel
) -> None:
    """S4-09: each planted group's items have the highest lift in its segment."""
    segments = described(fitted, log, items=4)
    assert sum(s.users for s in segments) == log.n_users
    assert [s.users for s in segments] == sorted((s.users for s in segments), reverse=True)
    for segment in segments:
        groups = {item.title.split()[1] for item in segment.items}
        assert len(groups) == 1 and len(segment.items) == 4
        assert segment.cohesion > 0.2
        lifts = [item.lift for item in segment.items]
        assert lifts == sorted(lifts, reverse=True) and lifts[-1] > 1


def test_lift_by_hand() -> None:
    """Two users of three have item 0, and both of segment 0: lift 1 / (2 / 3)."""
    events = pl.DataFrame(
        [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3), (4, 0), (4, 1)],
        schema={"user": pl.Int32, "item": pl.Int32}, orient="row",
    )  # fmt: skip
    nothing = [
        pl.lit(None, dtype=t).alias(n) for n, t in (("time", pl.Int64), ("rating", pl.Float32))
    ]
    log = Dataset(
        name="hand", users=pl.DataFrame({"user_id": list("abcde")}),
        items=pl.DataFrame({"item_id": list("wxyz"), "title": list("WXYZ")}),
        events=events.with_columns(*nothing, weight=pl.lit(1.0, dtype=pl.Float32)),
    )  # fmt: skip
    model = LatentSegments(encoder="svd", size=2, segments=2).fit(log, RUN)
    assert model.assign(log.histories()).tolist() == [0, 0, 1, 1, 0]
    first, second = described(model, log)
    assert (first.users, first.share, first.mean_length) == (3, 0.6, 2.0)
    assert [(i.item_id, i.users) for i in first.items] == [("w", 3), ("x", 3)]
    assert first.items[0].lift == pytest.approx(5 / 3)
    assert second.items == ()  # two users are too few to speak of
    odds = np.exp(segment_log_odds(model, log.histories(), strength=1.0))
    overall = np.array([4, 4, 3, 3]) / 14
    assert odds[-1] == pytest.approx(overall)
    assert odds[0] == pytest.approx((np.array([3, 3, 0, 0]) + overall) / 7)
    assert odds.sum(1) == pytest.approx(1)


def test_too_few_users_are_refused() -> None:
    log = taste_log(users=3)
    with pytest.raises(DataError, match="4 are needed"):
        FAST.fit(log, RUN)
    with pytest.raises(
        DataError,
        match=r"users have two different .*; to try segments on strangers 20 are needed",
    ):
        worth_of(FAST, taste_log(users=12), 0)


def test_groups_of_points_a_person_can_see() -> None:
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0], [9, 0], [0, 9], [9, 9]], dtype=np.float32)
    sizes = [40, 30, 20, 10]
    points = np.concatenate(
        [c + rng.normal(0, 0.5, (n, 2)) for c, n in zip(corners, sizes, strict=True)]
    )
    found = grouped(points.astype(np.float32), rng)
    assert len(found) == 4 and max(found.tried, key=lambda k: found.tried[k]) == 4
    assert np.abs(found.centres - corners).max() < 0.5  # largest first
    assert np.bincount(found.assign(points.astype(np.float32))).tolist() == sizes


def test_where_held_points_are_many_some_of_all_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of sorted points the first ones are of one group, and say nothing about two."""
    from hardrank.generators import clusters

    monkeypatch.setattr(clusters, "_LOOKED_AT", 20)
    rng = np.random.default_rng(0)
    points = np.repeat([[0.0, 0.0], [9.0, 9.0]], 100, axis=0) + rng.normal(0, 0.1, (200, 2))
    groups = grouped(points.astype(np.float32), rng, most=3)
    assert len(groups) == 2
    assert groups.tried[2] > 0.9


def test_k_means_agrees_with_a_slow_twin() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(60, 3)).astype(np.float32)
    centres = k_means(points, 3, np.random.default_rng(2))
    labels = Groups(centres=centres).assign(points)
    for k in range(3):  # a fixed point of Lloyd's: each centre is the mean of its own
        assert centres[k] == pytest.approx(points[labels == k].mean(0), abs=1e-6)
    again = k_means(points, 3, np.random.default_rng(2))
    assert np.array_equal(centres, again)
    assert len(grouped(np.ones((5, 2), np.float32), rng)) == 1


def test_silhouettes_of_one_group_are_zero() -> None:
    points = np.arange(6, dtype=np.float32)[:, None]
    assert silhouette(points, np.zeros(6, dtype=np.int64)).tolist() == [0] * 6
    assert silhouette(points, np.array([0, 0, 0, 1, 1, 1])).mean() > 0.4


def test_canonical_order_is_of_the_sets_alone() -> None:
    matrix = sparse.csr_matrix(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 0], [1, 0, 1]]))
    order = canonical(matrix)
    assert matrix[order].toarray().tolist() == [[1, 0, 0], [1, 0, 1], [1, 0, 1], [0, 1, 0]]
