"""The whole job on a marketplace so small that it takes seconds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from hardrank.attacks import Copycat, RandomWords
from hardrank.attacks.history import InsertEvents, RandomEvents
from hardrank.audits import samples as table
from hardrank.audits.verify import read_findings, verify
from hardrank.bundle import load_bundle
from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Slate
from hardrank.data.sources import Marketplace
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.errors import ConfigError, LeakError
from hardrank.experiment import run_experiment
from hardrank.experiment.spec import Cold, Curve, Experiment, Gates, Trial
from hardrank.hardening import Adversarial
from hardrank.models import Popularity, TextSequence
from hardrank.models.common import target_ranks
from hardrank.perturbations import FGM, PGD
from hardrank.recommender import best, mask_seen
from hardrank.threats import Budget, Degrade, Promote, ThreatModel
from hardrank.training import Training

TRAINING = Training(epochs=2, batch_size=128, patience=0, precision="float32")
THREAT = ThreatModel(
    goal=Promote(items="unpopular:2", k=5), knowledge="ranks",
    budget=Budget(words=2, queries=20, whole_text=True),
)  # fmt: skip
TINY = Experiment(
    name="tiny",
    data=Marketplace(users=80, items=60, median_events=6),
    model=TextSequence(size=16, length=10, whiten=16, max_tokens=16, training=TRAINING),
    compare=(Popularity(),),
    harden=Adversarial(inner=FGM(), radius=0.1),
    finetune=Training(epochs=1, batch_size=128, keep="last", patience=0, precision="float32"),
    trials=(Trial(threat=THREAT, attacks=(Copycat(candidates=4), RandomWords(vocabulary=10))),),
    curves=(Curve(inners=(PGD(steps=2), FGM()), radii=(0.05, 0.1, 0.2, 0.5, 1.0), unbounded=None),),
    gates=Gates(users=20, panel=16),
)
SUBJECTS = {"text-sequence/base", "text-sequence/control", "text-sequence/hardened"}


def at(folder: Path) -> RunContext:
    return RunContext(folder=folder)


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARDRANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of `TINY`: tests may add to it, but leave its experiment's parts."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run_experiment(TINY, at(folder))
    return folder


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`kind objective` of each training that is asked for."""
    asked: list[str] = []
    for made in (TextSequence, Popularity):
        plain = made.fit

        def spy(self: Any, *args: Any, _plain: Any = plain, **more: Any) -> Any:
            objective = more.get("objective")
            asked.append(f"{self.kind} {getattr(objective, 'kind', 'none')}")
            return _plain(self, *args, **more)

        monkeypatch.setattr(made, "fit", spy)
    return asked


@pytest.mark.slow
def test_leaves_everything_behind(finished: Path) -> None:
    for name in ("report.html", "findings.json", "samples.parquet", "run.json"):
        assert (finished / name).stat().st_size > 100, name
    samples = table.load(finished / "samples.parquet")
    assert set(samples["subject"]) == SUBJECTS | {"popularity/base"}
    assert set(samples["audit"]) == {
        "utility", "promotion", "curve", "gate", "coverage",
    }  # fmt: skip
    assert set(samples.filter(pl.col("audit") == "promotion")["trial"]) == set(
        TINY.trials[0].labels()
    )
    findings = read_findings(finished / "findings.json")
    said = {(f.subject, f.metric) for f in findings}
    assert ("text-sequence/hardened", "price(ndcg@10)") in said
    assert ("text-sequence/hardened", "defence_effect") in said
    assert {"p_value", "p_noninferior@0.03", "measured"} <= {metric for _, metric in said}
    assert {f.trial for f in findings if f.audit == "worst-case"} == {"all attacks"}
    radii = {f.radius for f in findings if f.audit == "curve"}
    assert radii == {0.0, 0.05, 0.1, 0.2, 0.5, 1.0}
    stated = [f for f in findings if f.audit not in ("gate", "coverage")]
    assert all("leave-one-out" in f.protocol for f in stated)
    page = (finished / "report.html").read_text("utf-8")
    assert "synthetic" in page.lower() and "tiny" in page


@pytest.mark.slow
def test_every_finding_is_recomputed_from_the_samples(finished: Path, tmp_path: Path) -> None:
    assert verify(finished) == []
    stored = json.loads((finished / "findings.json").read_text("utf-8"))
    chosen = next(n for n, f in enumerate(stored) if f["metric"] == "ndcg@10" and f["value"])
    stored[chosen]["value"] += 0.01
    (tmp_path / "findings.json").write_text(json.dumps(stored), "utf-8")
    (tmp_path / "samples.parquet").write_bytes((finished / "samples.parquet").read_bytes())
    assert [m.number for m in verify(tmp_path)] == [chosen]


@pytest.mark.slow
def test_the_curves_begin_at_the_clean_exposure(finished: Path) -> None:
    """At radius 0 nothing is perturbed: before and after are the same."""
    curve = table.load(finished / "samples.parquet").filter(pl.col("audit") == "curve")
    still = curve.filter(pl.col("radius") == 0)
    assert still.height and still["hits_before"].equals(still["hits_after"], check_names=False)
    assert curve["sample"].n_unique() == 2
    assert set(curve["trial"]) == {"pgd", "fgm"}


@pytest.mark.slow
def test_the_bundle_serves_what_was_evaluated(finished: Path) -> None:
    """The hardened arm of the first seed; for a user, what comes after the whole history."""
    bundle, control = load_bundle(finished / "bundle"), load_bundle(finished / "control")
    assert control.about["arm"] == "control" != bundle.about["arm"]
    assert control.about["seed"] == bundle.about["seed"]
    assert bundle.about["arm"] == "hardened" and bundle.about["synthetic"] is True
    assert (finished / "bundle" / "report.html").is_file()
    data, split = _world()
    samples = table.load(finished / "samples.parquet").filter(
        (pl.col("subject") == "text-sequence/hardened") & (pl.col("audit") == "utility")
    )
    ranks = target_ranks(bundle.recommender, split.test)
    assert samples["rank"].to_list() == ranks.tolist()
    queries = data.histories().take(np.array([7]))
    slate = np.arange(data.n_items)
    scores = mask_seen(bundle.recommender.score(queries, Slate(items=slate)).copy(), queries)
    wanted = data.items["item_id"][best(scores, 5)[0]].to_list()
    assert bundle.recommend(data.users["user_id"][7], k=5)["item_id"].to_list() == wanted


@pytest.mark.slow
def test_run_again_it_trains_nothing_and_says_the_same(finished: Path, fits: list[str]) -> None:
    before = (finished / "findings.json").read_bytes()
    run_experiment(TINY, at(finished))
    assert fits == []
    assert (finished / "findings.json").read_bytes() == before


@pytest.mark.slow
def test_another_folder_says_the_same(finished: Path, tmp_path: Path) -> None:
    """Nothing depends on where, when or in which process it ran."""
    run_experiment(TINY, at(tmp_path / "again"))
    again = (tmp_path / "again" / "findings.json").read_bytes()
    assert again == (finished / "findings.json").read_bytes()


@pytest.mark.slow
def test_an_altered_experiment_trains_only_what_changed(
    finished: Path, fits: list[str], tmp_path: Path
) -> None:
    """In the same folder: first the attacks, then the defence, then the base."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    trial = replace(TINY.trials[0], attacks=(RandomWords(vocabulary=5),))
    weaker = replace(TINY, trials=(trial,), curves=())
    run_experiment(weaker, at(folder))
    assert fits == []
    assert TINY.harden is not None
    run_experiment(replace(weaker, harden=replace(TINY.harden, weight=0.5)), at(folder))
    assert fits == ["text-sequence adversarial"]
    fits.clear()
    faster = replace(TINY.model, training=replace(TRAINING, learning_rate=0.01))
    run_experiment(replace(weaker, model=faster, trials=()), at(folder))
    assert sorted(fits) == [
        "text-sequence adversarial", "text-sequence none", "text-sequence plain"
    ]  # fmt: skip


@pytest.mark.slow
def test_other_held_out_events_are_other_work(
    finished: Path, fits: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal training data is not enough to keep a model that stops on other validation
    events, nor equal histories to keep the ranks of other targets."""
    folder, honest = tmp_path / "run", LeaveOneOut.split
    shutil.copytree(finished, folder)
    quick = replace(TINY, trials=(), curves=())

    def moved(part: str) -> None:
        def other(self: LeaveOneOut, data: Dataset) -> Split:
            split = honest(self, data)
            held: Holdout = getattr(split, part)
            first = held.queries.history(0)
            unseen = next(
                i for i in range(data.n_items)
                if i not in {*first, split.valid.targets[0], split.test.targets[0]}
            )  # fmt: skip
            targets = held.targets.copy()
            targets[0] = unseen
            return replace(split, source=None, **{part: replace(held, targets=targets)})

        monkeypatch.setattr(LeaveOneOut, "split", other)

    before = table.load(folder / "samples.parquet").filter(pl.col("audit") == "utility")
    moved("test")
    run_experiment(quick, at(folder))
    assert fits == []
    after = table.load(folder / "samples.parquet").filter(pl.col("audit") == "utility")
    assert after.height == before.height
    assert (after["rank"] != before["rank"]).any()
    moved("valid")
    run_experiment(quick, at(folder))
    assert "text-sequence none" in fits


@pytest.mark.slow
def test_hidden_items_are_measured_apart(tmp_path: Path) -> None:
    """S3: `[cold]` trains once more without some items and ranks them at test time."""
    cold = replace(
        TINY, cold=Cold(share=0.2, models=("text-sequence",)), trials=(), curves=(), harden=None
    )
    run_experiment(cold, at(tmp_path / "cold"))
    samples = table.load(tmp_path / "cold" / "samples.parquet")
    hidden = samples.filter(pl.col("subject") == "text-sequence/hidden")
    assert set(hidden["group"]) == {"warm", "cold"}
    _, split = _world()
    assert hidden.height == len(split.test)
    assert verify(tmp_path / "cold") == []
    with pytest.raises(ConfigError, match="no model 'hybrid'"):
        run_experiment(replace(cold, cold=Cold(models=("hybrid",))), at(tmp_path / "cold"))


@pytest.mark.slow
def test_killed_in_the_middle_and_run_again(finished: Path, tmp_path: Path) -> None:
    """C3: SIGKILL after the first arm, then the findings of a run that was never killed."""
    folder = tmp_path / "killed"
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from test_run import TINY, at, run_experiment\n"
        "run_experiment(TINY, at(Path(sys.argv[1])))\n"
    )
    mark = folder / "models" / "text-sequence" / "control-0" / "model" / "key"
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], env=dict(os.environ, OMP_NUM_THREADS="1")
    )
    try:
        for _ in range(6000):
            if mark.exists() or child.poll() is not None:
                break
            time.sleep(0.02)
        killed = child.poll() is None
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert mark.exists() and killed
    assert not (folder / "findings.json").exists()
    run_experiment(TINY, at(folder))
    assert (folder / "findings.json").read_bytes() == (finished / "findings.json").read_bytes()
    left = [p for p in folder.rglob("*.part") if p.is_dir() and any(p.iterdir())]
    assert len(left) <= 1, "at most the one file or folder that was being written"


def test_a_leaky_split_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: training holds the test events. Nothing is trained."""
    honest = LeaveOneOut.split

    def leaky(self: LeaveOneOut, data: Dataset) -> Split:
        split = honest(self, data)
        assert split.source is not None
        return replace(split, train=split.source)

    monkeypatch.setattr(LeaveOneOut, "split", leaky)
    with pytest.raises(LeakError, match="held-out valid pair is also a training event"):
        run_experiment(TINY, at(tmp_path / "leaky"))
    assert not (tmp_path / "leaky" / "models").exists()


def test_a_model_that_is_not_trained_by_steps_cannot_be_hardened() -> None:
    """Refused as a value already: it could never be hardened."""
    with pytest.raises(ValidationError, match="'text-sequence', 'hybrid', 'sasrec'"):
        replace(TINY, model=Popularity(), compare=())


def _world() -> tuple[Dataset, Split]:
    data = TINY.data.load()
    split = LeaveOneOut().split(data)
    assert split.source is not None
    return split.source, split


def test_histories_are_attacked_in_a_run(finished: Path, tmp_path: Path) -> None:
    """A trial on another surface goes to its own court, its own samples and its own table."""
    shutil.copytree(finished / "models", tmp_path / "models")
    goal = Promote(items="unpopular:3", k=5)
    budget = Budget(events=2, queries=200)
    histories = Trial(
        threat=ThreatModel(goal=goal, surface="history", knowledge="gradients", budget=budget),
        attacks=(InsertEvents(), RandomEvents()), users=12,
    )  # fmt: skip
    degrade = replace(
        histories, threat=replace(histories.threat, goal=Degrade(k=5)), name="degrade"
    )
    experiment = replace(TINY, compare=(), curves=(), trials=(histories, degrade))
    result = run_experiment(experiment, at(tmp_path))
    found = table.load(tmp_path / "samples.parquet").filter(pl.col("audit") == "history")
    assert set(found["trial"]) == {
        "insert-events", "random-events", "insert-events (degrade)", "random-events (degrade)",
    }  # fmt: skip
    assert found.filter(pl.col("subject") == "text-sequence/control").height == 48
    assert found["events"].max() <= 2 and found["queries"].max() <= 200
    shown = result.report.read_text("utf-8")
    assert "Attacks on histories" in shown and "insert-events" in shown
    assert verify(tmp_path) == []


def test_two_trials_with_one_label_are_told_apart_or_refused() -> None:
    trial = TINY.trials[0]
    with pytest.raises(ValidationError, match="in two trials; give one a `name`"):
        replace(TINY, trials=(trial, trial))
    assert (
        replace(TINY, trials=(trial, replace(trial, name="again")))
        .trials[1]
        .labels()[1]
        .endswith("(again)")
    )
