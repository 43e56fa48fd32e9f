"""Did the attack finish? On a linear world whose best perturbation is known."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from hardrank.audits.checks import Check
from hardrank.audits.convergence import best_iterate_kept, convergence_checks, random_directions
from hardrank.audits.outputs import output_checks
from hardrank.audits.probe import Probe, shortfall
from hardrank.audits.transfer import transfer_checks
from hardrank.data import Queries
from hardrank.perturbations import FGM, PGD, Gaussian

QUERIES = Queries.of([[q % 40, (q + 7) % 40] for q in range(60)], users=range(60))


def model(make_vectors: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return make_vectors(rng.normal(size=(60, 8)) + 0.5, rng.normal(size=(40, 8)))


def probe(victim: Any, **changes: Any) -> Probe:
    about: dict[str, Any] = {
        "model": victim, "site": "item-vectors", "goal": "promote", "queries": QUERIES,
        "items": np.arange(12), "inner": PGD(), "radius": 0.3, "subject": "m/x",
    }  # fmt: skip
    return Probe(**about | changes)


def asked(checks: list[Check]) -> dict[str, bool | None]:
    return {c.name: c.passed for c in checks}


def test_an_attack_that_arrives_passes_everything(make_vectors: Any) -> None:
    """The maximum of a linear loss in a ball is radius * ||w||, reached in one step."""
    honest = probe(model(make_vectors))
    slope = honest.model.states.mean(0).norm()  # type: ignore[attr-defined]
    assert torch.allclose(honest.gains(honest.own), honest.length("l2") * slope, rtol=1e-4)
    assert set(asked(convergence_checks(honest)).values()) == {True}


@pytest.mark.parametrize("inner", [PGD(step_size=0.01), PGD(steps=5, step_size=0.05)])
def test_small_steps_are_told(make_vectors: Any, inner: PGD) -> None:
    """10 steps of 1 % cover a tenth of the way: 90 % of the gain is missed."""
    weak = probe(model(make_vectors), inner=inner)
    found = {c.name: c for c in convergence_checks(weak, draws=250)}
    assert found["iterations_converge"].passed is False
    missed = 1 - inner.steps * (inner.step_size or 0)
    assert found["iterations_converge"].statistic == pytest.approx(missed, abs=1e-3)


def test_what_does_not_iterate_is_not_asked(make_vectors: Any) -> None:
    found = asked(convergence_checks(probe(model(make_vectors), inner=FGM()), draws=250))
    assert found["iterations_converge"] is None and found["restarts_converge"] is None
    assert found["best_iterate_kept"] is True


@dataclass(frozen=True)
class Overshoots:
    """Climbs to the best point and goes on to the worst."""

    kind = "overshoots"
    norm = "l2"
    steps = 2

    def __call__(self, loss: Any, like: Any, **more: Any) -> Any:
        up = PGD()(loss, like, **more)
        loss(up)
        return -up


def test_a_success_that_is_thrown_away_is_told(make_vectors: Any) -> None:
    """H14, as Pintor et al. name it."""
    thrown = probe(model(make_vectors), inner=Overshoots())
    found = asked([best_iterate_kept(thrown), *random_directions(thrown, draws=250)])
    assert found["best_iterate_kept"] is False
    assert found["random_search_finds_nothing_more"] is False


def test_noise_is_beaten_by_more_noise(make_vectors: Any) -> None:
    """H8: a single draw is weaker than the best of 1,000."""
    found = asked(random_directions(probe(model(make_vectors), inner=Gaussian())))
    assert found == {
        "random_search_finds_nothing_more": False, "gradient_beats_random_directions": True,
    }  # fmt: skip


def test_a_model_that_hides_its_gradient_falls_to_its_twin(make_vectors: Any) -> None:
    """H17: the same model behind a staircase; what the open one gives crosses the steps."""
    open_model, masked = model(make_vectors), model(make_vectors)
    plain = masked._loss

    def loss(site: Any, goal: Any, queries: Any, items: Any) -> Any:
        like, inner = plain(site, goal, queries, items)
        return like, lambda delta: inner(torch.round((like + delta) * 4) / 4 - like)

    twin = probe(open_model, radius=1.0)
    assert asked(transfer_checks(probe(open_model, radius=1.0), twin)) == {
        "white_box_beats_transfer": True, "transfer_beats_random": True,
    }  # fmt: skip
    masked._loss = loss
    hidden = asked(transfer_checks(probe(masked, radius=1.0), twin))
    assert hidden["white_box_beats_transfer"] is False
    other = probe(model(make_vectors), items=np.arange(5))
    assert set(asked(transfer_checks(other, twin)).values()) == {None}


def test_the_share_that_is_missed() -> None:
    assert shortfall(torch.tensor([1.0, 1.0]), torch.tensor([2.0, 2.0])) == 0.5
    assert shortfall(torch.tensor([2.0]), torch.tensor([1.0])) == -0.5
    assert shortfall(torch.zeros(3), torch.zeros(3)) is None


def outputs(victim: Any) -> dict[str, bool | None]:
    return asked(output_checks(victim, QUERIES, subject="m/x"))


def test_scores_must_be_raw_and_the_same_twice(make_vectors: Any) -> None:
    """H11, H12, H13."""
    honest = model(make_vectors)
    assert set(outputs(honest).values()) == {True}
    loud = model(make_vectors)
    loud.states = loud.states * 1e4
    assert outputs(loud)["scores_not_saturated"] is False

    class Squashed(make_vectors):  # type: ignore[misc]
        def score(self, queries: Any, slate: Any) -> Any:
            raw = np.exp(super().score(queries, slate))
            return raw / raw.sum(1, keepdims=True)

    squashed = Squashed(honest.states.numpy(), honest.vectors.numpy())
    assert outputs(squashed)["scores_not_saturated"] is False

    class Learns(make_vectors):  # type: ignore[misc]
        def score(self, queries: Any, slate: Any) -> Any:
            x = torch.ones(1, requires_grad=True)
            torch.autograd.grad((x * x).sum(), x)
            return super().score(queries, slate)

    learner = Learns(honest.states.numpy(), honest.vectors.numpy())
    assert outputs(learner)["learns_nothing_while_serving"] is False
    assert outputs(honest)["learns_nothing_while_serving"] is True  # the spy has gone


def test_a_probe_is_the_same_twice(make_vectors: Any) -> None:
    one, two = (probe(model(make_vectors), inner=Gaussian()) for _ in range(2))
    assert torch.equal(one.own, two.own)
    assert not torch.equal(one.own, replace(one, seed=5).own)
