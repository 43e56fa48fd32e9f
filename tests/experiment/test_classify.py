"""`hardrank run` of a classifier on a tiny encoder: stages, resume, gates, report, verify."""

import csv
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from hardrank.audits.verify import read_findings, verify
from hardrank.context import RunContext
from hardrank.errors import ConfigError, Unsupported
from hardrank.experiment import (
    ClassifierExperiment,
    Result,
    load_experiment,
    parse_experiment,
    run_experiment,
)
from hardrank.findings import Finding
from hardrank.metrics.classification import class_report
from hardrank.reports import summary_table

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *("good", "bad", "red", "blue", "mug", "lamp"))
WORDS += ("new", "old")
TRAINING = 'batch_size = 32, learning_rate = 5e-3, patience = 0, precision = "float32"'
TOML = f"""
name = "reviews"
seeds = [0, 1]
[data]
path = "DATA"
labels = ["blame", "praise"]
shares = [0.15, 0.3]
[classifier]
encoder = "ENCODER"
max_tokens = 10
training = {{ epochs = 12, {TRAINING} }}
[harden]
kind = "adversarial"
site = "text-vectors"
inner = {{ kind = "fgm" }}
radius = 0.1
[finetune]
epochs = 6
keep = "last"
batch_size = 32
learning_rate = 1e-3
patience = 0
precision = "float32"
[[curves]]
site = "text-vectors"
[[curves]]
site = "token-embeddings"
texts = 24
[[curves.inners]]
kind = "pgd"
steps = 8
norm = "token-l2"
[[curves.inners]]
kind = "gaussian"
norm = "token-l2"
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment on 260 planted reviews: `good` and `new` praise, `bad` and `old` blame."""
    folder = tmp_path_factory.mktemp("reviews")
    rng, said = np.random.default_rng(0), (("bad", "old"), ("good", "new"))
    with (folder / "reviews.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["label", "text"])
        for k in range(260):
            words = [*rng.choice(["red", "blue", "mug", "lamp"], 2), said[k % 2][rng.integers(2)]]
            # One review in ten says the opposite of its label: nobody can be right on all.
            wrong = k % 20 in (3, 16)
            label = ("blame", "praise")[(k % 2) ^ wrong]
            rows.writerow([label, " ".join(rng.permutation([*words, str(k)]))])
    _encoder(folder / "bert")
    text = TOML.replace("DATA", str(folder / "reviews.csv"))
    (folder / "e.toml").write_text(text.replace("ENCODER", str(folder / "bert")))
    return folder / "e.toml"


def _encoder(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    made = Tokenizer(models.WordPiece({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(config)
    for parameter in model.parameters():  # far from the origin, so that nothing is flat
        parameter.data.mul_(3.0)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    folder = tmp_path_factory.mktemp("run")
    return RunContext(folder=folder / "out", cache=folder / "cache")


@pytest.fixture(scope="module")
def result(file: Path, run: RunContext) -> Result:
    return run_experiment(load_experiment(file), run)


def _one(result: Result, **wanted: object) -> Finding:
    found = [f for f in result.findings if all(getattr(f, k) == v for k, v in wanted.items())]
    assert len(found) == 1, (wanted, len(found))
    return found[0]


def test_every_number_is_recomputed_from_the_samples(result: Result) -> None:
    assert verify(result.folder) == []
    assert read_findings(result.folder / "findings.json") == result.findings


def test_the_classifier_learns_and_its_baselines_stand_beside_it(result: Result) -> None:
    clean = {"audit": "utility", "metric": "accuracy", "group": "all"}
    base = _one(result, subject="text-classifier/base", **clean)
    assert base.value > 0.8 and base.seeds == (0, 1) and base.n == 78
    assert _one(result, subject="majority/base", **clean).value == pytest.approx(0.5, abs=0.05)
    assert _one(result, subject="tfidf-logistic/base", **clean).value > 0.8
    majority = _one(result, subject="majority/base", audit="utility", metric="auc", group="all")
    assert majority.value == 0.5


def test_the_class_report_is_that_of_the_stored_predictions(result: Result) -> None:
    """S1-20: one stored row a test text and seed; the report follows from the file alone."""
    rows = pl.read_parquet(result.folder / "samples.parquet").filter(
        (pl.col("audit") == "utility") & (pl.col("subject") == "text-classifier/hardened")
    )
    assert rows.height == 2 * 78 and rows["sample"].n_unique() == 78
    labels = rows["label"].to_numpy()
    report = class_report(labels, rows["value"].to_numpy() >= 0.5, 2)
    about = {"subject": "text-classifier/hardened", "audit": "utility", "group": "all"}
    for metric in ("precision", "recall", "f1"):
        assert _one(result, metric=metric, **about).value == pytest.approx(
            getattr(report, metric)[1]
        )
    blame = _one(result, metric="accuracy", **(about | {"group": "blame"}))
    assert blame.value == pytest.approx(report.recall[0])


def test_flips_are_the_curve_at_its_claim(result: Result) -> None:
    """E1-4: a text that was wrong before the attack is in no success rate."""
    for site, most in (("text-vectors", 78), ("token-embeddings", 24)):
        flip = {"audit": "flip", "trial": f"pgd({site}, radius 0.1)"}
        for arm in ("control", "hardened"):
            about = {"subject": f"text-classifier/{arm}"} | flip
            success = _one(result, metric="asr", **about)
            before = _one(result, metric="accuracy_before", **about)
            after = _one(result, metric="accuracy_after", **about)
            assert before.n == after.n == most and success.n < most
            assert after.value == pytest.approx(before.value * (1 - success.value), abs=0.02)
            at = [
                f for f in result.findings if f.audit == "curve" and f.subject == about["subject"]
            ]
            same = [f for f in at if f.radius == 0.1 and f.trial == "pgd" and f.metric == "accuracy"
                    and f.where["site"] == site]  # fmt: skip
            assert [f.value for f in same] == [after.value]
    assert _one(
        result, metric="defence_effect", trial="pgd(text-vectors, radius 0.1)"
    ).value is not None  # fmt: skip


def test_gates_are_asked_of_both_arms(result: Result) -> None:
    gates = [f for f in result.findings if f.audit == "gate"]
    passed = {(f.metric, f.subject.partition("/")[2]): f.value for f in gates}
    for arm in ("control", "hardened"):
        for name in (
            "tells_texts_apart", "gradients_not_zero", "loss_rises_along_gradient",
            "larger_radius_wins_more", "stronger_attack_wins_more", "unbounded_attack_wins",
        ):  # fmt: skip
            assert passed[name, arm] == 1, (name, arm)
    assert passed["control_arm", "hardened"] == passed["adaptive_attack", "hardened"] == 1
    unseen = next(f for f in gates if f.metric == "unseen_attack")
    assert unseen.value == 1 and "token-embeddings" in unseen.reason
    assert "text-vectors" not in unseen.reason
    assert ("quality_floor", "hardened") in passed


def test_the_report_speaks_of_decisions_not_of_rankings(result: Result) -> None:
    page = result.report.read_text("utf-8")
    text = (result.folder / "report.md").read_text("utf-8")
    for said in (page, text):
        assert "Accuracy under attack" in said and "right decisions" in said
        assert "NDCG" not in said and "eligible users" not in said
    shown = summary_table(result.findings, model="text-classifier")
    assert "Accuracy under attack" in shown and "accuracy falls from" in shown
    assert result.bundle is None


def test_facts_say_what_was_attacked_and_with_what_data(result: Result) -> None:
    facts = json.loads((result.folder / "run.json").read_text("utf-8"))
    assert facts["model"] == "text-classifier" and facts["seeds"] == [0, 1]
    assert "260 labelled texts" in facts["data_card"]
    assert len(facts["threats"]) == 2 and "token embeddings" in facts["threats"][1]
    assert "class 1, praise" in facts["protocol"]


def test_run_again_it_does_nothing_again(
    result: Result, file: Path, run: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished stage was done again")

    monkeypatch.setattr("hardrank.models.text_classification.fit.train", refuse)
    monkeypatch.setattr("hardrank.experiment.classify.flip_curve", refuse)
    before = (result.folder / "findings.json").read_bytes()
    again = run_experiment(load_experiment(file), run)
    assert (again.folder / "findings.json").read_bytes() == before


def test_without_hardening_there_is_a_control_and_no_claim(
    file: Path, run: RunContext, tmp_path: Path
) -> None:
    whole = load_experiment(file)
    assert isinstance(whole, ClassifierExperiment)
    quick = replace(whole.curves[0], inners=whole.curves[0].inners[1:2])
    alone = replace(whole, harden=None, seeds=(0,), curves=(quick,))
    result = run_experiment(alone, replace(run, folder=tmp_path))
    subjects = {f.subject for f in result.findings}
    assert "text-classifier/control" in subjects and "text-classifier/hardened" not in subjects
    assert "No hardened model" in result.report.read_text("utf-8")
    assert verify(tmp_path) == []


# What a file may say


def _mistakes(**changed: object) -> list[str]:
    raw = tomllib.loads(TOML) | changed
    with pytest.raises(ConfigError) as caught:
        parse_experiment(raw, source="e.toml")
    return caught.value.mistakes


def test_all_mistakes_are_listed_at_once() -> None:
    found = _mistakes(
        classifier={"encodr": "minilm", "hidden": -1},
        harden={"kind": "adversarial", "inner": {"kind": "pdg"}, "radius": 0.1},
        modle=1,
    )
    assert found[0].startswith("classifier.encodr: unknown key; did you mean 'encoder'?")
    assert found[1] == "classifier.hidden: must be at least 0 (is -1)"
    assert found[2].startswith("harden.adversarial.inner: unknown kind 'pdg'; did you mean 'pgd'?")
    assert found[3].startswith("modle: unknown key; ") and len(found) == 4


def test_sites_and_claims_are_checked() -> None:
    inner = {"kind": "fgm"}
    (site,) = _mistakes(harden={"kind": "adversarial", "inner": inner, "radius": 0.1})
    assert "harden.site must be one of text-vectors, token-embeddings" in site
    (claim,) = _mistakes(curves=[{"claim": 0.3}])
    assert "claim must be one of the radii: 0.02, 0.05, 0.1, 0.2, 0.5" in claim


def test_three_classes_are_refused(file: Path, run: RunContext, tmp_path: Path) -> None:
    data = tmp_path / "three.csv"
    data.write_text("label,text\n" + "".join(f"{'abc'[n % 3]},text {n}\n" for n in range(30)))
    made = load_experiment(file)
    assert isinstance(made, ClassifierExperiment)
    source = replace(made.data, path=data, labels=None)
    with pytest.raises(Unsupported, match="needs two classes"):
        run_experiment(replace(made, data=source), replace(run, folder=tmp_path / "out"))
