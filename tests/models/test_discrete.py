"""Attacked texts in training: beside the catalogue, or in their owners' place."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.errors import Unsupported
from hardrank.hardening import Discrete, Forged, Ramp, TextAugmentation
from hardrank.models import Hybrid, Sasrec, TextSequence
from hardrank.models.sequence.attacked import AttackedPool
from hardrank.models.sequence.batches import SequenceBatch, Windows
from hardrank.models.sequence.influence import Influence
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.recommender import Recommender
from hardrank.testing import dataset
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Step, Training
from hardrank.training.forge import AttackedText, forged

TRAINING = Training(epochs=3, batch_size=40, patience=0, keep="last", precision="float32")


class Beside(TinyNetwork):
    """`TinyNetwork` with four attacked texts beside its six items."""

    sites = ("text-vectors",)

    def __init__(self) -> None:
        super().__init__()
        self.attacked = AttackedPool(
            texts=torch.eye(4) * 3, encoded=torch.eye(4) * 2,
            owners=torch.tensor([1, -1, 4, 4]), popularity=torch.zeros(4),
        )  # fmt: skip
        self.encoded = torch.zeros(6, 4)

    def loss_beside(self, batch: TinyBatch, rows: Tensor, added: float) -> Tensor:
        logits = torch.cat(
            [batch.queries @ self.vectors.T, batch.queries @ self.attacked.texts[rows].T + added],
            dim=1,
        )
        return F.cross_entropy(logits, batch.targets)

    def loss(self, batch: TinyBatch, deltas: Any = None) -> Tensor:
        self.given = (deltas or {}).get("text-vectors")
        moved = {} if self.given is None else {"item-vectors": self.given}
        return super().loss(batch, moved)


class TestDiscrete(ObjectiveContract):
    objective = Discrete(per_step=3)
    zero = Discrete(weight=0.0)

    def network(self) -> Any:
        return Beside()


class TestTextAugmentation(ObjectiveContract):
    objective = TextAugmentation(per_step=2)

    def network(self) -> Any:
        return Beside()


def step(progress: float = 0.5) -> Step:
    return Step(epoch=0, number=0, progress=progress, generator=torch.Generator().manual_seed(3))


def tiny() -> TinyBatch:
    return TinyBatch(torch.eye(4)[:3] * 2, torch.tensor([0, 2, 5]))


def test_the_weight_counts_as_so_many_listings() -> None:
    network = Beside()
    rows = torch.randint(4, (3,), generator=torch.Generator().manual_seed(3))
    scores = tiny().queries @ network.vectors.T
    wrong = tiny().queries @ network.attacked.texts[rows].T
    mass = scores.exp().sum(1) + 5 * wrong.exp().sum(1)
    expected = (mass.log() - scores[torch.arange(3), tiny().targets]).mean()
    found = Discrete(weight=5.0, per_step=3)(network, tiny(), step())
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_schedule_holds_the_weight_back() -> None:
    late = Discrete(weight_schedule=Ramp(), per_step=3)
    network = Beside()
    assert torch.equal(late(network, tiny(), step(0.0)), network.loss(tiny()))
    assert late(network, tiny(), step(0.9)) > network.loss(tiny())


def test_augmentation_moves_the_owners_only_and_to_the_attacked_text() -> None:
    network = Beside()
    TextAugmentation(per_step=64)(network, tiny(), step())
    moved = network.given
    assert moved is not None and torch.equal(moved[1], torch.tensor([2.0, 0, 0, 0]))
    assert moved[4].sum() == 2 and moved[4][:2].sum() == 0, "one of its own two texts"
    assert not moved[[0, 2, 3, 5]].any()


# On real networks


@dataclass(frozen=True)
class Words:
    """A forge that puts a word before titles: which word depends on the epoch and the model."""

    every: int = 1
    said: list[int] = field(default_factory=list, repr=False)

    def __call__(self, model: Recommender, epoch: int) -> Sequence[AttackedText]:
        self.said.append(epoch)
        total = sum(float(np.abs(value).sum()) for value in model.arrays().values())
        word = ("good", "red", "old")[int(total * 1000) % 3]
        return [
            AttackedText(
                item=item, field="title", text=f"{word} {model.items['title'][item]}", attack="w"
            )
            for item in (0, 2 + epoch, 9)
        ]


def world() -> Dataset:
    """12 items, of which the last three are new."""
    rng = np.random.default_rng(1)
    lists = [rng.choice(9, size=rng.integers(3, 7), replace=False).tolist() for _ in range(30)]
    names = [f"{w} {t}" for w in ("good", "red", "old") for t in ("mug", "lamp", "kitchen", "cup")]
    return dataset(names, lists)


@pytest.fixture(scope="module")
def text(make_encoder: Callable[..., Path]) -> dict[str, Any]:
    return {
        "encoder": str(make_encoder()), "whiten": 8, "max_tokens": 16, "size": 8, "length": 6,
        "training": TRAINING,
    }  # fmt: skip


def pool(model: SequenceRecommender, influence: Influence | None) -> AttackedPool:
    assert model.source is not None
    written = Words()(model, 0)
    return AttackedPool.of(written, model.items, model.counts, model.source, influence)


@pytest.mark.parametrize("kind", ["text-sequence", "bounded", "hybrid"])
def test_the_loss_beside_is_cross_entropy_with_more_columns(
    kind: str, text: dict[str, Any], tmp_path: Path
) -> None:
    """Against a slow twin, for each head."""
    bound = Influence(learn=0.5, text_norm=1.5, newcomer=0.5) if kind == "bounded" else None
    spec: Any = Hybrid(**text) if kind == "hybrid" else TextSequence(**text, influence=bound)
    model = spec.fit(world(), RunContext(seed=0, cache=tmp_path))
    network = model.network.eval()
    network.attacked = pool(model, bound)
    assert network.attacked.owners.tolist() == [0, 2, -1]
    batch = SequenceBatch(
        torch.tensor([[0, 3], [5, 0]]), torch.tensor([3, 7, 2]),
        torch.tensor([[True, True], [True, False]]),
    )  # fmt: skip
    rows = torch.tensor([0, 2])
    vectors, _, by_text = network.vectors()
    states = network.transformer(vectors[batch.inputs])[batch.real]
    decoys = network.tower.from_text(network.attacked.texts[rows])
    full = decoys.clone()
    if kind == "hybrid":
        full[0] += network.tower.ids[0]
    counts = torch.from_numpy(model.counts).float()
    strength = 0.5 if bound else 0.0
    earned = strength * torch.cat([counts[:9], counts[:1], counts[:9].quantile(0.5)[None]]).log()
    logits = torch.cat([states @ vectors.T, states @ full.T + 0.7], 1) + earned
    expected = F.cross_entropy(logits, batch.targets)
    if kind == "hybrid":
        torch.manual_seed(0)
        part = torch.randperm(3)[:1]
        seen = network.text_states(states[part])
        auxiliary = torch.cat([seen @ by_text.T, seen @ decoys.T + 0.7], 1)
        expected = expected + 0.5 * F.cross_entropy(auxiliary, batch.targets[part])
    torch.manual_seed(0)
    assert torch.allclose(network.loss_beside(batch, rows, 0.7), expected, atol=1e-5)


def test_attacked_texts_are_taught_to_be_wrong(text: dict[str, Any], tmp_path: Path) -> None:
    """After training beside them their share of the softmax is below the control's."""

    def mass(model: SequenceRecommender) -> float:
        network = model.network.eval()
        batch = next(Windows(world().histories(), 6).batches(500, np.random.default_rng(0)))
        network.attacked = pool(model, None)
        with torch.no_grad():
            inside = network.loss_beside(batch, torch.arange(3), 0.0) - network.loss(batch)
        return 1 - math.exp(-float(inside))

    spec, run = TextSequence(**text), RunContext(seed=0, cache=tmp_path)
    plain = spec.fit(world(), run)
    hard = spec.fit(world(), run, objective=Forged(Discrete(weight=20.0, per_step=8), Words()))
    assert mass(hard) < 0.7 * mass(plain)


class Killed(Exception):
    """Stands for a kill in the middle of a batch."""


def interrupted(monkeypatch: pytest.MonkeyPatch, at: tuple[int, int]) -> None:
    whole, epochs = Windows.batches, iter(range(99))

    def batches(self: Windows, positions: int, rng: np.random.Generator) -> Iterator[Any]:
        now = next(epochs)
        for number, found in enumerate(whole(self, positions, rng)):
            if (now, number) == at:
                raise Killed
            yield found

    monkeypatch.setattr(Windows, "batches", batches)


@pytest.mark.parametrize("objective", [Discrete(per_step=4), TextAugmentation(per_step=2)])
@pytest.mark.parametrize("every", [1, 2])
def test_killed_and_resumed_is_uninterrupted(
    objective: Any, every: int, text: dict[str, Any], tmp_path: Path
) -> None:
    """Rounds of attacks on weights that are gone are not forged again but kept."""
    spec = TextSequence(**text)

    def fit(folder: str, forge: Words) -> dict[str, NDArray[Any]]:
        run = RunContext(seed=1, folder=tmp_path / folder, cache=tmp_path / "cache")
        return spec.fit(world(), run, objective=Forged(objective, forge)).arrays()

    expected = fit("whole", Words(every=every))
    with pytest.MonkeyPatch.context() as patch:
        interrupted(patch, (2, 1))
        with pytest.raises(Killed):
            fit("killed", Words(every=every))
    second = Words(every=every)
    found = fit("killed", second)
    assert second.said == [], "every round was there already"
    assert all(np.array_equal(found[name], value) for name, value in expected.items())


def test_rounds_add_up_and_each_is_written_once(tmp_path: Path) -> None:
    model: Any = type("M", (), {"arrays": lambda self: {}, "items": world().items})()
    forge = Words(every=2)
    sizes = [len(forged(forge, model, epoch, tmp_path)) for epoch in (0, 1, 2, 2, 3)]
    assert sizes == [3, 3, 6, 6, 6]
    assert forge.said == [0, 2]


def test_what_cannot_be_trained_so_is_refused_before_training(
    text: dict[str, Any], tmp_path: Path
) -> None:
    run = RunContext(seed=0, cache=tmp_path)
    with pytest.raises(Unsupported, match=r"reads none; use 'adversarial' or 'apr'"):
        Sasrec(training=TRAINING).fit(world(), run, objective=Forged(Discrete(), Words()))
    with pytest.raises(Unsupported, match=r"give its arm a \[forge\]"):
        TextSequence(**text).fit(world(), run, objective=Discrete())
