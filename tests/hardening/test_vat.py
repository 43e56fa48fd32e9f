"""Virtual adversarial training: the sharpest direction, found without labels."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardrank.errors import Unsupported
from hardrank.hardening import VAT, Ramp
from hardrank.hardening.borrow import Draws
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Predictions, Step, check_objective


def step(progress: float = 0.0, seed: int = 0) -> Step:
    draws = torch.Generator().manual_seed(seed)
    return Step(epoch=0, number=0, progress=progress, generator=draws)


@pytest.mark.parametrize("norm", ["l2", "token-l2"])
class TestContract(ObjectiveContract):
    @pytest.fixture(autouse=True)
    def _choose(self, norm: str) -> None:
        self.objective = VAT(radius=0.1, norm=norm, iterations=2)  # type: ignore[arg-type]
        self.zero = VAT(radius=0.1, norm=norm, weight=0.0)  # type: ignore[arg-type]


def bernoulli(margin: float, moved: float) -> float:
    """KL of two logistic predictions."""
    p, q = 1 / (1 + math.exp(-margin)), 1 / (1 + math.exp(-moved))
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


@pytest.mark.parametrize("seed", range(4))
def test_one_iteration_finds_the_worst_direction_of_a_logistic_model(
    logistic: Callable[[Tensor], Any], seed: int
) -> None:
    """S0-38: the divergence grows with |w . delta| alone, so delta* = +- e w / ||w||."""
    network = logistic(torch.tensor([3.0, -4.0]))
    x = torch.tensor([[0.6, 0.8], [-0.6, -0.8]])
    value = VAT(site="text-vectors", radius=0.1, weight=2.0)(network, x, step(seed=seed))
    (delta,) = network.deltas
    direction = torch.tensor([0.6, -0.8])
    for row in delta:
        torch.testing.assert_close(row * row[0].sign(), 0.1 * direction, atol=1e-6, rtol=0)
    moved = (x + delta) @ network.w
    pairs = zip((x @ network.w).tolist(), moved.tolist(), strict=True)
    expected = sum(bernoulli(*pair) for pair in pairs) / 2
    found = (value - network.loss(x)) / 2.0
    assert float(found.detach()) == pytest.approx(expected, rel=1e-3)


class Three(nn.Module):
    """Three classes of one input of five numbers."""

    sites = ("text-vectors",)

    def __init__(self) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(4)
        self.a = nn.Parameter(torch.randn(3, 5, generator=draws))
        self.asked: list[Tensor] = []

    def predictions(self, batch: Tensor, deltas: Any = None) -> Predictions:
        delta = (deltas or {}).get("text-vectors", torch.zeros(1, 5))
        self.asked.append(delta.detach())
        labels = torch.zeros(1, dtype=torch.long)
        return Predictions(logits=(batch + delta) @ self.a.T, labels=labels)

    def loss(self, batch: Tensor, deltas: Any = None) -> Tensor:
        said = self.predictions(batch, deltas)
        return nn.functional.cross_entropy(said.logits, said.labels)

    def clean(self, site: str, batch: Tensor) -> Tensor:
        return batch

    def writable(self, site: str, batch: Tensor) -> None:
        return None


def test_power_iteration_ends_at_the_first_eigenvector() -> None:
    """Of the divergence's curvature at 0, A' (diag p - p p') A (Miyato et al., section 3.3)."""
    network, x = Three(), torch.tensor([[0.3, -0.2, 0.5, 0.1, 0.4]])
    p = (x @ network.a.T).softmax(1)[0].detach()
    a = network.a.detach()
    top = torch.linalg.eigh(a.T @ (p.diag() - p.outer(p)) @ a).eigenvectors[:, -1]
    aligned = {}
    for iterations in (1, 20):
        VAT(site="text-vectors", radius=0.01, iterations=iterations)(network, x, step(seed=1))
        delta = network.asked[-2][0]  # the last is asked by the clean loss
        aligned[iterations] = abs(float(delta @ top)) / float(delta.norm())
    assert aligned[20] > 0.9999 > aligned[1] > 0.5


@pytest.mark.parametrize("targets", [None, torch.full((5,), 9999), torch.tensor([1, 1, 1, 1, 1])])
def test_no_label_is_read(tiny_batch: TinyBatch, targets: Any) -> None:
    """S0-38: VAT's loss without labels, with labels out of range, and with wrong ones."""
    network, objective = TinyNetwork(), VAT(radius=0.3)
    labelled = objective.smoothness(network, tiny_batch, step(), Draws.now())
    without = TinyBatch(tiny_batch.queries, targets)
    assert torch.equal(labelled, objective.smoothness(network, without, step(), Draws.now()))
    total = objective(network, tiny_batch, step())
    torch.testing.assert_close(total, network.loss(tiny_batch) + labelled)


def test_zero_at_radius_zero_and_quadratic_beside_it(tiny_batch: TinyBatch) -> None:
    """S0-38, S0-51."""
    network, sizes = TinyNetwork(), {}
    for progress in (0.0, 0.25, 0.5):
        objective = VAT(radius=0.02, radius_schedule=Ramp())
        sizes[progress] = float(
            objective.smoothness(network, tiny_batch, step(progress), Draws.now()).detach()
        )
    assert sizes[0.0] == 0.0
    assert sizes[0.5] / sizes[0.25] == pytest.approx(4.0, rel=0.05)


def test_gradient_is_that_of_the_neighbour_alone(watched: Any, tiny_batch: TinyBatch) -> None:
    """By hand: d KL / d scores there = q - p, and the clean side is a constant, so
    dW = [p - onehot + weight (q - p)]' Q / N."""
    VAT(radius=0.3, weight=1.7)(watched, tiny_batch, step()).backward()
    (delta,) = watched.deltas
    queries, vectors = tiny_batch.queries.double(), watched.vectors.detach().double()
    p = (queries @ vectors.T).softmax(1)
    q = (queries @ (vectors + delta).T).softmax(1)
    onehot = nn.functional.one_hot(tiny_batch.targets, 6)
    expected = (p - onehot + 1.7 * (q - p)).T @ queries / len(queries)
    torch.testing.assert_close(watched.vectors.grad.double(), expected, atol=1e-6, rtol=1e-5)
    assert float((q - p).abs().max()) > 0.01


def test_delta_has_the_full_radius_and_is_stronger_than_noise(tiny_batch: TinyBatch) -> None:
    network = TinyNetwork()
    one = VAT(radius=0.2, iterations=5)
    draws = Draws.now()
    found = float(one.smoothness(network, tiny_batch, step(), draws).detach())
    noise = torch.randn(100, 6, 4, generator=torch.Generator().manual_seed(0))
    size = 0.2 * float(network.vectors.detach().norm(dim=1).mean())
    noise = noise / noise.norm(dim=2, keepdim=True) * size
    p = network.predictions(tiny_batch).logits.log_softmax(1)
    beaten = 0
    for delta in noise:
        q = network.predictions(tiny_batch, {"item-vectors": delta}).logits.log_softmax(1)
        beaten += found > float((p.exp() * (p - q)).sum(1).mean().detach())
    assert beaten == 100


def test_refused_before_training(pairwise: Any) -> None:
    with pytest.raises(Unsupported, match="'vat' compares whole rankings"):
        check_objective(VAT(radius=0.1), pairwise)
    with pytest.raises(Unsupported, match="no site 'text-vectors'"):
        check_objective(VAT(site="text-vectors", radius=0.1), TinyNetwork())
