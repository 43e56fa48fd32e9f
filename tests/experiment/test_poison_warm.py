"""Victims that go on from their clean model, friendly users, and demotion: small whole runs."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.experiment.test_poison import RAW, run, smallest, without_clock, world, written

from hardrank.audits import measure as measuring
from hardrank.audits import samples as table
from hardrank.audits.measure import measure
from hardrank.context import RunContext
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.detection import Degree
from hardrank.errors import ConfigError, LeakError
from hardrank.experiment.poison import _detectors
from hardrank.experiment.poison_bench import Bench
from hardrank.experiment.poison_defences import befriended
from hardrank.experiment.poison_spec import Antidote, Defence, parse_poisoning
from hardrank.experiment.poison_victims import Arm, trained_on
from hardrank.experiment.poison_warm import Warm, begins, said, shorter
from hardrank.models import BprMf, Ease, LightGcn, RatingMf, Sasrec, Wmf
from hardrank.testing.logs import taste_log
from hardrank.training import Training

STEPS = {"epochs": 2, "batch_size": 64, "every": 1}
SMALL = {"size": 8, "length": 10, "training": STEPS}
SASREC = {"kind": "sasrec", **SMALL}
WARM = {"warm": {"epochs": 2}}
EVERY: list[dict[str, Any]] = [
    SASREC,
    {"kind": "text-sequence", "whiten": 8, **SMALL},
    {"kind": "hybrid", "whiten": 8, **SMALL},
    {"kind": "bpr-mf", "size": 4, "epochs": 3},
    {"kind": "light-gcn", "size": 4, "epochs": 3},
    {"kind": "wmf", "factors": 4, "sweeps": 3},
    {"kind": "rating-mf", "factors": 4, "sweeps": 3},
    {"kind": "ease", "regularisation": 10.0},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return written(taste_log(users=60, items=30, events=8), tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def _few_draws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "DRAWS", 30)
        yield


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool, int, str]]:
    """(kind, from a start, users of the log, its fingerprint) of each training."""
    made: list[tuple[str, bool, int, str]] = []
    for kind in (Ease, Sasrec, Wmf):
        monkeypatch.setattr(kind, "fit", _noting(kind.fit, made))
    return made


def _noting(fit: Callable[..., Any], made: list[tuple[str, bool, int, str]]) -> Callable[..., Any]:
    def noted(self: Any, train: Dataset, *given: Any, **named: Any) -> Any:
        begun = named.get("start") is not None
        made.append((self.kind, begun, train.n_users, train.fingerprint))
        return fit(self, train, *given, **named)

    return noted


# Going on


@pytest.mark.parametrize(
    "victims", [[SASREC, *EVERY[5:]], pytest.param(EVERY, marks=pytest.mark.slow)]
)
def test_without_fake_users_nothing_moves(
    data: dict[str, Any], tmp_path: Path, victims: list[dict[str, Any]]
) -> None:
    """S1-08: before and after hold equal training, so that what is left is the attack's."""
    threat = {**RAW["threat"], "budget": {"profiles": 0, "profile_events": 8}}
    found = smallest(data, tmp_path, models=victims, threat=threat, **WARM)
    samples = table.load(tmp_path / "samples.parquet")
    rows = samples.filter(audit="promotion", trial="random-profiles")
    assert rows.height == 2 * len(victims)
    for name in ("hits", "rank"):
        assert rows[f"{name}_before"].to_list() == rows[f"{name}_after"].to_list()
    assert set(rows["value"]) == {0.0}  # the score of no target moved by the least bit
    for model in victims:
        gain = found[f"{model['kind']}/control", "promotion", "er_gain@10", "all",
                     "random-profiles"]  # fmt: skip
        assert (gain.value, gain.n) == (0.0, 2)


@pytest.mark.slow
@pytest.mark.parametrize("warm", [WARM, {}])
def test_victims_that_read_order_and_text(
    data: dict[str, Any], tmp_path: Path, warm: dict[str, Any]
) -> None:
    """sequence models are poisoned and defended like any other victim; the targets have
    no training event, so that fake users alone make them known."""
    found = smallest(
        data, tmp_path, models=EVERY[:3], defences=[
            {"name": "filter", "detector": {"kind": "degree"}, "flagged": 0.05},
            {"name": "friends", "antidote": {"users": 5, "length": 5}},
        ], **warm,
    )  # fmt: skip
    shown = {key[0]: f for key, f in found.items() if key[1:3] == ("promotion", "er_after@10")}
    arms = ("control", "filter", "friends")
    assert set(shown) == {f"{m['kind']}/{a}" for m in EVERY[:3] for a in arms}
    assert all(f.n == 2 and f.value is not None for f in shown.values())
    for kind in ("text-sequence", "hybrid"):  # they score items that nobody had, too
        shift = found[f"{kind}/control", "promotion", "shift", "all", "random-profiles"]
        assert shift.value is not None and np.isfinite(shift.value)


def test_every_number_says_how_its_victim_was_trained(data: dict[str, Any], tmp_path: Path) -> None:
    found = smallest(data, tmp_path, models=[SASREC, EVERY[5], EVERY[-1]], **WARM)
    said_of = {key[0]: f.protocol for key, f in found.items() if key[1] == "promotion"}
    assert "sasrec is trained on from the clean model for 2 epochs" in said_of["sasrec/control"]
    assert "wmf is trained on from the clean model for 2 sweeps" in said_of["wmf/control"]
    assert "ease is trained anew on each poisoned log" in said_of["ease/control"]
    facts = json.loads((tmp_path / "run.json").read_text("utf-8"))
    for words in ("sasrec is trained on", "wmf is trained on", "ease is trained anew"):
        assert words in facts["protocol"] and words in (tmp_path / "report.html").read_text("utf-8")


def test_without_the_key_all_are_trained_anew(data: dict[str, Any], tmp_path: Path) -> None:
    found = smallest(data, tmp_path, models=[SASREC, EVERY[-1]])
    assert {f.protocol for key, f in found.items() if key[1] == "promotion"} == {
        json.loads((tmp_path / "run.json").read_text("utf-8"))["protocol"]
    }
    assert "each victim is trained anew" in next(iter(found.values())).protocol


def test_clean_and_poisoned_go_on_from_one_model(
    data: dict[str, Any], tmp_path: Path, fits: list[tuple[str, bool, int, str]]
) -> None:
    made = world(data, tmp_path)
    fits.clear()
    smallest(data, tmp_path, models=[SASREC, EVERY[-1]], **WARM)
    clean = made.split.train
    mine = [(begun, users) for kind, begun, users, _ in fits if kind == "sasrec"]
    assert mine == [(False, 60), (True, 60), (True, 66), (True, 66)]
    assert [log for kind, _, _, log in fits if kind == "sasrec"][:2] == [clean.fingerprint] * 2
    assert not any(begun for kind, begun, _, _ in fits if kind == "ease")


def test_going_on_is_the_same_run_after_run_and_resumes(
    data: dict[str, Any], tmp_path: Path, fits: list[tuple[str, bool, int, str]]
) -> None:
    smallest(data, tmp_path / "one", models=[SASREC], **WARM)
    first = without_clock(tmp_path / "one")
    smallest(data, tmp_path / "two", models=[SASREC], **WARM)
    assert without_clock(tmp_path / "two").equals(first)
    fits.clear()
    smallest(data, tmp_path / "two", models=[SASREC], **WARM)
    assert fits == []
    stage = tmp_path / "two" / "stages" / "sasrec" / "control" / "0"
    shutil.rmtree(next(iter(stage.glob("attack-*"))))
    smallest(data, tmp_path / "two", models=[SASREC], **WARM)
    assert [begun for _, begun, _, _ in fits] == [True] * 3  # the first model is read, not made
    assert without_clock(tmp_path / "two").equals(first)


def test_other_passes_are_another_measurement(
    data: dict[str, Any], tmp_path: Path, fits: list[tuple[str, bool, int, str]]
) -> None:
    for changes in ({}, {"warm": {"epochs": 1}}, {"warm": {"epochs": 3}}):
        smallest(data, tmp_path, models=[EVERY[5]], **changes)
    assert [begun for _, begun, _, _ in fits] == [False] * 3 + [False] + [True] * 3 + [True] * 3


def test_the_further_passes_are_all_made_and_the_last_one_counts() -> None:
    long = Sasrec(training=Training(epochs=40, learning_rate=2e-3))
    training = shorter(long, 4).training  # type: ignore[union-attr]
    assert training == Training(
        epochs=4, patience=0, every=4, keep="last", learning_rate=2e-3
    )  # fmt: skip
    assert shorter(BprMf(), 4) == BprMf(epochs=4) and shorter(LightGcn(), 4) == LightGcn(epochs=4)
    assert shorter(Wmf(), 1) == Wmf(sweeps=1) and shorter(RatingMf(), 2) == RatingMf(sweeps=2)
    assert said(Warm(epochs=1), Wmf()).startswith("trained on from the clean model for 1 sweep on")
    assert said(Warm(of=("wmf",)), Sasrec()) == said(None, Wmf()) == said(Warm(), Ease())


@pytest.mark.parametrize("model", [BprMf(size=3, epochs=1), Sasrec(size=4, training=Training(
    epochs=1, batch_size=64))])  # fmt: skip
def test_a_start_keeps_what_it_knows_of_the_real(model: Any) -> None:
    """A fake user, and an item that nobody had, get rows of their own; all others keep theirs."""
    log, run = taste_log(users=20, items=12, events=5), RunContext(seed=3)
    log = log.where(pl.Series(log.event_items != 11))
    ids = log.items["item_id"].to_list()
    fake = AddProfile("zz", tuple(ids[i] for i in (0, 1, 11)), ratings=(5, 5, 5), times=(
        1_600_000_000, 1_600_000_001, 1_600_000_002))  # fmt: skip
    poisoned = log.apply(Patch((fake,)))
    clean = model.fit(log, run)
    start = begins(model, clean, log, poisoned, run)
    had, has = clean.arrays(), start.arrays()
    if model.kind == "bpr-mf":
        assert np.array_equal(has["users"][:20], had["users"]) and has["users"].shape == (21, 3)
        assert np.array_equal(has["factors"], had["factors"])
    else:
        known = np.flatnonzero(log.counts)
        place = np.searchsorted(np.flatnonzero(poisoned.counts), known)
        assert np.array_equal(
            has["network/tower.ids"][place], had["network/tower.ids"][: len(known)]
        )
        assert len(has["network/tower.ids"]) == len(had["network/tower.ids"]) + 1
    again = begins(model, clean, log, poisoned, run)
    assert all(np.array_equal(again.arrays()[n], a) for n, a in has.items())


def test_held_out_events_do_not_come_in_by_going_on(data: dict[str, Any], tmp_path: Path) -> None:
    made = world(data, tmp_path)
    arm = Arm(label="wmf", model=Wmf(factors=2, sweeps=1), defence=None)
    clean = arm.spec.fit(made.split.train, RunContext())
    with pytest.raises(LeakError):
        trained_on(arm, clean, made.split.train, made.source, made.split, epochs=1, seed=0,
                   run=RunContext())  # fmt: skip


@pytest.mark.parametrize(
    ("warm", "told"),
    [
        ({"of": ["ease"]}, "'ease' has nothing to go on from"),
        ({"of": ["sasrec"]}, "none of the models goes on"),
        ({}, "none of the models goes on"),
        ({"epochs": 0}, "warm.epochs"),
    ],
)
def test_a_warm_start_that_makes_no_sense(
    warm: dict[str, Any], told: str, data: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_poisoning({**RAW, "data": data, "warm": warm})


# Friendly users

FRIENDS = {"name": "friends", "antidote": {"users": 7, "length": 5}}


def test_friendly_users_train_and_are_not_counted(
    data: dict[str, Any], tmp_path: Path, fits: list[tuple[str, bool, int, str]]
) -> None:
    """S4-05: they stand behind the fake users of the log as the defender finds it."""
    found = smallest(data, tmp_path, defences=[FRIENDS])
    assert [users for _, _, users, _ in fits] == [60, 66, 66, 67, 73, 73]
    samples = table.load(tmp_path / "samples.parquet")
    for audit in ("utility", "poisoned", "promotion"):
        arms = [samples.filter(audit=audit, subject=f"ease/{a}") for a in ("control", "friends")]
        for name in ("sample", "eligible", "events"):
            assert arms[0][name].to_list() == arms[1][name].to_list()
    about = ("ease/friends", "utility", "price(ndcg@10)", "all", "clean")
    assert found[about].n == 60
    assert found["ease/friends", "worst-case", "er_after@10", "all", "all attacks"].n == 2


def test_friendly_users_are_drawn_from_the_poisoned_log(
    data: dict[str, Any], tmp_path: Path
) -> None:
    made = world(data, tmp_path)
    clean = made.split.train
    ids = clean.items["item_id"].to_list()
    copies = [AddProfile(f"f{n}", tuple(ids[9:15]), ratings=(5,) * 6, times=tuple(
        1_600_000_000 + t for t in range(6))) for n in range(40)]  # fmt: skip
    poisoned = clean.apply(Patch(tuple(copies)))
    defence = Defence(name="friends", antidote=Antidote(users=9, length=6))
    first, second = (befriended(defence, log, seed=1) for log in (clean, poisoned))
    assert first.n_users == 69 and second.n_users == 109
    assert befriended(defence, clean, seed=1).fingerprint == first.fingerprint
    assert befriended(defence, clean, seed=2).fingerprint != first.fingerprint
    theirs = [
        (log.event_items[log.events["user"].to_numpy() >= n]).tolist()
        for log, n in ((first, 60), (second, 100))
    ]
    assert theirs[0] != theirs[1]
    assert befriended(Defence(name="x", model=Ease()), clean, seed=1) is clean


def test_flagged_users_are_gone_before_friends_come(data: dict[str, Any], tmp_path: Path) -> None:
    both = {**FRIENDS, "detector": {"kind": "degree"}, "flagged": 0.2}
    made = world(data, tmp_path, defences=[both])
    arm = next(a for a in made.arms if a.defence and a.label == "ease")
    bench = Bench(world=made, arm=arm, detectors=_detectors(made, 0), seed=0)
    log = bench._read(made.split.train, "")
    lengths = np.diff(log.offsets)
    assert log.n_users == 67 and (lengths[:60] == 0).sum() > 0 and (lengths[60:] > 0).all()


def test_a_log_is_scored_once_for_all_victims(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    honest = Degree.__call__

    def noting(self: Degree, dataset: Dataset) -> Any:
        asked.append(dataset.fingerprint)
        return honest(self, dataset)

    monkeypatch.setattr(Degree, "__call__", noting)
    found = smallest(data, tmp_path, models=RAW["models"],
                     defences=[{**RAW["defences"][0], "of": [], "adaptive": []}])  # fmt: skip
    assert len(asked) == len(set(asked)) == 3  # two poisoned logs and the clean one
    assert {"ease/filter", "item-knn/filter"} <= {key[0] for key in found}


# Demotion


@pytest.fixture(scope="module")
def demoted(data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demoted")
    threat = {
        "surface": "profiles", "goal": {"kind": "demote", "items": ["i5", "i8"], "k": 10},
        "budget": {"profiles": 20, "profile_events": 8},
    }  # fmt: skip
    run(data, folder, models=[{"kind": "rating-mf", "factors": 3, "sweeps": 4}], threat=threat,
        attacks=[{"kind": "random-profiles"}, {"kind": "love-hate"}, {"kind": "average-profiles"}],
        baselines=["average-profiles"], detectors=[],
        defences=[{"name": "filter", "detector": {"kind": "degree"}, "flagged": 0.3}])  # fmt: skip
    return folder


def test_the_strongest_demotion_leaves_least(demoted: Path) -> None:
    """for each target the attack with the lowest exposure, by hand from the samples."""
    samples = table.load(demoted / "samples.parquet").filter(audit="promotion", k=10)
    found = {
        (f["subject"], f["metric"]): f
        for f in json.loads((demoted / "findings.json").read_text("utf-8"))
        if f["audit"] == "worst-case"
    }
    losses = {}
    for subject in ("rating-mf/control", "rating-mf/filter"):
        after, lost = [], []
        for (_,), rows in samples.filter(subject=subject).group_by("sample"):
            shares = (rows["hits_after"] / rows["eligible"]).to_list()
            before = (rows["hits_before"] / rows["eligible"]).to_list()
            assert len(shares) == 3 and len(set(before)) == 1
            after.append(min(shares))
            lost.append(before[0] - min(shares))
        losses[subject] = float(np.mean(lost))
        assert found[subject, "er_after@10"]["value"] == pytest.approx(np.mean(after))
        assert found[subject, "er_gain@10"]["value"] == pytest.approx(-np.mean(lost))
    assert losses["rating-mf/control"] > 0.05  # the attack does lower something
    effect = found["rating-mf/filter", "defence_effect@10"]["value"]
    expected = 1 - losses["rating-mf/filter"] / losses["rating-mf/control"]
    assert effect == pytest.approx(expected)


def test_a_page_of_a_demotion_speaks_of_losses(demoted: Path) -> None:
    source = (demoted / "report.html").read_text("utf-8")
    for words in ("What fake users do to their targets", "loss given back", "Worst cases",
                  "Loss of T-HR@10 beyond the simple attacks"):  # fmt: skip
        assert words in source, words
    assert "gain taken away" not in source


def test_an_attack_that_demotes_more_is_ahead_of_the_simple_one(demoted: Path) -> None:
    rows = json.loads((demoted / "findings.json").read_text("utf-8"))
    mine = [f for f in rows if f["metric"] == "difference@10(average-profiles)"]
    assert {f["trial"] for f in mine} == {"random-profiles", "love-hate"}
    assert {f["formula"] for f in mine} == {"difference(er_loss)"}


def test_least_and_loss_by_hand() -> None:
    """Ten users, 8 of whom saw both targets; attacks leave 6 or 1 and 5 or 7 of them."""
    left = {"x": {"a": 6, "b": 5}, "y": {"a": 1, "b": 7}}
    samples = table.gather(
        table.samples({
            "subject": "m/control", "seed": 0, "audit": "promotion", "trial": trial,
            "sample": list(hits), "k": 10, "eligible": 10, "hits_before": 8,
            "hits_after": list(hits.values()),
        })
        for trial, hits in left.items()
    )  # fmt: skip
    about: dict[str, Any] = {"subject": "m/control", "audit": "promotion",
                             "where": {"trial": ["x", "y"]}}  # fmt: skip
    values = {
        formula: measure(samples, metric=formula, **about).value
        for formula in ("least(er_after)", "worst(er_loss)", "least(er_gain)", "er_loss")
    }
    assert values == pytest.approx({"least(er_after)": 0.3, "worst(er_loss)": 0.5,
                                    "least(er_gain)": -0.5, "er_loss": 0.325})  # fmt: skip
    assert replace(measure(samples, metric="er_loss", **about), reason="").n == 2
