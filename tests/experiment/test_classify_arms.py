"""Several hardened arms of a classifier, and a classifier trained with few labels."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardrank.audits.verify import verify
from hardrank.context import RunContext
from hardrank.data.labelled import UNLABELLED
from hardrank.errors import ConfigError, Unsupported
from hardrank.experiment import ClassifierExperiment, Result, parse_experiment, run_experiment
from hardrank.experiment.classify import _split
from hardrank.experiment.classify_arms import check_arms, known_to

TRAINING = {
    "epochs": 8, "batch_size": 32, "learning_rate": 5e-3, "patience": 0, "precision": "float32",
}  # fmt: skip
AT = {"site": "text-vectors", "radius": 0.1}
TRADES = {"kind": "trades", "inner": {"kind": "fgm"}, **AT}
VAT = {"kind": "vat", "site": "token-embeddings", "radius": 0.1}
RAW: dict[str, Any] = {
    "name": "reviews",
    "data": {"labels": ["blame", "praise"], "shares": [0.15, 0.3]},
    "classifier": {"max_tokens": 10, "training": TRAINING},
    "finetune": TRAINING | {"epochs": 3, "keep": "last"},
    "curves": [
        {"site": "text-vectors", "inners": [{"kind": "fgm"}, {"kind": "gaussian"}]},
    ],
}  # fmt: skip
Make = Callable[..., ClassifierExperiment]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """An experiment on 260 planted reviews: `good` and `new` praise, `bad` and `old` blame."""
    folder = tmp_path_factory.mktemp("reviews")
    rng, said = np.random.default_rng(0), (("bad", "old"), ("good", "new"))
    with (folder / "reviews.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["label", "text"])
        for k in range(260):
            words = [*rng.choice(["red", "blue", "mug", "lamp"], 2), said[k % 2][rng.integers(2)]]
            rows.writerow([("blame", "praise")[k % 2], " ".join(rng.permutation([*words, str(k)]))])
    _encoder(folder / "bert")
    data = RAW["data"] | {"path": str(folder / "reviews.csv")}
    classifier = RAW["classifier"] | {"encoder": str(folder / "bert")}

    def made(**changed: Any) -> ClassifierExperiment:
        found = parse_experiment(RAW | {"data": data, "classifier": classifier} | changed)
        assert isinstance(found, ClassifierExperiment)
        return found

    return made


def _encoder(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "good", "bad", "red", "blue", "mug", "lamp", "new", "old"]
    made = Tokenizer(models.WordPiece({w: n for n, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
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


ARMS = [
    {"name": "trades", "objective": TRADES},
    {"name": "smooth", "objective": VAT},
    {"name": "dropped", "objective": {"kind": "r-drop"}},
]


@pytest.fixture(scope="module")
def result(make: Make, run: RunContext) -> Result:
    return run_experiment(make(arms=ARMS, labelled_share=0.3), run)


def test_every_arm_is_compared_with_one_control(result: Result) -> None:
    """Prices and effects of each arm against the control, all recomputed from the samples."""
    assert verify(result.folder) == []
    control = "text-classifier/control"
    for arm in ("trades", "smooth", "dropped"):
        own = [f for f in result.findings if f.subject == f"text-classifier/{arm}"]
        prices = [f for f in own if f.metric == "price(accuracy)"]
        assert [f.group for f in prices] == ["all", "blame", "praise"]
        effects = [f for f in own if f.metric == "defence_effect"]
        assert [f.trial for f in effects] == ["fgm(text-vectors, radius 0.1)"]
        assert all(f.versus["subject"] == control for f in [*prices, *effects])
    lonely = [f for f in result.findings if f.subject == control and f.versus]
    assert lonely == []


def test_gates_are_asked_of_each_arm_by_its_own_objective(result: Result) -> None:
    """The curve perturbs text vectors: `trades` trained on that, so that its numbers are marked;
    the others met it never."""
    gates = {(f.metric, f.subject.partition("/")[2]): f for f in result.findings
             if f.audit == "gate"}  # fmt: skip
    for arm in ("trades", "smooth", "dropped"):
        assert gates["control_arm", arm].value == 1
        assert ("quality_floor", arm) in gates
        assert gates["adaptive_attack", arm].value == 1
    unseen = {arm: gates["unseen_attack", arm].value for arm in ("trades", "smooth", "dropped")}
    assert unseen == {"trades": 0, "smooth": 1, "dropped": 1}
    assert not any(metric == "control_arm" and arm == "control" for metric, arm in gates)


def test_the_report_names_the_arms_and_the_share_of_labels(result: Result) -> None:
    """The first arm stands beside the control; all are in the tables of arms."""
    text = (result.folder / "report.md").read_text("utf-8")
    page = result.report.read_text("utf-8")
    assert "30 % of the training texts keep their labels" in text
    for arm in ("trades", "smooth", "dropped"):
        assert arm in page


def test_each_seed_knows_other_labels_and_all_arms_the_same(make: Make) -> None:
    experiment = make(arms=ARMS, labelled_share=0.3)
    _, split = _split(experiment)
    first, again, other = (known_to(experiment, split, seed).train for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert (first.labels != UNLABELLED).mean() == pytest.approx(0.3, abs=0.01)
    assert first.texts == split.train.texts
    assert known_to(make(), split, 0) is split


# What is refused, and when


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ({"kind": "discrete"}, "trains on rewritten item texts, and this model reads none"),
        ({"kind": "text-augmentation"}, "this model reads none"),
        ({"kind": "reweighted", "users": {"u": 0.5}}, "'reweighted'"),
        ({"kind": "r-drop"}, "this model has none; set `dropout` above 0"),
    ],
)
def test_an_arm_that_cannot_be_trained_is_refused_before_anything_is(
    make: Make, run: RunContext, tmp_path: Path, objective: dict[str, Any], said: str
) -> None:
    whole = make(arms=[{"name": "odd", "objective": objective}])
    experiment = replace(whole, classifier=replace(whole.classifier, dropout=0.0))
    with pytest.raises(Unsupported, match="arm odd: ") as caught:
        run_experiment(experiment, replace(run, folder=tmp_path))
    assert said in str(caught.value)
    assert not (tmp_path / "models").exists()


def test_an_objective_that_needs_every_label_is_refused_where_some_lack(
    make: Make, run: RunContext
) -> None:
    mart = {"kind": "mart", "inner": {"kind": "fgm"}, **AT}
    experiment = make(harden=mart, labelled_share=0.5)
    _, split = _split(experiment)
    with pytest.raises(Unsupported, match="arm hardened: 'mart' reads the label of each text"):
        check_arms(experiment, split, run)
    check_arms(replace(experiment, labelled_share=1.0), split, run)


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ({"kind": "apr", "radius": 0.1}, "not item-vectors"),
        ({"kind": "user-adaptive", "radius": 0.1}, "not item-vectors"),
        ({"kind": "vat", "radius": 0.1, "site": "hidden-states"}, "not hidden-states"),
    ],
)
def test_sites_are_checked_with_the_file(make: Make, arm: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        make(arms=[{"name": "odd", "objective": arm}])
    assert "arm odd: objective.site must be one of text-vectors, token-embeddings" in str(
        caught.value
    )


def test_names_of_arms_are_checked(make: Make) -> None:
    for name, said in (("control", "is not a hardened arm"), ("A b", "pattern")):
        with pytest.raises(ConfigError, match=said):
            make(arms=[{"name": name, "objective": VAT}])
    with pytest.raises(ConfigError, match="names must differ"):
        make(harden=TRADES, arms=[{"name": "hardened", "objective": VAT}])
    with pytest.raises(ConfigError, match="labelled_share: must be above 0"):
        make(labelled_share=0.0)


def test_hidden_states_are_a_site_where_the_top_layers_learn(make: Make) -> None:
    raw = {"kind": "vat", "radius": 0.1, "site": "hidden-states"}
    frozen = make()
    known = {"encoder": frozen.classifier.encoder, "unfreeze": 1}
    assert make(classifier=known, harden=raw).hardenings()[0].objective.site == "hidden-states"
    weights = make(harden={"kind": "awp"})  # no perturbation of inputs, so its site says nothing
    assert weights.hardenings()[0].name == "hardened"
