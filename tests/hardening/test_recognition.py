"""A head beside the ranking that tells attacked texts from clean ones."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hardrank.bundle import load_bundle, save_bundle
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.errors import Unsupported
from hardrank.hardening import Discrete, Forged, Recognition
from hardrank.metrics.detection import auroc
from hardrank.models import Hybrid, Sasrec, TextSequence
from hardrank.models.common import holdout_ndcg, target_ranks
from hardrank.models.sequence.attacked import AttackedPool
from hardrank.models.sequence.batches import Windows
from hardrank.recommender import Recommender
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.testing.worlds import dataset
from hardrank.training import Step, Training
from hardrank.training.forge import AttackedText

TRAINING = Training(epochs=3, batch_size=40, patience=0, keep="last", precision="float32")


class Headed(TinyNetwork):
    """`TinyNetwork` whose head is one weight for each number of a text's vector."""

    sites = ("text-vectors",)

    def __init__(self, owners: Sequence[int] = (1, -1, 4)) -> None:
        super().__init__()
        self.head = nn.Parameter(torch.tensor([1.0, 2.0, -1.0, 0.5]))
        rows = torch.arange(12.0).reshape(3, 4) / 10
        self.attacked = AttackedPool(
            texts=rows, encoded=rows, owners=torch.tensor(owners), popularity=torch.zeros(3)
        )
        self.texts = -torch.arange(24.0).reshape(6, 4) / 20
        self.asked: list[Tensor] = []

    def loss_beside(self, batch: TinyBatch, rows: Tensor, added: float) -> Tensor:
        raise AssertionError("nothing stands beside the catalogue here")

    def suspicion(self, texts: Tensor) -> Tensor:
        self.asked.append(texts)
        return texts @ self.head


class TestRecognition(ObjectiveContract):
    """S3-10: recommendation loss and head, one scalar."""

    objective = Recognition(per_step=3)

    def network(self) -> Any:
        return Headed()

    def test_the_loss_is_the_ranking_and_half_of_each_side(self) -> None:
        network = Headed()
        found = Recognition(weight=0.3, per_step=5)(network, self.batch(), self.step())
        attacked, clean = (
            (texts.double() @ network.head.double()).tolist() for texts in network.asked
        )
        told = sum(-math.log(1 / (1 + math.exp(-s))) for s in attacked) / 5
        told += sum(-math.log(1 - 1 / (1 + math.exp(-s))) for s in clean) / 5
        expected = float(network.loss(self.batch()).detach()) + 0.3 * told / 2
        assert float(found.detach()) == pytest.approx(expected, rel=1e-6)

    def test_each_attacked_text_stands_against_its_own_item(self) -> None:
        """New items, whose clean text is not among the training items', are passed over."""
        network = Headed()
        Recognition(per_step=64)(network, self.batch(), self.step())
        attacked, clean = network.asked
        pool = network.attacked
        pairs = {
            (tuple(a.tolist()), tuple(c.tolist())) for a, c in zip(attacked, clean, strict=True)
        }
        expected = {
            (tuple(pool.texts[row].tolist()), tuple(network.texts[owner].tolist()))
            for row, owner in ((0, 1), (2, 4))
        }
        assert pairs == expected

    def test_without_attacked_texts_it_is_plain_training(self) -> None:
        network = Headed(owners=(-1, -1, -1))
        found = Recognition()(network, self.batch(), self.step())
        assert torch.equal(found, network.loss(self.batch())) and not network.asked


class TestWeightZero(ObjectiveContract):
    objective = Recognition(weight=0.0)
    zero = Recognition(weight=0.0)

    def network(self) -> Any:
        return Headed()


# On real networks

ADJECTIVES = ("good", "red", "blue", "old", "new", "cheap")
NOUNS = ("mug", "lamp", "kitchen")
TITLES = [f"{a} {b} {noun}" for a in ADJECTIVES for b in ADJECTIVES if a != b for noun in NOUNS]
HELD_OUT = tuple(range(1, len(TITLES), 2))
"""No attack rewrites them in training, so the head never reads them, clean or attacked."""


def stuffed(title: str) -> str:
    return f"{title} for the kitchen"


def misspelt(title: str) -> str:
    return f"{title[:-3]}xq{title[-1]}"


def doubled(title: str) -> str:
    return f"{title} {title}"


KNOWN = (stuffed, misspelt)


@dataclass(frozen=True)
class Writers:
    """A forge that rewrites every item but the held-out ones, other ones in each round."""

    every: int = 1
    said: list[int] = field(default_factory=list, repr=False)

    def __call__(self, model: Recommender, epoch: int) -> Sequence[AttackedText]:
        self.said.append(epoch)
        free = [row for row in range(len(TITLES)) if row not in HELD_OUT][epoch % 2 :: 2]
        return [
            AttackedText(item=row, field="title", text=write(TITLES[row]), attack=write.__name__)
            for row in free
            for write in KNOWN
        ]


def world(users: int = 120) -> Dataset:
    """Users like things of one noun: five of six that they touch."""
    rng = np.random.default_rng(4)
    of = np.array([NOUNS.index(title.split()[-1]) for title in TITLES])
    lists = []
    for user in range(users):
        odds = np.where(of == user % 3, 1.0, 0.1)
        lists.append(rng.choice(len(TITLES), 10, replace=False, p=odds / odds.sum()).tolist())
    return dataset(TITLES, lists, name="tastes")


LONG = replace(TRAINING, epochs=15, batch_size=200, learning_rate=5e-3)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A random encoder that knows the words of the titles and a few more."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    words = ("[PAD]", "[UNK]", "for", "the", *ADJECTIVES, *NOUNS)
    made = Tokenizer(
        models.WordPiece({word: row for row, word in enumerate(words)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words), pad_token_id=0, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=40,
    )  # fmt: skip
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return {"encoder": str(folder), "whiten": 16, "max_tokens": 24, "size": 16}


@pytest.fixture(scope="module")
def pairs(
    text: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Split, list[tuple[Any, Any]]]:
    """(control, with the head) of three seeds: the same data, steps and seeds."""
    split = LeaveOneOut().split(world())
    cache = tmp_path_factory.mktemp("cache")
    spec = TextSequence(**text, training=LONG)
    objectives = (None, Forged(Recognition(), Writers(every=5)))
    runs = [RunContext(seed=seed, cache=cache) for seed in range(3)]
    return split, [
        tuple(spec.fit(split.train, run, objective=objective) for objective in objectives)
        for run in runs
    ]


def detection(model: Any, write: Callable[[str], str]) -> float:
    """AUROC of the head on the held-out half, each item as attacked and as it reads."""
    clean = [TITLES[row] for row in HELD_OUT]
    said = model.recognise([*map(write, clean), *clean])
    return auroc(said, np.arange(len(said)) < len(clean))


def rank_auc(model: Any, split: Split) -> float:
    """Mean share of unseen items that the next item of a user stands above."""
    unseen = len(TITLES) - split.test.queries.lengths
    return float((1 - (target_ranks(model, split.test) - 1) / (unseen - 1)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("write", KNOWN)
def test_known_families_are_recognised_on_items_it_never_read(write: Any, pairs: Any) -> None:
    """S3-10: AUROC of 0.85 and more, for each family and seed."""
    for _, model in pairs[1]:
        assert detection(model, write) >= 0.85


@pytest.mark.slow
def test_a_related_family_is_recognised_unseen(pairs: Any) -> None:
    """Titles written twice: what training met is stuffing with other words."""
    assert np.mean([detection(model, doubled) for _, model in pairs[1]]) > 0.6


@pytest.mark.slow
def test_the_ranking_loses_at_most_a_point(pairs: Any) -> None:
    """S3-10: AUC and NDCG@10 against the control, mean of three seeds, and the control has
    something to lose."""
    split, models = pairs
    before = np.mean([[rank_auc(m, split), holdout_ndcg(m, split.test)] for m, _ in models], axis=0)
    after = np.mean([[rank_auc(m, split), holdout_ndcg(m, split.test)] for _, m in models], axis=0)
    assert before[0] > 0.7
    assert (after >= before - 0.01).all(), f"{before} became {after}"


@pytest.mark.slow
def test_copied_titles_cannot_be_recognised(pairs: Any) -> None:
    """The same texts on both sides, so chance (but for last bits of the encoder's batches):
    no reader of texts can do better."""
    after = dict(zip(HELD_OUT, (*HELD_OUT[1:], HELD_OUT[0]), strict=True))
    rows = {TITLES[row]: row for row in HELD_OUT}
    model = pairs[1][0][1]
    assert detection(model, lambda title: TITLES[after[rows[title]]]) == pytest.approx(
        0.5, abs=0.01
    )


def trained(text: dict[str, Any], tmp_path: Path, **more: Any) -> Any:
    spec = TextSequence(**text, training=TRAINING)
    run = RunContext(seed=1, cache=tmp_path / "cache", folder=more.pop("folder", None))
    return spec.fit(world(30), run, **more)


def same(one: dict[str, NDArray[Any]], two: dict[str, NDArray[Any]]) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(v, two[n]) for n, v in one.items())


def test_weight_zero_trains_the_control_to_the_last_bit(
    text: dict[str, Any], tmp_path: Path
) -> None:
    objective = Forged(Recognition(weight=0.0), Writers())
    without = trained(text, tmp_path, objective=objective)
    assert same(without.arrays(), trained(text, tmp_path).arrays())
    with pytest.raises(Unsupported, match="objective 'recognition' and a forge"):
        without.recognise(["good red mug"])


def test_both_losses_train_the_layers_that_they_share(text: dict[str, Any], tmp_path: Path) -> None:
    model = trained(text, tmp_path, objective=Forged(Recognition(), Writers()))
    network, batch = model.network, next(Windows(world(30).histories(), 10).batches(50, rng()))
    assert model.source is not None
    written = Writers()(model, 0)
    network.texts = model.source(TITLES)
    network.attacked = AttackedPool.of(written, model.items, model.counts, model.source, None)
    step = Step(epoch=0, number=0, progress=0.0, generator=torch.Generator().manual_seed(0))
    shared = list(network.tower.parameters())
    whole = torch.autograd.grad(Recognition()(network, batch, step), shared)
    alone = torch.autograd.grad(network.loss(batch), shared)
    assert all(g.abs().sum() > 0 for g in alone)
    assert any(not torch.allclose(a, w) for a, w in zip(alone, whole, strict=True))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_head_travels_with_the_bundle(text: dict[str, Any], tmp_path: Path) -> None:
    """Saved, loaded, and over a catalogue that was rewritten: the same probabilities."""
    data, spec = world(30), TextSequence(**text, training=TRAINING)
    model = trained(text, tmp_path, objective=Forged(Recognition(), Writers()))
    texts = [stuffed(TITLES[0]), TITLES[0], ""]
    said = model.recognise(texts)
    assert said.shape == (3,) and ((said >= 0) & (said <= 1)).all()
    assert model.recognise([]).shape == (0,)
    save_bundle(tmp_path / "bundle", spec, model, data, {"name": "toy"})
    again = load_bundle(tmp_path / "bundle").recommender
    assert isinstance(again, type(model))
    assert np.array_equal(again.recognise(texts), said)
    assert np.array_equal(again.on(again.items).recognise(texts), said)
    np.testing.assert_allclose(model.recognise(texts[:1]), said[:1], atol=1e-6)


def test_training_goes_on_with_or_without_the_head(text: dict[str, Any], tmp_path: Path) -> None:
    """A plain model gets a fresh head; a head goes on; a training without it drops it."""
    objective = Forged(Recognition(), Writers())
    plain = trained(text, tmp_path)
    headed = trained(text, tmp_path, objective=objective, start=plain)
    further = trained(text, tmp_path, objective=objective, start=headed)
    back = trained(text, tmp_path, start=headed)
    name = "network/recogniser.layers.1.weight"
    assert name in headed.arrays() and name in further.arrays()
    assert not np.array_equal(headed.arrays()[name], further.arrays()[name])
    assert back.arrays().keys() == plain.arrays().keys()


class Killed(Exception):
    """Stands for a kill in the middle of a batch."""


@pytest.mark.parametrize("every", [1, 2])
def test_killed_and_resumed_is_uninterrupted(
    every: int, text: dict[str, Any], tmp_path: Path
) -> None:
    """C3: head and ranking to the last bit, and no round is forged twice."""

    def fit(folder: str, forge: Writers) -> dict[str, NDArray[Any]]:
        objective = Forged(Recognition(per_step=8), forge)
        found = trained(text, tmp_path, objective=objective, folder=tmp_path / folder)
        arrays: dict[str, NDArray[Any]] = found.arrays()
        return arrays

    expected = fit("whole", Writers(every=every))
    whole, epochs = Windows.batches, iter(range(99))

    def batches(self: Windows, positions: int, order: np.random.Generator) -> Iterator[Any]:
        now = next(epochs)
        for number, found in enumerate(whole(self, positions, order)):
            if (now, number) == (2, 1):
                raise Killed
            yield found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Windows, "batches", batches)
        with pytest.raises(Killed):
            fit("killed", Writers(every=every))
    second = Writers(every=every)
    assert same(fit("killed", second), expected)
    assert second.said == [], "every round was there already"


def test_the_hybrid_has_the_head_too(text: dict[str, Any], tmp_path: Path) -> None:
    spec = Hybrid(**text, training=TRAINING)
    run = RunContext(seed=1, cache=tmp_path)
    model = spec.fit(world(30), run, objective=Forged(Recognition(), Writers()))
    assert model.recognise(TITLES[:2]).shape == (2,)
    assert spec.restore(model.arrays(), model.items, run).recognise(TITLES[:2]).tolist() == (
        model.recognise(TITLES[:2]).tolist()
    )


def test_what_cannot_be_trained_so_is_refused_before_training(
    text: dict[str, Any], tmp_path: Path
) -> None:
    run, objective = RunContext(seed=0, cache=tmp_path), Forged(Recognition(), Writers())
    with pytest.raises(Unsupported, match="'recognition' trains on rewritten item texts"):
        Sasrec(training=TRAINING).fit(world(30), run, objective=objective)
    with pytest.raises(Unsupported, match=r"give its arm a \[forge\]"):
        trained(text, tmp_path, objective=Recognition())
    with pytest.raises(Unsupported, match="set `unfreeze` to 0"):
        trained(text | {"unfreeze": 1, "negatives": 8}, tmp_path, objective=objective)
    beside = trained(text, tmp_path, objective=Forged(Discrete(), Writers()))
    with pytest.raises(Unsupported, match="no head that recognises"):
        beside.recognise(TITLES[:1])
