"""Poisoned logs from file to findings: a whole small run, and what its numbers hang on."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from hardrank.audits import measure as measuring
from hardrank.audits import samples as table
from hardrank.audits.measure import recompute
from hardrank.cli.main import app
from hardrank.context import RunContext
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.detection import Degree
from hardrank.detection.examples import LabelledLog, check_apart
from hardrank.errors import ConfigError, DataError, LeakError
from hardrank.experiment import poison_logs
from hardrank.experiment.poison import _detectors, run_poisoning
from hardrank.experiment.poison_bench import Bench, World
from hardrank.experiment.poison_checks import strangers_to_test, stronger_than_chance
from hardrank.experiment.poison_defences import Detectors, defended, threshold
from hardrank.experiment.poison_detection import curves, detection_samples
from hardrank.experiment.poison_detection import tested as scored_on
from hardrank.experiment.poison_logs import Poisoned, example_targets, play_all, targets_of
from hardrank.experiment.poison_spec import (
    Defence,
    PoisonExperiment,
    family,
    load_poisoning,
    parse_poisoning,
)
from hardrank.experiment.poison_victims import Arm, refuse_held_out, trained
from hardrank.experiment.reading import dataset_of, split_of
from hardrank.findings import Finding
from hardrank.models import Ease, ItemKnn
from hardrank.testing.logs import taste_log
from hardrank.threats import Match
from hardrank.types import spec

RAW: dict[str, Any] = {
    "name": "tiny",
    "ks": [5, 10],
    "models": [{"kind": "ease", "regularisation": 10.0}, {"kind": "item-knn"}],
    "threat": {
        "surface": "profiles",
        "goal": {"kind": "promote", "items": ["i29", "i28"], "k": 10},
        "budget": {"profiles": 6, "profile_events": 8},
    },
    "attacks": [{"kind": "random-profiles"}, {"kind": "copy-profile"}],
    "baselines": ["copy-profile"],
    "detectors": [{"kind": "degree"}],
    "defences": [
        {"name": "filter", "detector": {"kind": "degree"}, "of": ["ease"], "flagged": 0.05,
         "adaptive": [{"kind": "random-profiles"}]},
    ],
}  # fmt: skip
FILES = ("report.html", "findings.json", "samples.parquet", "run.json", "profiles.json",
         "roc.json", "attacks/matches-0.jsonl", "adaptive-filter/matches-0.jsonl")  # fmt: skip


def written(log: Dataset, folder: Path) -> dict[str, Any]:
    """The `data` table of a file that reads this log."""
    names, items = log.users["user_id"], log.items["item_id"]
    events = log.events.select(
        user_id=names.gather(log.events["user"]), item_id=items.gather(log.events["item"]),
        time="time", rating="rating",
    )  # fmt: skip
    known = [n for n in ("time", "rating") if not events[n].null_count()]
    folder.mkdir(parents=True, exist_ok=True)
    events.select("user_id", "item_id", *known).write_csv(folder / "events.csv")
    log.items.write_csv(folder / "items.csv")
    return {"kind": "table", "path": str(folder / "events.csv"),
            "items": str(folder / "items.csv"), "columns": {n: n for n in known}}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return written(taste_log(users=60, items=30, events=8), tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def _few_draws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "DRAWS", 30)
        yield


def world(data: dict[str, Any], folder: Path, **changes: Any) -> World:
    experiment = parse_poisoning({**RAW, "data": data, **changes})
    source = dataset_of(experiment, folder)
    split = split_of(experiment, source)
    return World(experiment=experiment, source=source, split=split, run=RunContext(folder=folder),
                 aims=targets_of(experiment, split.train))  # fmt: skip


def run(data: dict[str, Any], folder: Path, **changes: Any) -> dict[tuple[str, ...], Finding]:
    """By subject, audit, metric, group and trial."""
    experiment = parse_poisoning({**RAW, "data": data, **changes})
    found = run_poisoning(experiment, RunContext(folder=folder)).findings
    return {(f.subject, f.audit, f.metric, f.group, f.trial): f for f in found}


def smallest(data: dict[str, Any], folder: Path, **changes: Any) -> dict[tuple[str, ...], Finding]:
    """One victim, one attack, nothing else."""
    few = {"models": RAW["models"][:1], "attacks": RAW["attacks"][:1], "detectors": [],
           "defences": [], "ks": [10]}  # fmt: skip
    return run(data, folder, **{**few, **changes})


@pytest.fixture(scope="module")
def done(data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run(data, folder)
    return folder


@pytest.fixture
def copied(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "copy"))


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kinds of the victims that were trained, one entry a training."""
    made: list[str] = []
    for kind in (Ease, ItemKnn):
        monkeypatch.setattr(kind, "fit", _noting(kind.fit, made))
    return made


def _noting(fit: Callable[..., Any], made: list[str]) -> Callable[..., Any]:
    def noted(self: Any, *given: Any, **named: Any) -> Any:
        made.append(self.kind)
        return fit(self, *given, **named)

    return noted


def without_clock(folder: Path) -> pl.DataFrame:
    return table.load(folder / "samples.parquet").drop("seconds")


def test_a_run_leaves_everything_a_reader_needs(done: Path) -> None:
    for name in FILES:
        assert (done / name).is_file(), name
    facts = json.loads((done / "run.json").read_text("utf-8"))
    assert facts["targets"] == ["i29", "i28"] and facts["real_users"] == 60
    subjects = table.load(done / "samples.parquet").filter(audit="utility")["subject"].unique()
    assert sorted(subjects) == ["ease/control", "ease/filter", "item-knn/control"]
    curve = json.loads((done / "roc.json").read_text("utf-8"))["degree"]
    assert curve[0] == [0, 0] and curve[-1] == [1, 1] and curve == sorted(curve)


def test_every_finding_follows_from_the_samples(done: Path) -> None:
    """S1-08: no number without its evidence."""
    samples = table.load(done / "samples.parquet")
    rows = json.loads((done / "findings.json").read_text("utf-8"))
    assert len(rows) > 100
    for row in rows:
        known = {n: tuple(v) if isinstance(v, list) else v for n, v in row.items()}
        found, again = Finding(**known), recompute(samples, Finding(**known))
        for name in ("value", "low", "high", "n", "seeds", "per_seed"):
            assert getattr(again, name) == getattr(found, name), (name, found)
    adaptive = {r["subject"] for r in rows if r["trial"] == "random-profiles (adaptive)"}
    assert adaptive == {"ease/filter"}


def test_run_again_trains_nothing(
    copied: Path, data: dict[str, Any], fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (copied / "findings.json").read_bytes()

    def played(*given: Any, **named: Any) -> Any:
        raise AssertionError("an attack was mounted again")

    monkeypatch.setattr(poison_logs, "play_profiles", played)
    run(data, copied)
    assert fits == []
    assert (copied / "findings.json").read_bytes() == before


def test_another_hyperparameter_trains_its_victim_again(
    copied: Path, data: dict[str, Any], fits: list[str]
) -> None:
    models = [{"kind": "ease", "regularisation": 11.0}, {"kind": "item-knn"}]
    run(data, copied, models=models)
    # two attacks on two targets and the clean log; the filtered arm has an adaptive one, too
    assert fits == ["ease"] * (5 + 7)


def test_a_killed_run_goes_on_where_it_stopped(
    done: Path, copied: Path, data: dict[str, Any], fits: list[str]
) -> None:
    matches = copied / "attacks" / "matches-0.jsonl"
    matches.write_bytes(matches.read_bytes()[:-500])  # in the middle of the last line
    for name in FILES[:6]:
        (copied / name).unlink()
    stage = copied / "stages" / "item-knn" / "control" / "0"
    shutil.rmtree(sorted(stage.glob("attack-*"))[0])
    run(data, copied)
    assert fits == ["item-knn"] * 3  # two targets, and the clean victim to compare with
    assert without_clock(copied).equals(without_clock(done))


def test_the_command(copied: Path, data: dict[str, Any], tmp_path: Path) -> None:
    """S1-08: the whole of it from a file, in one command."""
    path = tmp_path / "p.toml"
    path.write_text(_toml({**RAW, "data": data}), "utf-8")
    assert load_poisoning(path) == parse_poisoning({**RAW, "data": data})
    said = CliRunner().invoke(app, ["attack", "poison", str(path), "-o", str(copied), "-q"])
    assert said.exit_code == 0, said.output
    lines = said.output.splitlines()
    assert lines[0].startswith("T-HR@10 in %") and lines[-1].startswith("report: ")
    heads = lines[1].split()
    assert heads == ["attack", "ease/control", "ease/filter", "item-knn/control"]
    names = [line.split("  ")[0] for line in lines[2:8]]
    assert names == ["no attack", "random-profiles", "copy-profile", "random-profiles (adaptive)",
                     "all attacks", "all attacks and adaptive"]  # fmt: skip
    checked = CliRunner().invoke(app, ["attack", "poison", str(path), "--check"])
    assert checked.output == f"{path}: fine\n"


def _toml(value: Any, top: bool = True) -> str:
    if top:
        return "".join(f"{k} = {_toml(v, False)}\n" for k, v in value.items())
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v, False)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v, False) for v in value) + "]"
    return json.dumps(value)


def test_all_mistakes_of_a_file_are_told_at_once(data: dict[str, Any]) -> None:
    wrong = {
        **RAW, "data": data, "sede": 1, "ks": [0],
        "models": [{"kind": "ease", "regularisation": -1}],
        "attacks": [{"kind": "random-profils"}],
        "defences": [{"name": "x", "detector": {"kind": "degree"}, "flagged": 2.0}],
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        parse_poisoning(wrong)
    assert [m.partition(":")[0] for m in caught.value.mistakes] == [
        "attacks.0", "defences.0.flagged", "ks.0", "models.0.ease.regularisation", "sede",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"defences": [{"name": "control", "detector": {"kind": "degree"}}]}, "not a defended arm"),
        ({"defences": [{"name": "x"}]}, "give a detector, a model, an objective, growth or"),
        ({"defences": [{"name": "x", "model": {"kind": "wmf"}}]}, "x is for none of the models"),
        ({"defences": [RAW["defences"][0]] * 2}, "names must differ"),
        ({"attacks": [RAW["attacks"][0]] * 2}, "random-profiles stands there twice"),
        ({"examples": "odd:2"}, "odd"),
        ({"threat": {"goal": {"kind": "promote"}, "budget": {"words": 1}}}, "must be profiles"),
        ({"threat": {**RAW["threat"], "goal": {"kind": "degrade"}}}, "promote or demote"),
    ],
)
def test_what_makes_no_sense_is_refused(
    changes: dict[str, Any], said: str, data: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_poisoning({**RAW, "data": data, **changes})


def test_victims_of_one_kind_are_told_apart(data: dict[str, Any]) -> None:
    models = [{"kind": "ease"}, {"kind": "ease", "user_norm": 0.5}, {"kind": "item-knn"}]
    made = parse_poisoning({**RAW, "data": data, "models": models})
    assert list(made.victims()) == ["ease", "ease-2", "item-knn"]


def test_a_log_without_times_and_ratings(tmp_path: Path) -> None:
    """Love-hate speaks by ratings alone: what cannot be mounted is a finding with its reason."""
    log = taste_log(users=40, items=30, events=8, ratings=False, times=False)
    attacks = [{"kind": "random-profiles"}, {"kind": "love-hate"}]
    threat = {**RAW["threat"], "goal": {"kind": "demote", "items": ["i0"], "k": 10}}
    found = smallest(written(log, tmp_path / "data"), tmp_path / "run", attacks=attacks,
                     detectors=RAW["detectors"])  # fmt: skip
    about = ("ease/control", "promotion", "er_after@10", "all")
    assert found[*about, "random-profiles"].n == 2
    refused = found[*about, "love-hate"]
    assert (refused.value, refused.n) == (None, 0)
    assert refused.reason.startswith("could not run: attack 'love-hate'")
    assert (
        "love-hate" not in json.loads((tmp_path / "run" / "profiles.json").read_text())["attacks"]
    )
    demoted = smallest(written(log, tmp_path / "data"), tmp_path / "two", threat=threat,
                       attacks=attacks[1:])  # fmt: skip
    assert "works by ratings" in demoted[*about, "love-hate"].reason
    worst = demoted["ease/control", "worst-case", "er_after@10", "all", "all attacks"]
    assert worst.value is None and worst.reason.startswith("could not run")


def test_users_with_one_event_stay_in_training(tmp_path: Path) -> None:
    log = taste_log(users=40, items=30, events=8)
    alone = log.apply(Patch(tuple(AddProfile(f"one{n}", ("i0",), (4.0,)) for n in range(10))))
    made = world(written(alone, tmp_path / "data"), tmp_path / "run")
    assert made.split.train.n_users == 50 and len(made.split.test) == 40
    assert made.eligible.shape == (40, 2)
    found = smallest(written(alone, tmp_path / "data"), tmp_path / "run")
    assert found["ease/control", "promotion", "er_after@10", "all", "random-profiles"].n == 2


def test_a_catalogue_smaller_than_the_budget_and_a_target_nobody_touched(
    tmp_path: Path,
) -> None:
    log = taste_log(users=40, items=30, events=8)
    log = log.where(pl.col("item") != 29)
    threat = {**RAW["threat"], "goal": {"kind": "promote", "items": ["i29"], "k": 10},
              "budget": {"profiles": 6, "profile_events": 91}}  # fmt: skip
    found = smallest(written(log, tmp_path / "data"), tmp_path / "run", threat=threat)
    rows = table.load(tmp_path / "run" / "samples.parquet").filter(audit="promotion").to_dicts()
    assert [(r["sample"], r["eligible"], r["events"]) for r in rows] == [("i29", 40, 6 * 30)]
    after = found["ease/control", "promotion", "er_after@10", "all", "random-profiles"].value
    assert after is not None and after > 0


def test_a_detector_that_learns_needs_another_family(tmp_path: Path, data: dict[str, Any]) -> None:
    boosted = {"kind": "boosted", "trees": 5}
    with pytest.raises(DataError, match="no example logs to learn from"):
        smallest(data, tmp_path, detectors=[boosted])


def test_a_selection_too_small_for_examples_is_said(tmp_path: Path, data: dict[str, Any]) -> None:
    made = world(data, tmp_path, examples="random:29")
    with pytest.raises(DataError):
        example_targets(made.experiment, made.split.train, 0)


# Victims


@spec
class Cheat:
    """Learned, somehow, what it will be asked."""

    kind: Literal["cheat"] = "cheat"
    told: Any = None

    def fit(self, train: Dataset, run: RunContext, **_: Any) -> Any:
        honest, told = Ease().fit(train, run), self.told

        class Knows:
            items = train.items

            def score(self, queries: Any, slate: Any) -> Any:
                scores = honest.score(queries, slate).copy()
                wanted = dict(zip(told.queries.users.tolist(), told.targets.tolist(), strict=True))
                longer = queries.lengths > np.diff(train.offsets)[queries.users]
                for q, user in enumerate(queries.users.tolist()):
                    if longer[q] and user in wanted:  # asked as the test asks
                        scores[q, wanted[user]] = 99
                return scores

        return Knows()


def test_a_victim_that_was_trained_on_the_test_is_caught(
    tmp_path: Path, data: dict[str, Any]
) -> None:
    made = world(data, tmp_path)
    verdicts = {}
    for model in (Cheat(told=made.split.test), Ease(regularisation=10.0)):
        arm = Arm(label=model.kind, model=model, defence=None)  # type: ignore[arg-type]
        bench = Bench(world=made, arm=arm, detectors=Detectors(examples={}, run=made.run), seed=0)
        (check,) = strangers_to_test(bench.clean_samples(), subject=arm.subject)
        verdicts[model.kind] = (check.passed, check.seed)
    assert verdicts == {"cheat": (False, 0), "ease": (True, 0)}


def test_held_out_events_never_reach_training(tmp_path: Path, data: dict[str, Any]) -> None:
    made = world(data, tmp_path)
    refuse_held_out(made.split.train, made.split)
    arm = made.arms[0]
    for part, name in ((made.split.test, "test"), (made.split.valid, "validation")):
        user, item = int(part.queries.users[3]), int(part.targets[3])
        row = made.source.events.filter((pl.col("user") == user) & (pl.col("item") == item))[:1]
        events = pl.concat([made.split.train.events, row]).sort("user", maintain_order=True)
        leaky = replace(made.split.train, events=events)
        who = f"user '{made.source.users['user_id'][user]}' and item 'i{item}' of the {name} set"
        with pytest.raises(LeakError, match=who):
            trained(arm, leaky, made.split, seed=0, run=made.run)


def test_an_attack_may_not_copy_what_is_held_out(tmp_path: Path, data: dict[str, Any]) -> None:
    """S1-08: a real user's held-out event in a fake profile is no leak, the pair differs."""
    made = world(data, tmp_path)
    item = made.source.items["item_id"][int(made.split.test.targets[0])]
    poisoned = made.split.train.apply(Patch((AddProfile("x", (item,), (5.0,)),)))
    refuse_held_out(poisoned, made.split)


# Detectors and defences


@spec
class Marked:
    """Suspects whoever has an item that no real user has."""

    kind: Literal["marked"] = "marked"
    item: int = 29

    def __call__(self, dataset: Dataset) -> Any:
        have = np.zeros(dataset.n_users, dtype=np.float32)
        have[dataset.events.filter(pl.col("item") == self.item)["user"].to_numpy()] = 1
        return have


@spec
class Learner:
    """Notes what it is taught; suspects nobody."""

    kind: Literal["learner"] = "learner"
    notes: ClassVar[list[list[tuple[str, str]]]] = []

    def fit(self, examples: Any, run: RunContext) -> Any:
        self.notes.append([(log.attack, log.target) for log in examples])
        return lambda dataset: np.zeros(dataset.n_users, dtype=np.float32)


def poisoned(made: World) -> list[Poisoned]:
    return play_all(made.experiment, made.experiment.attacks, made.split.train, made.aims, seed=0,
                    run=made.run, folder="attacks")  # fmt: skip


def test_detectors_see_the_poisoned_log(tmp_path: Path) -> None:
    log = taste_log(users=60, items=30, events=8).where(pl.col("item") < 28)
    made = world(written(log, tmp_path / "data"), tmp_path, detectors=[])
    asked = SimpleNamespace(detectors=(Marked(),), seeds=(0,))
    logs = [p for p in poisoned(made) if p.match.target == "i29"]
    rows = detection_samples(
        asked, logs, Detectors(examples={}, run=made.run), made.families, 0, made.run  # type: ignore[arg-type]
    )  # fmt: skip
    assert set(rows["audit"]) == {"detection-auroc", "detection-ap", "detection-recall"}
    assert rows["value"].to_list() == [1.0] * 6
    assert curves(asked, tmp_path)["marked"] == [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]  # type: ignore[arg-type]


def test_scores_of_other_logs_are_not_taken_for_these(tmp_path: Path, data: dict[str, Any]) -> None:
    """The same attack on the same target with another budget is another log."""
    asked = SimpleNamespace(detectors=(Degree(),), seeds=(0,))
    rows = {}
    for profiles in (6, 3):
        threat = {**RAW["threat"], "budget": {"profiles": profiles, "profile_events": 8}}
        made = world(data, tmp_path, threat=threat)
        detection_samples(asked, poisoned(made), Detectors(examples={}, run=made.run),
                          made.families, 0, made.run)  # type: ignore[arg-type]  # fmt: skip
        (path,) = (tmp_path / "detection").glob("*.parquet")
        rows[profiles] = pl.read_parquet(path)
    assert rows[6]["fake"].sum() == 2 * 2 * 6 and rows[3]["fake"].sum() == 2 * 2 * 3
    half = scored_on(made.split.train, 0).sum()
    assert (~rows[3]["fake"]).sum() == 2 * 2 * half and 15 < half < 45


def test_no_detector_meets_the_family_it_is_asked_about(
    tmp_path: Path, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = {"kind": "obfuscated", "base": {"kind": "average-profiles"}}
    attacks = [*RAW["attacks"], {"kind": "average-profiles"}, hidden]
    defence = {"name": "filter", "detector": {"kind": "boosted", "trees": 5}}
    made = world(data, tmp_path, attacks=attacks, defences=[defence])
    detectors = _detectors(made, 0)
    kinds = {"random-profiles", "copy-profile", "average-profiles"}
    assert set(detectors.examples) == set(made.families.values()) == kinds
    assert [family(a) for a in made.experiment.attacks][2:] == ["average-profiles"] * 2
    monkeypatch.setattr(Learner, "notes", [])
    for name in (*kinds, "", *kinds):
        detectors.without(Learner(), name)
    assert len(Learner.notes) == 4, "once for each family"
    for name, notes in zip((*kinds, ""), Learner.notes, strict=True):
        assert {attack for attack, _ in notes} == kinds - {name}
        assert not {target for _, target in notes} & set(made.aims)


def test_labels_that_are_learned_are_of_other_users_than_the_figures(
    tmp_path: Path, data: dict[str, Any]
) -> None:
    defence = {"name": "filter", "detector": {"kind": "boosted", "trees": 5}}
    made = world(data, tmp_path, defences=[defence])
    examples = [log for logs in _detectors(made, 0).examples.values() for log in logs]
    assert len(examples) == 4
    for p in poisoned(made):
        judged = scored_on(p.log, 0)
        fake = np.arange(p.log.n_users) >= 60
        scored = LabelledLog(p.log, fake, "x")
        check_apart(scored, judged & ~fake, examples)
        for example in examples:
            learned = example.learned & ~example.fake
            assert not (learned[:60] & judged[:60]).any() and learned.sum() > 10
            assert (example.learned & example.fake).sum() == 6


def test_threshold_at_the_stated_share() -> None:
    log = taste_log(users=20, items=30, events=8)

    def rising(dataset: Dataset) -> Any:
        scores = np.arange(dataset.n_users, dtype=np.float32)
        scores[0] = np.nan  # not judged: 19 remain
        return scores

    for share, above in ((0.0, 0), (0.1, 1), (0.2, 3), (1.0, 18)):
        border = threshold(rising, log, share)
        assert (rising(log) > border).sum() == above, share
    assert threshold(lambda d: np.full(d.n_users, np.nan), log, 0.5) == np.inf


def test_dropped_users_leave_no_event() -> None:
    clean = taste_log(users=20, items=30, events=8).where(pl.col("item") < 29)
    log = clean.apply(Patch((AddProfile("x", ("i29", "i1"), (5.0, 5.0)),)))
    defence = Defence(name="f", detector=Degree())
    kept, trust = defended(defence, Marked(), clean, log)
    assert trust.tolist() == [1.0] * 20 + [0.0]
    assert kept.events.equals(clean.events) and kept.n_users == 21
    untouched, trust = defended(defence, None, clean, log)
    assert untouched is log and trust.tolist() == [1.0] * 21
    clear, trust = defended(defence, Marked(), clean, clean)
    assert clear.events.equals(clean.events) and trust.tolist() == [1.0] * 20


def test_suspicious_events_count_less() -> None:
    """1 up to the median, 1 - 0.95 x^2 at a share x of the way to the border, 0.05 beyond."""
    clean = taste_log(users=5, items=30, events=8)
    given = {5: [0.0, 1.0, 2.0, 3.0, 4.0], 6: [0.0, 1.0, 2.0, 3.0, np.nan, 9.0]}
    log = clean.apply(Patch((AddProfile("x", ("i1",), (5.0,)),)))
    defence = Defence(name="f", detector=Degree(), action="down-weight", flagged=0.0)
    lighter, trust = defended(
        defence, lambda d: np.array(given[d.n_users], dtype=np.float32), clean, log
    )
    # border 4 of the clean log, median 2 of this one; who was not judged is as the median
    expected = [1, 1, 1, 1 - 0.95 * 0.25, 1, 0.05]
    assert trust.tolist() == pytest.approx(expected)
    weights = lighter.events["weight"].to_numpy()
    users = lighter.events["user"].to_numpy()
    assert weights == pytest.approx(np.array(expected)[users], abs=1e-6)
    assert lighter.n_events == log.n_events


def test_adaptive_attackers_have_the_very_detector(
    tmp_path: Path, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2-10: the adaptive attack asks what the arm uses; all others know no defence."""
    calls: list[tuple[str, Any]] = []
    original = poison_logs.play_profiles

    def noting(attack: Any, threat: Any, train: Dataset, **named: Any) -> Match:
        known = named["detector"]
        calls.append((named["run"].folder.parent.parent.name, known and known(train)))
        return original(attack, threat, train, **named)

    monkeypatch.setattr(poison_logs, "play_profiles", noting)
    run(data, tmp_path, models=RAW["models"][:1], attacks=RAW["attacks"][:1], detectors=[], ks=[10])
    assert [folder for folder, _ in calls] == ["attacks"] * 2 + ["adaptive-filter"] * 2
    expected = Degree()(world(data, tmp_path).split.train)
    assert calls[0][1] is None and calls[1][1] is None
    for _, known in calls[2:]:
        assert np.array_equal(known, expected, equal_nan=True)


def test_another_detector_means_another_adaptive_attack(
    tmp_path: Path, data: dict[str, Any]
) -> None:
    few = {"models": RAW["models"][:1], "attacks": RAW["attacks"][:1], "detectors": [], "ks": [10]}
    for kind in ("degree", "pca-select"):
        run(data, tmp_path, **few, defences=[{**RAW["defences"][0], "detector": {"kind": kind}}])
    lines = (tmp_path / "adaptive-filter" / "matches-0.jsonl").read_text("utf-8").splitlines()
    assert len({json.loads(line)["victim"] for line in lines}) == 2 and len(lines) == 4


# Checks


def promotion(gains: dict[str, int], goal: str = "promote") -> pl.DataFrame:
    """hits after minus before of ten users, by attack; before, half of them."""
    return table.gather(
        table.samples({
            "subject": "m/control", "seed": 0, "audit": "promotion", "trial": trial,
            "sample": ["a"], "goal": goal, "k": 10, "eligible": 10, "hits_before": 5,
            "hits_after": 5 + gain,
        })
        for trial, gain in gains.items()
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gains", "goal", "passed"),
    [
        ({"random-profiles": 2, "bandwagon": 3}, "promote", [True]),
        ({"random-profiles": 3, "bandwagon": 2}, "promote", [False]),
        ({"random-profiles": -1, "love-hate": -3}, "demote", [True]),
        ({"random-profiles": -3, "love-hate": -1}, "demote", [False]),
        ({"bandwagon": 3}, "promote", []),
        ({"random-profiles": 3}, "promote", []),
    ],
)
def test_attacks_do_more_than_chance(gains: dict[str, int], goal: str, passed: list[bool]) -> None:
    made = list(stronger_than_chance(promotion(gains, goal), subject="m/control", k=10))
    assert [c.passed for c in made] == passed


def test_an_attack_that_was_not_mounted_is_no_yardstick() -> None:
    refused = table.samples({
        "subject": "m/control", "seed": 0, "audit": "promotion", "trial": "love-hate",
        "sample": ["a"], "goal": "promote", "k": 10, "error": "no ratings",
    })  # fmt: skip
    rows = pl.concat([promotion({"random-profiles": 2, "bandwagon": 3}), refused])
    assert [c.passed for c in stronger_than_chance(rows, subject="m/control", k=10)] == [True]


def test_the_example_is_right() -> None:
    path = Path(__file__).resolve().parents[2] / "examples" / "poisoning" / "poisoning.toml"
    made = load_poisoning(path)
    assert isinstance(made, PoisonExperiment) and made.defences and made.detectors
