"""Sample quality."""

import numpy as np
import pytest

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.errors import DataError
from hardrank.generators.interest_gan import InterestGan
from hardrank.generators.interest_generator import InterestGenerator
from hardrank.generators.quality import auroc, fresh_auroc, measure, pair_auroc
from hardrank.testing.logs import taste_log


def test_auroc_by_hand() -> None:
    assert auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0])) == pytest.approx(3.5 / 4)


def test_fresh_discriminators_find_random_profiles_and_not_real_ones() -> None:
    log = taste_log(users=160, items=90, events=14, seed=1)
    real = [log.histories().history(u) for u in range(160)]
    rng = np.random.default_rng(0)
    random = [rng.choice(90, size=len(r), replace=False) for r in real[80:]]
    assert max(fresh_auroc(real[:80], random, log, rng)) > 0.95
    assert max(fresh_auroc(real[:80], real[80:], log, rng)) < 0.65
    with pytest.raises(DataError, match="too few"):
        fresh_auroc(real[:5], random, log, rng)


def test_quality_of_a_small_generator(gan_log: Dataset, gan_model: InterestGenerator) -> None:
    """S2-01: lengths and popularity within 0.15 of the real ones; S2-04: 95 % differ."""
    found = measure(gan_model, gan_log, np.random.default_rng(0), samples=300)
    assert found.length_ks <= 0.15
    assert found.popularity_ks <= 0.15
    assert found.unique >= 0.95
    assert found.samples == 300
    again = measure(gan_model, gan_log, np.random.default_rng(0), samples=300)
    assert again == found
    with pytest.raises(DataError, match="to measure what is drawn 20 are needed"):
        measure(gan_model, taste_log(users=10), np.random.default_rng(0))


@pytest.mark.slow
def test_the_pair_head_knows_whose_events_they_are() -> None:
    """S4-13, S4-16: on users that it never saw, in a log with three tastes (two strangers in
    three differ in taste, so no head could exceed 5/6 by much)."""
    log = taste_log(users=400, items=60, events=20)
    known = log.where(log.events["user"] < 300)
    spec = InterestGan(size=8, noise=4, width=32, steps=300, warmup=100, batch_size=64)
    model = spec.fit(known, RunContext(seed=0))
    held = log.histories().take(np.arange(300, 400))
    assert pair_auroc(model, held, np.random.default_rng(1)) >= 0.75
    assert measure(model, known, np.random.default_rng(0)).auroc <= 0.65
