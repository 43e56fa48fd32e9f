"""T-CE drops exactly the rows of largest loss; R-CE weighs by p^beta (row S1-34)."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from hardrank.errors import Unsupported
from hardrank.hardening import (
    Constant,
    GeneralisedCrossEntropy,
    ReweightedCrossEntropy,
    TruncatedCrossEntropy,
)
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Plain, Step, check_objective


class TestTruncated(ObjectiveContract):
    objective = TruncatedCrossEntropy(drop=0.4)
    zero = TruncatedCrossEntropy(drop=0.0)


class TestReweighted(ObjectiveContract):
    objective = ReweightedCrossEntropy(beta=0.5)
    zero = ReweightedCrossEntropy(beta=0.0)


def step(progress: float = 0.9, memory: dict[str, Any] | None = None) -> Step:
    return Step(
        epoch=0, number=0, progress=progress, generator=torch.Generator(),
        memory={} if memory is None else memory,
    )  # fmt: skip


def ten_rows() -> TinyBatch:
    queries = torch.randn(10, 4, generator=torch.Generator().manual_seed(3)).requires_grad_()
    return TinyBatch(queries, torch.arange(10) % 6)


def losses_of(network: TinyNetwork, batch: TinyBatch) -> Tensor:
    said = network.predictions(batch)
    return F.cross_entropy(said.logits, said.labels, reduction="none")


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 9))
def test_exactly_the_rows_of_largest_loss_count_nothing(dropped: int) -> None:
    """Their gradient is zero to the last bit, and the others' is as in plain training."""
    network, batch = TinyNetwork(), ten_rows()
    losses = losses_of(network, batch)
    kept = losses.sort().values[: 10 - dropped].sum() / 10
    value = TruncatedCrossEntropy(drop=dropped / 10)(network, batch, step())
    torch.testing.assert_close(value, kept)
    (ours,) = torch.autograd.grad(value, batch.queries)
    (plain,) = torch.autograd.grad(Plain()(network, batch, step()), batch.queries)
    top = losses.argsort(descending=True)[:dropped]
    rest = losses.argsort(descending=True)[dropped:]
    assert bool((ours[top] == 0).all())
    torch.testing.assert_close(ours[rest], plain[rest])


@pytest.mark.parametrize(
    ("progress", "gone"), [(0.0, 0), (0.1, 1), (0.15, 2), (0.2, 2), (0.3, 4), (1.0, 4)]
)
def test_the_drop_rate_rises_in_a_line_to_its_maximum(progress: float, gone: int) -> None:
    network, batch = TinyNetwork(), ten_rows()
    memory: dict[str, Any] = {}
    TruncatedCrossEntropy(drop=0.4)(network, batch, step(progress, memory))
    assert memory.get("notes", {}).get("dropped_share", 0.0) == gone / 10


def test_notes_say_the_share_dropped_in_the_epoch_so_far() -> None:
    network = TinyNetwork()
    memory: dict[str, Any] = {}
    objective = TruncatedCrossEntropy(drop=0.3)
    three = TinyBatch(torch.eye(4)[:3], torch.tensor([0, 1, 2]))
    objective(network, ten_rows(), step(memory=memory))
    objective(network, three, step(memory=memory))
    assert memory["notes"] == {"dropped_share": 3 / 13}


def test_whole_rows_are_dropped_whatever_floats_say() -> None:
    """0.29 * 100 is 28.999999999999996."""
    memory: dict[str, Any] = {}
    hundred = TinyBatch(torch.randn(100, 4), torch.arange(100) % 6)
    TruncatedCrossEntropy(drop=0.29)(TinyNetwork(), hundred, step(memory=memory))
    assert memory["notes"] == {"dropped_share": 0.29}


def test_equal_losses_lose_the_first_rows() -> None:
    network = TinyNetwork()
    alike = TinyBatch(torch.ones(4, 4).requires_grad_(), torch.tensor([1, 1, 1, 1]))
    objective = TruncatedCrossEntropy(drop=0.5, drop_schedule=Constant())
    (grad,) = torch.autograd.grad(objective(network, alike, step(0.0)), alike.queries)
    assert (grad.abs().sum(1) > 0).tolist() == [False, False, True, True]


@settings(deadline=None, max_examples=30)
@given(st.floats(0.05, 3.0))
def test_reweighted_rows_weigh_p_to_the_beta(beta: float) -> None:
    network, batch = TinyNetwork(), ten_rows()
    losses = losses_of(network, batch)
    weights = torch.exp(-losses.detach()) ** beta
    value = ReweightedCrossEntropy(beta=beta)(network, batch, step())
    torch.testing.assert_close(value, (weights * losses).mean())
    ours = torch.autograd.grad(value, network.vectors)
    theirs = torch.autograd.grad((weights * losses).mean(), network.vectors)
    torch.testing.assert_close(ours, theirs)


def test_reweighted_and_generalised_have_one_gradient() -> None:
    """Which the docstring says: they differ in value alone."""
    network, batch = TinyNetwork(), ten_rows()
    graded = [
        torch.autograd.grad(objective(network, batch, step()), network.vectors)[0]
        for objective in (ReweightedCrossEntropy(beta=0.6), GeneralisedCrossEntropy(q=0.6))
    ]
    torch.testing.assert_close(*graded)


@pytest.mark.parametrize("wrong", [1.0, -0.1, float("nan")])
def test_not_all_rows_can_be_dropped(wrong: float) -> None:
    with pytest.raises(ValidationError, match="drop"):
        TruncatedCrossEntropy(drop=wrong)


@pytest.mark.parametrize("objective", [TruncatedCrossEntropy(), ReweightedCrossEntropy()])
def test_refused_with_alternatives_where_there_are_no_rows(objective: Any) -> None:
    class Pairs(nn.Module):
        sites = ("item-vectors",)

    with pytest.raises(Unsupported, match=r"cross-entropy'.*'adversarial' or 'apr'"):
        check_objective(objective, Pairs())  # type: ignore[arg-type]
