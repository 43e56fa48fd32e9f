"""TRADES: the divergence of the worst neighbour's ranking, beside the clean loss."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from hardrank.errors import Unsupported
from hardrank.hardening import TRADES, Ramp
from hardrank.perturbations import APGD, FGM, FGSM, PGD, Gaussian, Inner
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Step, check_objective

PAIRS: list[Inner] = [PGD(steps=3), PGD(steps=2, norm="token-l2"), FGM(), FGSM(), APGD(steps=3)]


def step(progress: float = 0.0, seed: int = 0) -> Step:
    draws = torch.Generator().manual_seed(seed)
    return Step(epoch=0, number=0, progress=progress, generator=draws)


@pytest.mark.parametrize("inner", [*PAIRS, Gaussian()], ids=lambda inner: inner.kind)
class TestContract(ObjectiveContract):
    @pytest.fixture(autouse=True)
    def _choose(self, inner: Inner) -> None:
        self.objective = TRADES(inner=inner, radius=0.1)
        self.zero = TRADES(inner=inner, radius=0.1, weight=0.0)


def bernoulli(margin: float, moved: float) -> float:
    """KL of two logistic predictions."""
    p, q = 1 / (1 + math.exp(-margin)), 1 / (1 + math.exp(-moved))
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


@pytest.mark.parametrize("inner", [PGD(steps=20, restarts=4), FGM()], ids=lambda i: i.kind)
def test_the_inner_problem_is_solved_on_a_logistic_model(
    logistic: Callable[[Tensor], Any], inner: Inner
) -> None:
    """S1-09: the divergence grows with |w . delta| alone, so delta* = +- e w / ||w||, though
    it is flat at 0, where these maximisers begin; restarts find the better sign."""
    network = logistic(torch.tensor([3.0, -4.0]))
    x = torch.tensor([[0.6, 0.8]])
    objective = TRADES(site="text-vectors", inner=inner, radius=0.1, weight=2.0)
    value = float(objective(network, x, step()).detach())
    (delta,) = network.deltas
    moved = float((delta @ network.w).detach())
    assert abs(moved) == pytest.approx(0.1 * 5.0, rel=2e-3)  # the nudge turns it by 0.05 at most
    margin = 3 * 0.6 - 4 * 0.8
    ends = [bernoulli(margin, margin + sign * 0.5) for sign in (-1, 1)]
    found = (value - math.log1p(math.exp(-margin))) / 2.0
    assert found == pytest.approx(bernoulli(margin, margin + moved), abs=1e-6)
    if isinstance(inner, PGD):
        assert found == pytest.approx(max(ends), rel=4e-3)


def test_gradient_is_the_one_derived_by_hand(watched: Any, tiny_batch: TinyBatch) -> None:
    """S1-09: with scores a = Q W' and b = Q (W + delta)', p and q their softmax, over N rows
    dW = [p - onehot + weight (p (log p - log q - KL) + q - p)]' Q / N."""
    TRADES(inner=PGD(steps=3), radius=0.3, weight=1.7)(watched, tiny_batch, step()).backward()
    (delta,) = watched.deltas
    queries, vectors = tiny_batch.queries.double(), watched.vectors.detach().double()
    log_p = (queries @ vectors.T).log_softmax(1)
    log_q = (queries @ (vectors + delta).T).log_softmax(1)
    p, q, ratio = log_p.exp(), log_q.exp(), log_p - log_q
    onehot = torch.nn.functional.one_hot(tiny_batch.targets, 6)
    slopes = p - onehot + 1.7 * (p * (ratio - (p * ratio).sum(1, keepdim=True)) + q - p)
    expected = slopes.T @ queries / len(queries)
    torch.testing.assert_close(watched.vectors.grad.double(), expected, atol=1e-6, rtol=1e-5)
    assert float((p * ratio).sum(1).mean()) > 0.01  # it is no test if delta does nothing


def test_the_search_beats_noise(tiny_batch: TinyBatch) -> None:
    values = {}
    for inner in (Gaussian(), FGM(), PGD(steps=10)):
        objective = TRADES(inner=inner, radius=0.2)
        values[inner.kind] = [
            float(objective(TinyNetwork(seed), tiny_batch, step(seed=seed)).detach())
            - float(TinyNetwork(seed).loss(tiny_batch).detach())
            for seed in range(20)
        ]
    pairs = zip(values["gaussian"], values["fgm"], strict=True)
    assert sum(noise < found for noise, found in pairs) >= 19
    assert sum(values["pgd"]) >= sum(values["fgm"])


def test_the_ball_is_kept(watched: Any, tiny_batch: TinyBatch) -> None:
    """The nudge included: rows of at most radius * mean norm."""
    for inner in (PGD(steps=3), FGM(), Gaussian()):
        TRADES(inner=inner, radius=0.3)(watched, tiny_batch, step())
        bound = 0.3 * float(watched.vectors.detach().norm(dim=1).mean())
        assert float(watched.deltas[-1].norm(dim=1).max()) <= bound * (1 + 1e-5)


def test_labels_play_no_part_in_the_search(watched: Any, tiny_batch: TinyBatch) -> None:
    objective = TRADES(inner=PGD(steps=3), radius=0.3)
    objective(watched, tiny_batch, step())
    objective(watched, TinyBatch(tiny_batch.queries, tiny_batch.targets * 0), step())
    assert torch.equal(*watched.deltas)


def test_radius_zero_adds_exactly_nothing(tiny_batch: TinyBatch) -> None:
    """S0-51: the KL term is 0 at delta = 0."""
    objective = TRADES(inner=PGD(), radius=1.0, radius_schedule=Ramp())
    network = TinyNetwork()
    assert torch.equal(objective(network, tiny_batch, step()), network.loss(tiny_batch))
    assert objective(network, tiny_batch, step(0.5)) > network.loss(tiny_batch)


def test_weight_follows_its_schedule(tiny_batch: TinyBatch) -> None:
    network = TinyNetwork()
    base = float(network.loss(tiny_batch).detach())
    full = TRADES(inner=FGM(), radius=0.3)
    half = TRADES(inner=FGM(), radius=0.3, weight_schedule=Ramp())
    added = [float(o(network, tiny_batch, step(0.5)).detach()) - base for o in (half, full)]
    assert added[0] == pytest.approx(added[1] / 2, rel=1e-4)


def test_refused_before_training(pairwise: Any) -> None:
    with pytest.raises(Unsupported, match=r"'trades' compares whole rankings.*scores pairs only"):
        check_objective(TRADES(inner=FGM(), radius=0.1), pairwise)
    with pytest.raises(Unsupported, match="no site 'history-vectors'; it has: item-vectors"):
        check_objective(TRADES(site="history-vectors", inner=FGM(), radius=0.1), TinyNetwork())


@pytest.mark.parametrize("radius", [{}, {"radius": 0.0}, {"radius": math.inf}])
def test_a_config_without_a_norm_bound_is_refused(radius: dict[str, float]) -> None:
    """S1-21."""
    with pytest.raises(ValidationError, match="radius"):
        TRADES(inner=FGM(), **radius)  # type: ignore[arg-type]
