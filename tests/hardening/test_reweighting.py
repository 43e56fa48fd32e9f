"""Weights of users and items, from mapping or file to the gradient (row S1-34)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from hardrank.context import RunContext
from hardrank.data.trust import write_trust
from hardrank.errors import DataError, Unsupported
from hardrank.hardening import Reweighted
from hardrank.models import Sasrec
from hardrank.models.sequence.batches import SequenceBatch
from hardrank.models.sequence.network import ItemTower, SequenceNetwork
from hardrank.models.sequence.transformer import CausalTransformer
from hardrank.testing import dataset
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import (
    Objective,
    Plain,
    Predictions,
    Step,
    Training,
    bound_objective,
    check_objective,
)

USERS = ["ann", "bob", "eve"]
ITEMS = [f"i{n}" for n in range(9)]
TRAINING = Training(epochs=2, batch_size=16, patience=0)


def bound(**weights: Any) -> Any:
    return Reweighted(**weights).bound(users=USERS, items=ITEMS)


class NamedNetwork(TinyNetwork):
    """With the users ann, eve, nobody."""

    def predictions(self, batch: TinyBatch, deltas: Any = None) -> Predictions:
        said = super().predictions(batch, deltas)
        return replace(said, users=torch.tensor([0, 2, -1]), items=said.labels)


class TestReweighted(ObjectiveContract):
    objective = bound(users={"eve": 0.5}, items={"i5": 0.1})
    zero = bound(users={"eve": 1.0}, items={"i5": 1.0})

    def network(self) -> NamedNetwork:
        return NamedNetwork()


def step() -> Step:
    return Step(epoch=0, number=0, progress=0.0, generator=torch.Generator())


def two_heads(negatives: int = 0) -> SequenceNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = SequenceNetwork(
            tower=ItemTower(items=9, size=8, text_size=5, ids=True, dropout=0.0, scale=0.5),
            transformer=CausalTransformer(size=8, layers=1, heads=2, length=4, dropout=0.0),
            text_weight=0.5,
            negatives=negatives,
            frequency=torch.arange(1.0, 10.0) / 45,
        )
        made.texts = torch.randn(9, 5)
    return made


def histories() -> SequenceBatch:
    real = torch.tensor([[True, True, True], [True, False, False]])
    inputs = torch.tensor([[1, 2, 8], [4, 0, 0]])
    return SequenceBatch(inputs, torch.tensor([2, 8, 3, 7]), real, torch.tensor([2, 2, 2, 1]))


def only(batch: SequenceBatch, window: int) -> SequenceBatch:
    """One of the two windows."""
    rows = slice(0, 3) if window == 0 else slice(3, 4)
    assert batch.users is not None
    return SequenceBatch(
        batch.inputs[window : window + 1],
        batch.targets[rows],
        batch.real[window : window + 1],
        batch.users[rows],
    )


def test_rows_weigh_user_times_item_and_nobody_weighs_one() -> None:
    network, batch = NamedNetwork(), TinyBatch(torch.eye(4)[:3], torch.tensor([0, 2, 5]))
    said = network.predictions(batch)
    losses = F.cross_entropy(said.logits, said.labels, reduction="none")
    value = bound(users={"ann": 0.3, "eve": 0.5}, items={"i2": 0.1})(network, batch, step())
    weights = torch.tensor([0.3, 0.5 * 0.1, 1.0])
    torch.testing.assert_close(value, (weights * losses).mean())


@pytest.mark.parametrize("negatives", [0, 2])
def test_a_distrusted_user_moves_nothing_in_either_head(negatives: int) -> None:
    """Gradient exactly zero where every row is eve's, with and without sampled candidates."""
    network = two_heads(negatives)
    bound(users={"eve": 0.0})(network, only(histories(), 0), step()).backward()
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    assert grads and all(float(g.abs().max()) == 0 for g in grads)
    network.zero_grad()
    bound(users={"eve": 0.0})(network, only(histories(), 1), step()).backward()
    assert any(p.grad is not None and float(p.grad.abs().max()) > 0 for p in network.parameters())


@pytest.mark.parametrize("negatives", [0, 2])
def test_items_are_weighed_by_target_whatever_the_candidates(negatives: int) -> None:
    network, batch = two_heads(negatives), histories()
    torch.manual_seed(3)
    value = bound(items={"i8": 0.25})(network, batch, step())
    torch.manual_seed(3)
    said = network.predictions(batch)
    ((share, second),) = said.auxiliary()
    expected = _weighed(said, batch.targets) + share * _weighed(second, batch.targets[second.rows])
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("negatives", [0, 2])
def test_what_a_network_predicts_adds_up_to_its_loss(negatives: int) -> None:
    """Both heads, under the same draws; and the draws end where the loss's end."""
    network, batch = two_heads(negatives), histories()
    torch.manual_seed(4)
    loss = network.loss(batch)
    after = torch.get_rng_state()
    torch.manual_seed(4)
    said = network.predictions(batch)
    parts = [(1.0, said), *said.auxiliary()]
    total = sum(w * F.cross_entropy(p.logits, p.labels) for w, p in parts)
    torch.testing.assert_close(loss, total)
    assert torch.equal(after, torch.get_rng_state())


def test_all_weights_of_one_train_to_the_same_bits(tmp_path: Path) -> None:
    data = _shop()
    ones = Reweighted(users={"u0": 1.0}, items={"b": 1.0})
    plain, ours = (_weights_of(data, objective) for objective in (Plain(), ones))
    assert all(np.array_equal(plain[k], ours[k]) for k in plain)


def test_a_file_of_weights_reaches_training(tmp_path: Path) -> None:
    """The same from Parquet, CSV, JSON and a mapping, and not what plain training gives."""
    data, trust = _shop(), {"u0": 0.0, "u3": 0.5}
    made = []
    for name in ("users.parquet", "users.csv", "users.json"):
        write_trust(tmp_path / name, trust, what="user")
        made.append(_weights_of(data, Reweighted(users=tmp_path / name)))
    made.append(_weights_of(data, Reweighted(users=trust)))
    for other in made[1:]:
        assert all(np.array_equal(made[0][k], other[k]) for k in other)
    plain = _weights_of(data, Plain())
    assert any(not np.array_equal(plain[k], made[0][k]) for k in plain)


def test_a_model_is_told_apart_by_what_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    assert "missing" in repr(Reweighted(users=path))
    write_trust(path, {"eve": 0.5}, what="user")
    first, rows = repr(Reweighted(users=path)), repr(bound(users=path))
    write_trust(path, {"eve": 0.25}, what="user")
    assert repr(Reweighted(users=path)) != first and repr(bound(users=path)) != rows
    assert repr(bound(users={"eve": 0.25})) == repr(bound(users=path))


def test_mistakes_are_named() -> None:
    with pytest.raises(ValidationError, match="give weights of users or of items"):
        Reweighted()
    with pytest.raises(ValidationError, match="users"):
        Reweighted(users={"eve": 1.5})
    with pytest.raises(DataError, match=r"none of the 1 user ids.*such as 'ann'"):
        bound(users={"mallory": 0.0})
    with pytest.raises(DataError, match="no such file"):
        bound(users=Path("nowhere.csv"))


def test_refused_with_alternatives_where_rows_are_nobodys() -> None:
    """Before training where nothing is bound, and where rows lack users or items."""
    with pytest.raises(Unsupported, match=r"whose rows.*sequence model.*drop rows"):
        check_objective(Reweighted(users={"eve": 0.0}), TinyNetwork())

    class Pairs(nn.Module):
        sites = ("item-vectors",)

    with pytest.raises(Unsupported, match="'adversarial' or 'apr'"):
        check_objective(Reweighted(users={"eve": 0.0}), Pairs())  # type: ignore[arg-type]
    batch = TinyBatch(torch.eye(4)[:1], torch.tensor([0]))
    for what, id_ in (("user", "eve"), ("item", "i2")):
        with pytest.raises(Unsupported, match=f"which {what} a row is of"):
            bound(**{f"{what}s": {id_: 0.0}})(TinyNetwork(), batch, step())
    with pytest.raises(Unsupported, match="before it is bound"):
        Reweighted(users={"eve": 0.0})(TinyNetwork(), batch, step())


def test_objectives_without_ids_are_bound_to_nothing() -> None:
    plain = Plain()
    assert bound_objective(plain, users=USERS, items=ITEMS) is plain
    assert bound_objective(None, users=USERS, items=ITEMS) is None


def _weighed(said: Predictions, targets: Tensor) -> Tensor:
    losses = F.cross_entropy(said.logits, said.labels, reduction="none")
    return (torch.where(targets == 8, 0.25, 1.0) * losses).mean()


def _shop() -> Any:
    rng = np.random.default_rng(2)
    histories = [rng.choice(8, size=5, replace=False).tolist() for _ in range(12)]
    return dataset([f"title {n}" for n in range(9)], histories)


def _weights_of(data: Any, objective: Objective) -> dict[str, Any]:
    spec = Sasrec(size=8, heads=1, length=6, training=TRAINING)
    return spec.fit(data, RunContext(seed=0), objective=objective).arrays()


def test_a_file_or_a_table_can_be_spelt() -> None:
    made = TypeAdapter(Reweighted).validate_python({"users": "w.csv", "items": {"i2": 0.5}})
    assert made == Reweighted(users=Path("w.csv"), items={"i2": 0.5})
    assert TypeAdapter(Reweighted).dump_python(made, mode="json")["users"] == "w.csv"
