"""A small generator on a planted log, and hands that break it on purpose."""

from functools import cache

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.generators.interest_gan import InterestGan
from hardrank.generators.interest_generator import InterestGenerator
from hardrank.testing.logs import taste_log

SMALL = InterestGan(
    size=8, noise=4, width=16, steps=60, warmup=20, every=10, batch_size=32, average=0.9
)


@cache
def log() -> Dataset:
    return taste_log(users=120, items=60, events=12)


@cache
def trained() -> InterestGenerator:
    return SMALL.fit(log(), RunContext(seed=3))
