"""A small generator on a planted log."""

import pytest

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.generators.interest_gan import InterestGan
from hardrank.generators.interest_generator import InterestGenerator
from hardrank.testing.logs import taste_log


@pytest.fixture(scope="session")
def gan_log() -> Dataset:
    return taste_log(users=120, items=60, events=12)


@pytest.fixture(scope="session")
def small_gan() -> InterestGan:
    return InterestGan(
        size=8, noise=4, width=16, steps=60, warmup=20, every=10, batch_size=32, average=0.9
    )


@pytest.fixture(scope="session")
def gan_model(gan_log: Dataset, small_gan: InterestGan) -> InterestGenerator:
    return small_gan.fit(gan_log, RunContext(seed=3))
