"""Down-weighted users weigh less in what each victim minimises, or the file is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hardrank.context import RunContext
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.data.splits import LeaveOneOut
from hardrank.detection.calibrator import Calibrator
from hardrank.detection.degree import Degree
from hardrank.errors import ConfigError
from hardrank.experiment.poison_defences import defended
from hardrank.experiment.poison_spec import Defence, parse_poisoning
from hardrank.experiment.poison_victims import Arm, trained
from hardrank.experiment.poison_weights import WEIGHED, rows_by_trust, unweighed
from hardrank.hardening.reweighting import Reweighted
from hardrank.models.bpr_mf import BprMf
from hardrank.models.ease import Ease
from hardrank.models.item_knn import ItemKnn
from hardrank.models.popularity import Popularity
from hardrank.models.rating_mf import RatingMf
from hardrank.models.sasrec import Sasrec
from hardrank.models.wmf import Wmf
from hardrank.testing.logs import taste_log
from hardrank.training import Training

SMALL = Sasrec(size=8, layers=1, heads=1, length=10, training=Training(epochs=1, batch_size=64))
FAKES = 6


@pytest.fixture(scope="module")
def split() -> Any:
    return LeaveOneOut().split(taste_log(users=30, items=20, events=8))


@pytest.fixture(scope="module")
def log(split: Any) -> Dataset:
    fakes = [
        AddProfile(f"x{n}", tuple(f"i{i}" for i in (n, n + 3, 19)), (5.0,) * 3)
        for n in range(FAKES)
    ]
    made: Dataset = split.train.apply(Patch(tuple(fakes)))
    return made


def last(suspected: int) -> Any:
    """Suspects whoever came last, which no real detector may."""

    def scores(dataset: Dataset) -> Any:
        known = np.linspace(0, 0.1, dataset.n_users).astype(np.float32)
        return np.where(np.arange(dataset.n_users) >= 30, suspected * np.float32(9), known)

    return scores


def weighed(split: Any, log: Dataset, suspected: int) -> Dataset:
    defence = Defence(name="f", detector=Degree(), action="down-weight", flagged=0.0)
    return defended(defence, last(suspected), split.train, log)[0]


def arrays(model: Any, read: Dataset, split: Any) -> dict[str, Any]:
    arm = Arm(label=model.kind, model=model, defence=None)
    return dict(trained(arm, read, split, seed=0, run=RunContext()).arrays())


def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    "model", [Ease(), Wmf(factors=4), RatingMf(factors=4), SMALL], ids=lambda m: m.kind
)
def test_trust_comes_into_what_is_learned(model: Any, split: Any, log: Dataset) -> None:
    """S2-10: the same log, the same seed, other weights: another model."""
    assert unweighed(model, None) is None
    heavy, light = weighed(split, log, 0), weighed(split, log, 1)
    users = light.events["user"].to_numpy()
    weights = light.events["weight"].to_numpy()
    assert weights[users >= 30] == pytest.approx(0.05)
    assert light.n_events == heavy.n_events
    assert not same(arrays(model, heavy, split), arrays(model, light, split))


@pytest.mark.parametrize("model", [BprMf(epochs=1), ItemKnn(), Popularity()], ids=lambda m: m.kind)
def test_victims_without_weights_are_refused(model: Any, split: Any, log: Dataset) -> None:
    """What they learn is the same whatever the weights: the arm would be the control."""
    told = unweighed(model, None)
    assert told is not None and f"{model.kind} counts every event alike" in told
    assert same(arrays(model, log, split), arrays(model, weighed(split, log, 1), split))


def test_a_sequence_model_is_trained_with_the_very_trust(split: Any, log: Dataset) -> None:
    """As LoRec re-weighs users: the objective that is given their weights by hand."""
    light = weighed(split, log, 1)
    made = rows_by_trust(SMALL, light)
    assert isinstance(made, Reweighted) and isinstance(made.users, dict)
    fakes = [made.users[f"x{n}"] for n in range(FAKES)]
    assert fakes == pytest.approx([0.05] * FAKES)
    by_hand = replace(made, users=dict(made.users))
    arm = Arm(label="sasrec", model=SMALL, defence=Defence(name="h", objective=by_hand))
    given = dict(trained(arm, light, split, seed=0, run=RunContext()).arrays())
    assert same(given, arrays(SMALL, light, split))
    assert rows_by_trust(SMALL, log) is None and rows_by_trust(Ease(), light) is None


def test_who_joined_after_the_detector_weighs_one(split: Any, log: Dataset) -> None:
    later = weighed(split, log, 1).apply(Patch((AddProfile("friend", ("i1", "i2"), (5.0, 5.0)),)))
    made = rows_by_trust(SMALL, later)
    assert made is not None and isinstance(made.users, dict)
    assert made.users["friend"] == 1.0 and made.users["x0"] < 1


RAW: dict[str, Any] = {
    "name": "weights",
    "data": {"kind": "movielens", "path": "nowhere"},
    "models": [{"kind": "ease"}, {"kind": "bpr-mf"}],
    "attacks": [{"kind": "random-profiles"}],
}
LIGHTER = {"name": "lorec", "detector": {"kind": "calibrator"}, "action": "down-weight"}


def test_a_file_that_weighs_in_vain_is_refused() -> None:
    with pytest.raises(ConfigError, match="lorec: bpr-mf counts every event alike"):
        parse_poisoning({**RAW, "defences": [LIGHTER]})
    fine = parse_poisoning({**RAW, "defences": [{**LIGHTER, "of": ["ease"]}]})
    assert fine.defences[0].detector == Calibrator()
    dropped = parse_poisoning({**RAW, "defences": [{**LIGHTER, "action": "drop"}]})
    assert dropped.defences[0].action == "drop"
    sequence = {**RAW, "models": [{"kind": "sasrec"}]}
    assert parse_poisoning({**sequence, "defences": [LIGHTER]}).defences
    both = {**LIGHTER, "objective": {"kind": "r-drop"}}
    with pytest.raises(ConfigError, match="no place for another one"):
        parse_poisoning({**sequence, "defences": [both]})


def test_every_kind_that_weighs_is_tried_above() -> None:
    assert set(WEIGHED) == {"ease", "wmf", "rating-mf"}
