"""Amortised perturbations of item vectors: inside the ball, nearly as strong as PGD, and small."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.context import RunContext
from hardrank.data import Queries
from hardrank.errors import BundleError, DataError, Diverged, Unsupported
from hardrank.generators.dense import Dense
from hardrank.generators.vectors import AmortisedGenerator, AmortisedVectors, distil
from hardrank.models import BprMf
from hardrank.perturbations import PGD
from hardrank.recommender import Differentiable, LossSurface
from hardrank.testing.logs import taste_log

RUN = RunContext()
BRISK = AmortisedVectors(width=16, depth=1, steps=20, batch=20)


class Linear:
    """loss(delta) = delta . w: the best delta is radius * w / ||w||, whatever the item."""

    sites = ("item-vectors",)

    def __init__(self, w: list[float], worth: float = 1.0) -> None:
        self.w, self.worth = torch.tensor(w), worth

    def surface(self, site, goal, queries, items, texts=(), *, loss=None):  # type: ignore[no-untyped-def]
        assert site == "item-vectors"
        angles = torch.from_numpy(np.asarray(items, dtype=np.float32))
        like = torch.stack([angles.cos(), angles.sin()], dim=1) * 3.0
        sign = 1.0 if goal == "promote" else -1.0
        return LossSurface(
            loss=lambda delta: sign * self.worth * (delta @ self.w), like=like, scale=3.0
        )


def generator(seed: int = 0, size: int = 4) -> AmortisedGenerator:
    network = Dense([size, 8, size], torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(20)
    return AmortisedGenerator(network=network, radius=0.7, scale=2.0)


QUERIES = Queries.of([[0]])


def test_the_linear_world_has_one_answer() -> None:
    """Of a linear loss the maximum in the ball is radius * ||w||, for either goal."""
    spec = AmortisedVectors(width=16, depth=1, steps=300, batch=20)
    made = spec.fit(Linear([3.0, 4.0]), QUERIES, np.arange(40), 0.1, RUN)  # type: ignore[arg-type]
    assert made.radius == pytest.approx(0.3)
    new = (
        torch.nn.functional.normalize(
            torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
        )
        * 3.0
    )
    gain = made(new) @ torch.tensor([3.0, 4.0])
    assert gain.min() > 0.95 * 0.3 * 5
    assert made.losses[-1] > made.losses[0]
    away = AmortisedVectors(goal="demote", width=16, depth=1, steps=300, batch=20)
    opposite = away.fit(Linear([3.0, 4.0]), QUERIES, np.arange(40), 0.1, RUN)  # type: ignore[arg-type]
    assert (opposite(new) @ torch.tensor([3.0, 4.0])).max() < -0.95 * 0.3 * 5


@given(st.integers(0, 2**31), st.floats(1e-3, 1e4))
@settings(max_examples=50, deadline=None)
def test_no_perturbation_leaves_the_ball(seed: int, size: float) -> None:
    """1,000 random vectors (50 times 20), of any length (S4-12)."""
    drawn = torch.randn(20, 4, generator=torch.Generator().manual_seed(seed)) * size
    deltas = generator(seed % 7)(drawn)
    assert deltas.shape == drawn.shape and not deltas.requires_grad
    assert float(torch.linalg.vector_norm(deltas.double(), dim=1).max()) <= 0.7


def test_a_perturbation_depends_on_its_vector_and_on_no_companion() -> None:
    made = generator()
    drawn = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    whole = made(drawn)
    assert torch.allclose(whole[3:4], made(drawn[3:4]), atol=1e-6)
    assert not torch.allclose(whole[0], whole[1], atol=1e-3)


def test_same_seed_same_generator() -> None:
    arrays = [
        BRISK.fit(Linear([1.0, 0.0]), QUERIES, np.arange(30), 0.1, RunContext(seed=s)).arrays()  # type: ignore[arg-type]
        for s in (1, 1, 2)
    ]
    assert all(np.array_equal(arrays[0][n], arrays[1][n]) for n in arrays[0])
    assert not all(np.array_equal(arrays[0][n], arrays[2][n]) for n in arrays[0])


def test_files_hold_the_whole_generator(tmp_path: Path) -> None:
    made = generator()
    made.save(tmp_path / "g.safetensors")
    read = AmortisedGenerator.load(tmp_path / "g.safetensors")
    drawn = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(made(drawn), read(drawn)) and read.weights == made.weights
    (tmp_path / "bad").write_bytes(b"nothing")
    with pytest.raises(BundleError, match="not a safetensors"):
        AmortisedGenerator.load(tmp_path / "bad")
    with pytest.raises(BundleError, match="vector generator"):
        AmortisedGenerator.from_arrays({"radius": np.ones(1)})


def test_bad_input_is_refused() -> None:
    victim = Linear([1.0, 0.0])
    for items, radius in ((np.arange(0), 0.1), (np.arange(3), 0.0), (np.arange(3), np.inf)):
        with pytest.raises(DataError, match="radius above 0"):
            BRISK.fit(victim, QUERIES, items, radius, RUN)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"\(B, 4\)"):
        generator()(torch.zeros(2, 3))
    with pytest.raises(DataError, match="finite"):
        generator()(torch.full((2, 4), torch.nan))
    with pytest.raises(DataError, match="distilling"):
        distil(generator(), np.zeros((0, 4), np.float32), width=2)
    with pytest.raises(Diverged, match="step 1"):
        BRISK.fit(Linear([1.0, 0.0], torch.nan), QUERIES, np.arange(30), 0.1, RUN)  # type: ignore[arg-type]


def test_training_leaves_the_victim_alone() -> None:
    data = taste_log()
    victim = BprMf(size=8, epochs=2).fit(data, RUN)
    before = {name: value.copy() for name, value in victim.arrays().items()}
    assert isinstance(victim, Differentiable)
    BRISK.fit(victim, data.histories(), np.arange(40), 0.2, RUN)
    assert all(np.array_equal(value, before[name]) for name, value in victim.arrays().items())
    with pytest.raises(Unsupported):
        victim.surface("history-vectors", "promote", data.histories(), np.arange(3))


@pytest.mark.slow
@pytest.mark.parametrize("radius", [0.1, 0.3])
def test_one_pass_does_most_of_what_twenty_steps_do(radius: float) -> None:
    """S2-27: on items that it never saw, at least 70 % of the gain of PGD-20, with none of its
    21 evaluations of the victim, 20 times faster. S2-28: a network of at most a quarter of the
    numbers keeps 90 % of that gain."""
    data = taste_log(users=600, items=240, events=20)
    victim = BprMf(size=16, epochs=30, learning_rate=0.02).fit(data, RUN)
    order = np.random.default_rng(0).permutation(240)
    known, new = order[:180], order[180:]
    queries = data.histories()
    made = AmortisedVectors(steps=300).fit(victim, queries, known, radius, RUN)
    surface = victim.surface("item-vectors", "promote", queries, new)

    def gain(deltas: torch.Tensor) -> float:
        return float((surface.loss(deltas) - surface.loss(deltas * 0)).mean())

    began = time.perf_counter()
    slow = PGD(steps=20)(
        surface.loss, surface.like, radius=made.radius, generator=torch.Generator()
    )
    of_pgd = time.perf_counter() - began
    passes = []
    for _ in range(5):
        began = time.perf_counter()
        quick = made(surface.like)
        passes.append(time.perf_counter() - began)
    assert gain(quick) >= 0.7 * gain(slow) > 0
    assert of_pgd >= 20 * min(passes)
    small = distil(made, victim.factors[known], width=24)
    assert small.weights <= 0.25 * made.weights
    assert gain(small(surface.like)) >= 0.9 * gain(quick)
    assert float(small(surface.like).norm(dim=1).max()) <= made.radius
