"""A cap on what new users may give an item, as a defence of a poisoning run (S4-05)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.experiment.test_poison import smallest, world, written

from hardrank.audits import measure as measuring
from hardrank.data.growth import allowed
from hardrank.detection.examples import LabelledLog
from hardrank.experiment.poison import _adapted, _detectors
from hardrank.experiment.poison_bench import Bench
from hardrank.experiment.poison_defences import capped, newcomers
from hardrank.experiment.poison_logs import play_all
from hardrank.experiment.poison_spec import Defence, Growth
from hardrank.testing.logs import taste_log

CAP: dict[str, Any] = {"name": "cap", "growth": {"slack": 0.0, "newcomers": 0.25}}
KNOWS = {"adaptive": [{"kind": "few-profiles", "profiles": 2}]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return written(taste_log(users=60, items=30, events=8), tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def _few_draws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "DRAWS", 30)
        yield


def test_who_joined_last_is_new() -> None:
    """By the first event, not by the last one; by lot, and by seed, without times."""
    log = taste_log(users=60, items=30, events=8)
    users = log.events["user"].to_numpy()
    first = np.full(log.n_users, np.inf)
    np.minimum.at(first, users, log.events["time"].to_numpy())
    new = newcomers(log, 0.25, seed=0)
    assert new.sum() == 15
    assert first[new].min() >= first[~new].max()
    timeless = log.where(pl.lit(value=True))
    object.__setattr__(timeless, "events", timeless.events.drop("time"))
    drawn = [newcomers(timeless, 0.25, seed=s) for s in (0, 0, 1)]
    assert [d.sum() for d in drawn] == [15, 15, 15]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()


def test_fake_users_are_always_new_and_capped(data: dict[str, Any], tmp_path: Path) -> None:
    made = world(data, tmp_path, defences=[CAP])
    train = made.split.train
    (played, *_) = play_all(
        made.experiment, made.experiment.attacks[:1], train, made.aims, seed=0, run=made.run,
        folder="attacks",
    )  # fmt: skip
    defence = made.experiment.defences[0]
    read = capped(defence, train, played.log, seed=0)
    row = int(made.rows[0])
    new = np.ones(played.log.n_users, dtype=np.bool_)
    new[: train.n_users] = newcomers(train, 0.25, seed=0)
    given = read.event_items[new[read.events["user"].to_numpy()]]
    assert (np.bincount(given, minlength=30) <= allowed(played.log, new, 0.0)).all()
    assert read.counts[row] < played.log.counts[row], "some mentions of the target are gone"
    assert read.n_users == played.log.n_users
    assert capped(defence, train, played.log, seed=0).fingerprint == read.fingerprint
    assert capped(Defence(name="x", growth=Growth(slack=99.0)), train, train, seed=0).n_events == (
        train.n_events
    )


def test_an_attacker_may_know_a_cap_without_a_detector(
    data: dict[str, Any], tmp_path: Path
) -> None:
    """He has no detector to ask, and his fake users are in a folder of the arm."""
    made = world(data, tmp_path, defences=[{**CAP, **KNOWS}])
    arm = next(a for a in made.arms if a.defence)
    detectors = _detectors(made, 0)
    assert detectors.examples == {} or all(
        isinstance(log, LabelledLog) for logs in detectors.examples.values() for log in logs
    )
    (attack,) = arm.defence.adaptive  # type: ignore[union-attr]
    logs = _adapted(made, arm, attack, detectors, 0)
    assert [len(p.match.patch) for p in logs] == [2] * len(made.aims)
    assert (tmp_path / "adaptive-cap").is_dir()
    bench = Bench(world=made, arm=arm, detectors=detectors, seed=0)
    assert bench._read(logs[0].log, "").n_users == made.split.train.n_users + 2


def test_the_run_says_what_the_cap_takes_away(data: dict[str, Any], tmp_path: Path) -> None:
    """Its price on the clean log and the worst case with the attacker who knows it."""
    found = smallest(data, tmp_path, defences=[{**CAP, **KNOWS}])
    price = found["ease/cap", "utility", "price(ndcg@10)", "all", "clean"]
    assert price.n == 60 and price.value is not None
    for trial in ("all attacks", "all attacks and adaptive"):
        assert found["ease/cap", "worst-case", "er_after@10", "all", trial].n == 2
    about = ("ease/cap", "promotion", "er_after@10", "all")
    assert found[(*about, "few-profiles(profiles=2) (adaptive)")].value is not None
