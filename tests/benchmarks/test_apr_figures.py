"""What the benchmark of perturbed parameters computes; the measuring itself is not tested."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hardrank.context import RunContext
from hardrank.models.bpr.triples import Triples
from hardrank.models.bpr_mf import BprMf
from hardrank.perturbations import FGM, PGD, Gaussian
from hardrank.testing import toy_market

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import apr_parameter_noise

    yield apr_parameter_noise
    for name in set(sys.modules) - before:  # `common` is too common a name to leave there
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("inner", [FGM(), PGD(steps=5), Gaussian()], ids=lambda i: str(i.kind))
def test_rows_move_by_the_radius_and_the_model_stays(benchmark: Any, inner: Any) -> None:
    """S2-02: the weights are compared by hash; in shares each table has its own unit."""
    data = toy_market()
    model = BprMf(size=4, epochs=3, learning_rate=0.02).fit(data, RunContext())
    batch = next(Triples(data).batches(1000, np.random.default_rng(0)))
    before = benchmark.digest(model)
    for unit in ("radius", "share"):
        moved = benchmark.perturbed(model, batch, inner, 0.3, unit, 0)
        norms = benchmark.mean_norms(model)
        for name, old, new in (
            ("users", model.users, moved.users),
            ("items", model.factors, moved.factors),
        ):
            length = np.linalg.norm(new - old, axis=1)
            bound = 0.3 * (norms[name] if unit == "share" else 1.0)
            assert length.max() == pytest.approx(bound, rel=1e-4)
        assert np.array_equal(moved.biases, model.biases)
    assert benchmark.digest(model) == before


def test_attacks_raise_the_loss_more_than_noise(benchmark: Any) -> None:
    data = toy_market()
    model = BprMf(size=4, epochs=30, learning_rate=0.02).fit(data, RunContext())
    batch = next(Triples(data).batches(1000, np.random.default_rng(0)))

    def loss(inner: Any) -> float:
        moved = benchmark.perturbed(model, batch, inner, 0.5, "radius", 0)
        u, i, j = (part.numpy() for part in (batch.users, batch.liked, batch.other))
        gap = moved.factors[i] - moved.factors[j]
        margin = (moved.users[u] * gap).sum(1) + moved.biases[i] - moved.biases[j]
        return float(torch.nn.functional.softplus(-torch.from_numpy(margin)).mean())

    assert loss(PGD(steps=5)) >= loss(FGM()) > loss(Gaussian())


def test_a_cut_needs_something_to_cut(benchmark: Any) -> None:
    assert benchmark.cut(0.2, 0.05) == pytest.approx(0.75)
    assert benchmark.cut(0.2, 0.3) == pytest.approx(-0.5)
    assert benchmark.cut(0.009, 0.0) is None


def test_losses_are_averaged_after_division(benchmark: Any) -> None:
    """Falls of 50 % and 0 %: 25 %, whatever the seeds' clean values are."""

    def row(clean: float, attacked: float) -> dict[str, Any]:
        arm = {
            "clean": {"ndcg@10": clean}, "attacked": {"k": {"ndcg@10": attacked}},
            "mean_norms": {"users": 1.0, "items": 2.0}, "weights_restored": True,
            "training_cpu_seconds": 1.0,
        }  # fmt: skip
        return dict.fromkeys(benchmark.ARMS, arm)

    found = benchmark.over_seeds([row(0.2, 0.1), row(0.1, 0.1)])
    assert found["apr"]["loss"]["k"]["ndcg@10"] == pytest.approx(0.25)
    assert found["cut"]["k"]["ndcg@10"] == 0.0
    assert found["base"]["clean"]["ndcg@10"] == pytest.approx(0.15)
