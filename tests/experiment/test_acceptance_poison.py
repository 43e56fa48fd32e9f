"""What a table of poisoned logs hangs on, each shown to break when it is broken."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pytest

from hardrank.audits import measure as measuring
from hardrank.audits import samples as table
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.errors import FoulPlay
from hardrank.experiment.poison import _detectors, run_poisoning
from hardrank.experiment.poison_bench import World
from hardrank.experiment.poison_defences import Detectors
from hardrank.experiment.poison_detection import detection_samples
from hardrank.experiment.poison_logs import Poisoned, play_all, targets_of
from hardrank.experiment.poison_spec import parse_poisoning
from hardrank.experiment.reading import dataset_of, split_of
from hardrank.testing.logs import taste_log
from hardrank.types import spec

RAW: dict[str, Any] = {
    "name": "tiny",
    "ks": [10],
    "models": [{"kind": "ease", "regularisation": 10.0}],
    "threat": {
        "surface": "profiles",
        "goal": {"kind": "promote", "items": ["i29"], "k": 10},
        "budget": {"profiles": 6, "profile_events": 8},
    },
    "attacks": [{"kind": "random-profiles"}, {"kind": "copy-profile"}],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    log, path = taste_log(users=40, items=30, events=8), tmp_path_factory.mktemp("data")
    names, items = log.users["user_id"], log.items["item_id"]
    log.events.select(
        user_id=names.gather(log.events["user"]), item_id=items.gather(log.events["item"]),
        time="time", rating="rating",
    ).write_csv(path / "events.csv")  # fmt: skip
    log.items.write_csv(path / "items.csv")
    return {"kind": "table", "path": str(path / "events.csv"), "items": str(path / "items.csv"),
            "columns": {"time": "time", "rating": "rating"}}  # fmt: skip


def world(data: dict[str, Any], folder: Path, **changes: Any) -> World:
    experiment = parse_poisoning({**RAW, "data": data, **changes})
    source = dataset_of(experiment, folder)
    split = split_of(experiment, source)
    return World(experiment=experiment, source=source, split=split, run=RunContext(folder=folder),
                 aims=targets_of(experiment, split.train))  # fmt: skip


def poisoned(made: World) -> list[Poisoned]:
    return play_all(made.experiment, made.experiment.attacks, made.split.train, made.aims, seed=0,
                    run=made.run, folder="attacks")  # fmt: skip


def test_nobody_is_eligible_who_has_the_target_held_out(
    data: dict[str, Any], tmp_path: Path
) -> None:
    """S1-08: touched in training, in validation or in test, a target is nothing new to a user."""
    plain = world(data, tmp_path)
    ids = plain.source.items["item_id"].to_list()
    for part in (plain.split.test, plain.split.valid):
        user, item = int(part.queries.users[0]), int(part.targets[0])
        goal = {"kind": "promote", "items": [ids[item]], "k": 10}
        made = world(data, tmp_path, threat={**RAW["threat"], "goal": goal})
        touched = set(made.source.events.filter(pl.col("item") == item)["user"].to_list())
        train = set(made.split.train.events.filter(pl.col("item") == item)["user"].to_list())
        assert user in touched - train
        expected = [u not in touched for u in made.split.test.queries.users.tolist()]
        assert made.eligible[:, 0].tolist() == expected and any(expected)


@spec
class Learner:
    """Notes the families that it is taught; suspects nobody."""

    kind: Literal["learner"] = "learner"
    notes: ClassVar[list[set[str]]] = []

    def fit(self, examples: Any, run: RunContext) -> Any:
        self.notes.append({log.family for log in examples})
        return lambda dataset: np.zeros(dataset.n_users, dtype=np.float32)


def test_figures_are_of_a_detector_that_never_met_the_family(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2-10: not only can it be fitted without a family, it is."""
    made = world(data, tmp_path, detectors=[{"kind": "boosted", "trees": 5}])
    monkeypatch.setattr(Learner, "notes", [])
    asked: Any = SimpleNamespace(detectors=(Learner(),), seeds=(0,))
    detection_samples(asked, poisoned(made), _detectors(made, 0), made.families, 0, made.run)
    assert Learner.notes == [{"copy-profile"}, {"random-profiles"}], "in the order of the attacks"


def test_users_who_are_not_judged_are_least_suspicious(
    data: dict[str, Any], tmp_path: Path
) -> None:
    for judged, auroc in (("fake", 1.0), ("real", 0.0)):
        made = world(data, tmp_path / judged)

        @spec
        class Partial:
            kind: Literal["partial"] = "partial"
            side: str = "fake"

            def __call__(self, dataset: Dataset) -> Any:
                scores = np.full(dataset.n_users, np.nan, dtype=np.float32)
                scores[slice(40, None) if self.side == "fake" else slice(40)] = -5.0
                return scores

        asked: Any = SimpleNamespace(detectors=(Partial(side=judged),), seeds=(0,))
        rows = detection_samples(
            asked, poisoned(made), Detectors(examples={}, run=made.run), made.families, 0, made.run
        )
        assert rows.filter(audit="detection-auroc")["value"].to_list() == [auroc, auroc]


def test_a_kept_patch_goes_before_the_referee_again(data: dict[str, Any], tmp_path: Path) -> None:
    """A file of fake users that somebody lengthened by hand is foul play, too."""
    made = world(data, tmp_path)
    poisoned(made)
    path = tmp_path / "attacks" / "matches-0.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    edit = lines[0]["patch"]["edits"][0] if "edits" in lines[0]["patch"] else lines[0]["patch"][0]
    free = [i for i in made.source.items["item_id"].to_list() if i not in edit["item_ids"]]
    more = 9 - len(edit["item_ids"])
    edit["item_ids"] += free[:more]
    for name in ("ratings", "times"):
        if edit.get(name):
            edit[name] += edit[name][-1:] * more
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    with pytest.raises(FoulPlay, match="9 events, budget 8"):
        poisoned(made)


def test_a_defence_never_met_the_family_and_fake_users_count_nowhere(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clean log and an adaptive attack meet the detector that knows every family; each other
    attack the one that does not know its own. Whoever has a row in quality is real."""
    monkeypatch.setattr(measuring, "DRAWS", 20)
    asked: list[str] = []
    original = Detectors.remembered

    def noting(self: Detectors, wanted: Any, family: str = "") -> Any:
        asked.append(family)
        return original(self, wanted, family)

    monkeypatch.setattr(Detectors, "remembered", noting)
    defence = {"name": "filter", "detector": {"kind": "boosted", "trees": 3}, "flagged": 0.05,
               "adaptive": [{"kind": "copy-profile"}]}  # fmt: skip
    experiment = parse_poisoning({**RAW, "data": data, "defences": [defence]})
    run_poisoning(experiment, RunContext(folder=tmp_path))
    assert _order(asked) == ["", "random-profiles", "copy-profile", ""]
    made = world(data, tmp_path)
    real = set(made.source.users["user_id"].to_list())
    rows = table.load(tmp_path / "samples.parquet")
    for audit in ("utility", "validation", "poisoned"):
        users = set(rows.filter(pl.col("audit") == audit)["sample"].to_list())
        assert users and users <= real, audit


def _order(names: Sequence[str]) -> list[str]:
    """Without repeats of what stands right before."""
    return [n for i, n in enumerate(names) if not i or n != names[i - 1]]
