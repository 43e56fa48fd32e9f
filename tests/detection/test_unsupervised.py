"""What each detector was made for, planted (rows C7, S4-16)."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from tests.detection.planted_profiles import (
    DAY,
    START,
    copies,
    random_fillers,
    wide_log,
    with_fakes,
)

from hardrank.data.sources import MovieLens
from hardrank.detection import (
    Bursts,
    Combined,
    Degree,
    Duplicates,
    Fap,
    InterestConsistency,
    PcaSelect,
    Rings,
    TextMismatch,
    UnRap,
    calibrated,
    combine,
)
from hardrank.testing.logs import taste_log
from hardrank.testing.worlds import dataset


def auroc(fake, scores):
    return roc_auc_score(fake, np.nan_to_num(scores, nan=np.nanmin(scores)))


def judged_by(detector, planted):
    data, fake = planted
    return fake, detector(data)


@pytest.mark.parametrize("rated", [True, False])
def test_pca_finds_random_fillers(rated):
    log = wide_log(ratings=rated)
    assert auroc(*judged_by(PcaSelect(), with_fakes(log, random_fillers(log)))) >= 0.95


def test_pca_equals_the_dense_eigenvectors():
    log = taste_log(users=100, items=30, seed=3)
    rows = np.zeros((100, 30))
    rows[log.events["user"].to_numpy(), log.event_items] = log.events["rating"].to_numpy()
    z = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    weights = (np.linalg.eigh(z @ z.T)[1][:, -3:] ** 2).sum(1)
    np.testing.assert_allclose(PcaSelect()(log), -np.log(weights), rtol=1e-4)


def test_unrap_equals_the_double_sum():
    log = taste_log(users=40, items=20, events=8, seed=1)
    rows = np.zeros((40, 20))
    rows[log.events["user"].to_numpy(), log.event_items] = log.events["rating"].to_numpy()
    own = rows.mean(1, keepdims=True)
    residue = rows - rows.mean(0, keepdims=True) - own + rows.mean()
    expected = (residue**2).sum(1) / ((rows - own) ** 2).sum(1)
    np.testing.assert_allclose(UnRap()(log), expected, rtol=1e-5)


def test_unrap_finds_random_fillers():
    log = wide_log()
    assert auroc(*judged_by(UnRap(), with_fakes(log, random_fillers(log)))) >= 0.9


def test_degree_finds_unpopular_fillers():
    log = wide_log()
    assert auroc(*judged_by(Degree(), with_fakes(log, random_fillers(log)))) >= 0.9


@pytest.mark.parametrize("seed", range(3))
def test_copied_profiles_are_found_by_their_target(seed):
    """Fillers that fit perfectly, no rating and no time: only the target gives them away."""
    log = wide_log(seed=seed, ratings=False, times=False)
    data, fake = with_fakes(log, copies(log, seed=seed), seed=seed)
    detector = InterestConsistency()
    assert auroc(fake, detector(data)) >= 0.95
    items = detector.item_scores(data)
    assert np.nanargmax(items) == log.n_items - 1


def test_an_unfitting_event_has_the_highest_score():
    """Row S4-16: a user's events against one swapped in from another taste."""
    log = wide_log(ratings=False, times=False)
    group = log.event_items % 3
    foreign = group != (log.events["user"].to_numpy() % 3)
    found = InterestConsistency().event_scores(log)
    assert roc_auc_score(foreign, found) >= 0.85


def test_fap_spreads_from_the_seeds_to_all_fakes():
    log = wide_log()
    planted = with_fakes(log, copies(log))
    assert auroc(*judged_by(Fap(), planted)) >= 0.8


def test_duplicates_are_found_whole_and_in_part():
    log = wide_log()
    rng = np.random.default_rng(0)
    parts = [list(rng.permutation(p[:-1])[:8]) for p in copies(log)]
    data, fake = with_fakes(log, parts)
    assert auroc(fake, Duplicates()(data)) >= 0.75
    users = log.events["user"].to_numpy()
    twice = [log.event_items[users == 5].tolist()] * 2
    data, fake = with_fakes(log, twice)
    found = Duplicates()(data)
    assert found[fake].min() >= np.sort(found)[-3], "the two copies and the copied one lead"


def test_a_ring_is_found():
    """12 users who share 8 rare items and each have fillers of their own."""
    log = wide_log()
    rng = np.random.default_rng(1)
    rare = np.argsort(log.counts, kind="stable")[:8]
    ring = [
        [*rng.choice(np.argsort(-log.counts)[:60], 10, replace=False), *rare] for _ in range(12)
    ]
    data, fake = with_fakes(log, ring)
    found = Rings()(data)
    assert found[fake].min() > found[~fake].max()


def test_a_burst_is_found_and_a_spread_attack_is_none():
    log = wide_log()
    fillers = random_fillers(log)
    rng = np.random.default_rng(0)
    late = [
        [*(np.sort(rng.integers(0, 50 * DAY, 13)) + START), START + 60 * DAY + n * 60]
        for n in range(len(fillers))
    ]
    data, fake = with_fakes(log, fillers, times=late)
    found = Bursts()(data)
    assert found[fake].min() > found[~fake].max()
    assert np.nanargmax(Bursts().item_scores(data)) == log.n_items - 1
    spread, _ = with_fakes(log, fillers)
    assert np.nanmax(Bursts()(spread)) < found[fake].min() / 2


def test_bursts_judge_nobody_without_times():
    assert np.isnan(Bursts()(taste_log(times=False))).all()


def test_a_busy_week_of_the_whole_shop_is_no_burst():
    """Time runs by the log's own pace."""
    log = wide_log()
    rng = np.random.default_rng(0)
    when = rng.integers(0, 100 * DAY, log.n_events)
    when[rng.random(len(when)) < 0.5] //= 100
    events = log.events.with_columns(time=pl.Series(when + START)).sort("user", "time")
    assert np.nanmax(Bursts()(replace(log, events=events))) < 8


def test_text_that_disagrees_is_found():
    """Readers of shoes who all touched one lamp: the lamp, the events and the users."""
    rng = np.random.default_rng(0)
    about = [
        ["shoe", "leather", "sole", "lace", "heel", "boot"],
        ["lamp", "desk", "bulb", "light", "shade", "wire"],
    ]
    texts = [" ".join(rng.choice(about[n // 40], 4, replace=False)) for n in range(80)]
    odds = 1 / (1 + np.arange(40.0))
    odds /= odds.sum()
    histories = [
        (rng.choice(40, 6, replace=False, p=odds) + 40 * (u // 100)).tolist() for u in range(200)
    ]
    histories += [[*rng.choice(40, 6, replace=False, p=odds).tolist(), 79] for _ in range(10)]
    data = dataset(texts, histories)
    detector = TextMismatch()
    assert np.nanargmax(detector.item_scores(data)) == 79
    events = detector.event_scores(data)
    strange = (data.events["user"].to_numpy() >= 200) & (data.event_items == 79)
    assert roc_auc_score(strange, events) >= 0.95
    fake = np.arange(210) >= 200
    assert auroc(fake, detector(data)) >= 0.95


def test_texts_without_words_are_no_crash():
    data = dataset(["...", "!!!", ""], [[0, 1], [1, 2], [0, 2]])
    assert np.isfinite(TextMismatch()(data)).all()


def test_combined_is_the_mean_rank_or_the_largest_distance():
    log = wide_log()

    def one(dataset):
        return np.arange(dataset.n_users, dtype=np.float32)

    def other(dataset):
        return np.full(dataset.n_users, np.nan, dtype=np.float32)

    ranks = combine([one, other], log, how="ranks")
    np.testing.assert_allclose(ranks, (np.arange(300) + 0.5) / 300, rtol=1e-6)
    assert np.isnan(combine([other], log, how="ranks")).all()
    far = combine([one, lambda d: -one(d)], log, how="largest")
    np.testing.assert_allclose(far, far[::-1], rtol=1e-6)
    assert far.argmin() in (149, 150)


@pytest.mark.parametrize("kind", [random_fillers, copies])
def test_combined_finds_attacks_of_either_kind(kind):
    log = wide_log()
    assert auroc(*judged_by(Combined(), with_fakes(log, kind(log)))) >= 0.9


@pytest.mark.parametrize("seed", range(2))
def test_copied_profiles_in_real_ratings(data_folder, seed):
    """ML-100K, 50 copies of 91 of a real user's events with one target: the target is the most
    suspicious item of all, and its fakes are found without a rating or a time being read."""
    log = MovieLens(path=data_folder / "ml-100k" / "raw").load()
    nothing = {"rating": pl.Float32(), "time": pl.Int64()}
    log = replace(
        log,
        events=log.events.with_columns(
            pl.lit(None, dtype=kind).alias(name) for name, kind in nothing.items()
        ),
    )
    rng = np.random.default_rng(seed)
    target = int(rng.choice(np.flatnonzero((log.counts >= 5) & (log.counts <= 30))))
    long = np.flatnonzero(np.diff(log.offsets) >= 91)
    own = [log.event_items[log.offsets[u] : log.offsets[u + 1]] for u in rng.choice(long, 50)]
    fakes = [[*rng.choice(i[i != target], 90, replace=False).tolist(), target] for i in own]
    data, fake = with_fakes(log, fakes)
    detector = InterestConsistency()
    assert np.nanargmax(detector.item_scores(data)) == target
    assert auroc(fake, detector(data)) >= 0.98
    touched = np.isin(np.arange(data.n_users), data.events["user"].to_numpy()[
        data.event_items == target])  # fmt: skip
    # honest users of the target are suspected with it, hardly anybody else is
    assert np.nan_to_num(calibrated(detector(data)))[~touched].mean() < 0.01
