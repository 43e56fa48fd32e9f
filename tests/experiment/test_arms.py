"""Several hardened arms beside one control, on a marketplace that takes seconds."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from hardrank.attacks import Copycat, RandomWords
from hardrank.audits import samples as table
from hardrank.bundle import load_bundle
from hardrank.context import RunContext
from hardrank.data.sources import Marketplace
from hardrank.errors import ConfigError, Unsupported
from hardrank.experiment import Result, run_experiment
from hardrank.experiment.arm_spec import Arm, ForgeSpec
from hardrank.experiment.arms import audited_items
from hardrank.experiment.forge import SuiteForge, pool_of
from hardrank.experiment.reading import dataset_of, split_of
from hardrank.experiment.spec import Experiment, Gates, Trial, load_experiment
from hardrank.hardening import Adversarial, Discrete
from hardrank.models import Sasrec, TextSequence
from hardrank.models.sequence.influence import Influence
from hardrank.perturbations import FGM
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.training import Training

TRAINING = Training(epochs=2, batch_size=128, patience=0, precision="float32")
FGM_ARM = Adversarial(inner=FGM(), radius=0.1)
FORGE = ForgeSpec(
    attacks=(Copycat(candidates=3),), budget=Budget(queries=3, whole_text=True), items=6, panel=8
)
TINY = Experiment(
    name="arms",
    seeds=(0, 1),
    hide=0.2,
    data=Marketplace(users=80, items=60, median_events=6),
    model=TextSequence(size=16, length=10, whiten=16, max_tokens=16, training=TRAINING),
    compare=(Sasrec(size=8, length=10, training=TRAINING),),
    beside=("sasrec",),
    arms=(
        Arm(name="bounded", influence=Influence()),
        Arm(name="discrete", objective=Discrete(per_step=4), forge=FORGE),
    ),
    finetune=Training(epochs=2, batch_size=128, keep="last", patience=0, precision="float32"),
    trials=(
        Trial(
            threat=ThreatModel(
                goal=Promote(items="cold:2", k=5), knowledge="ranks",
                budget=Budget(words=2, queries=20, whole_text=True),
            ),
            attacks=(Copycat(candidates=4), RandomWords(vocabulary=10)),
        ),
    ),
    gates=Gates(users=20, panel=16),
)  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARDRANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield run_experiment(TINY, RunContext(folder=tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def samples(ran: Result) -> pl.DataFrame:
    return table.load(ran.folder / "samples.parquet")


def test_every_arm_is_attacked_on_the_same_targets_as_the_control(samples: pl.DataFrame) -> None:
    rows = samples.filter(pl.col("audit") == "promotion")
    aimed = rows.group_by("subject", "seed", "trial").agg(pl.col("sample").sort().str.join(","))
    for (_, _), same in aimed.group_by("seed", "trial"):
        assert same["sample"].n_unique() == 1
        assert set(same["subject"]) == {
            "text-sequence/control", "text-sequence/bounded", "text-sequence/discrete",
            "sasrec/base",
        }  # fmt: skip


def test_hidden_items_are_cold_in_every_table(samples: pl.DataFrame) -> None:
    clean = samples.filter(pl.col("audit") == "utility")
    for _, rows in clean.group_by("subject"):
        assert "cold" in set(rows["group"])
    split = split_of(TINY, dataset_of(TINY, Path()))
    assert (split.train.counts == 0).sum() >= 12


def test_findings_compare_each_arm_with_the_control(ran: Result) -> None:
    for arm in ("bounded", "discrete"):
        own = [f for f in ran.findings if f.subject == f"text-sequence/{arm}"]
        effects = [f for f in own if f.metric == "defence_effect"]
        assert {f.versus["subject"] for f in effects} == {"text-sequence/control"}
        prices = {f.group for f in own if f.metric == "price(ndcg@10)"}
        assert {"all", "cold"} <= prices
        control = next(f for f in own if f.metric == "control_arm")
        assert control.value == 1, control.reason


def test_the_first_arm_is_the_one_that_is_bundled(ran: Result) -> None:
    bundle = load_bundle(ran.bundle)
    assert bundle.spec.influence == Influence()  # type: ignore[attr-defined]


def test_no_audited_item_was_rewritten_for_training(ran: Result) -> None:
    split = split_of(TINY, dataset_of(TINY, ran.folder))
    for seed in TINY.seeds:
        folder = ran.folder / "models" / "text-sequence" / f"discrete-{seed}" / "training"
        pool = pool_of(folder, split.train)
        assert pool and not pool & set(audited_items(TINY, seed, split))
        written = [json.loads(p.read_text("utf-8")) for p in folder.glob("*/forged-*.json")]
        assert len(written) == 2, "one round for each epoch"
        assert all(text["attack"].startswith("copycat") for rows in written for text in rows)
    found = next(f for f in ran.findings if f.metric == "targets_not_in_training_pool")
    assert found.value == 1 and found.subject == "text-sequence/discrete"


def test_a_forge_depends_on_model_epoch_and_seed_alone(ran: Result) -> None:
    split = split_of(TINY, dataset_of(TINY, ran.folder))
    model = load_bundle(ran.bundle).recommender
    run = RunContext(folder=None)

    def forge(seed: int) -> SuiteForge:
        return SuiteForge(FORGE, seed, (), split.train, run)

    assert forge(0)(model, 1) == forge(0)(model, 1)
    assert {t.item for t in forge(0)(model, 1)} != {t.item for t in forge(0)(model, 2)}
    assert {t.item for t in forge(0)(model, 1)} != {t.item for t in forge(1)(model, 1)}
    assert repr(forge(0)) != repr(forge(1)) and "Dataset" not in repr(forge(0))


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"name": "control"}, "control is not a hardened arm"),
        ({"name": "Mine"}, "pattern"),
        ({"name": "a", "forge": FORGE}, "a forge belongs to"),
        ({"name": "a", "objective": Discrete()}, "they need one"),
    ],
)
def test_an_arm_that_makes_no_sense_is_refused(arm: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Arm(**arm)  # type: ignore[arg-type]


def test_two_arms_of_one_name_are_refused() -> None:
    twice = (Arm(name="hardened", influence=Influence()),)
    with pytest.raises(ValidationError, match="names must differ"):
        replace(TINY, harden=FGM_ARM, arms=twice)


def test_a_bound_on_text_is_refused_by_a_model_without_one(tmp_path: Path) -> None:
    wrong = replace(TINY, model=TINY.compare[0], compare=(), beside=(), trials=())
    with pytest.raises(Unsupported, match=r"arm bounded: 'sasrec' has no bound .* 'text-sequence'"):
        run_experiment(wrong, RunContext(folder=tmp_path))
    assert not list(tmp_path.iterdir()), "refused before anything was read or trained"


def test_a_model_beside_it_that_is_not_compared_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"beside: no model 'sasrek'; has: sasrec"):
        run_experiment(replace(TINY, beside=("sasrek",)), RunContext(folder=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["beauty", "industrial", "online-retail"])
def test_the_shipped_tables_have_the_default_first(name: str) -> None:
    path = Path(__file__).parents[2] / "examples" / f"hardening-{name}.toml"
    experiment = load_experiment(path)
    assert isinstance(experiment, Experiment)
    first = experiment.hardenings()[0]
    assert (first.name, first.influence, len(experiment.seeds)) == ("default", Influence(), 3)
