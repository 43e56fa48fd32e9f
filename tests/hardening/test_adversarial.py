"""Adversarial training on networks small enough to do by hand."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from hardrank.errors import Unsupported
from hardrank.hardening import Adversarial, Ramp
from hardrank.perturbations import FGM, FGSM, PGD, Gaussian
from hardrank.training import Plain, Step, check_objective

SITE = "text-vectors"


@dataclass
class Batch:
    x: Tensor
    """(B, ..., D)."""
    y: Tensor
    """(B,) -1 or 1."""
    real: Tensor | None = None


class Toy(nn.Module):
    """Mean log(1 + exp(-y f(x))); counts and remembers how it was called."""

    sites = (SITE,)

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[bool, Tensor | None]] = []
        self.failing = False

    def margin(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def loss(self, batch: Batch, deltas: Mapping[Any, Tensor] | None = None) -> Tensor:
        delta = (deltas or {}).get(SITE)
        self.asked.append((self.training, delta))
        if self.failing and delta is not None:
            raise RuntimeError("fell over")
        return F.softplus(
            -batch.y * self.margin(batch.x if delta is None else batch.x + delta)
        ).mean()

    def clean(self, site: str, batch: Batch) -> Tensor:
        return batch.x

    def writable(self, site: str, batch: Batch) -> Tensor | None:
        return batch.real


class Linear(Toy):
    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w.clone())

    def margin(self, x: Tensor) -> Tensor:
        return (x * self.w).flatten(1).sum(1)


class Deep(Toy):
    """With dropout, and a part that stays in evaluation mode while the rest trains."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.frozen = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5))
            self.head = nn.Sequential(
                nn.Linear(6, 32), nn.Tanh(), nn.Dropout(0.3), nn.Linear(32, 1)
            )
        self.train()

    def train(self, mode: bool = True) -> "Deep":
        super().train(mode)
        self.frozen.eval()
        return self

    def margin(self, x: Tensor) -> Tensor:
        return self.head(self.frozen(x)).squeeze(-1)


def step(progress: float = 0.0, seed: int = 0) -> Step:
    draws = torch.Generator().manual_seed(seed)
    return Step(epoch=0, number=0, progress=progress, generator=draws)


def batch(seed: int = 0, size: int = 16) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 6, generator=draws)
    return Batch(x, torch.randint(0, 2, (size,), generator=draws) * 2.0 - 1)


def weights(network: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def trained(objective: Any, steps: int = 5) -> list[Tensor]:
    """Weights after a few optimiser steps that are not seeded one by one."""
    network = Deep()
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        for number in range(steps):
            optimiser.zero_grad()
            objective(network, batch(number), step(number / steps)).backward()
            optimiser.step()
    return weights(network)


ALL_INNER = [PGD(steps=10), PGD(norm="token-l2", steps=10, random_start=True), FGM(), FGSM()]


@pytest.mark.parametrize("inner", [PGD(steps=10), PGD(steps=20, restarts=2), FGM()], ids=repr)
def test_inner_value_is_analytic_on_a_linear_logistic_model(inner: Any) -> None:
    """S0-13: max over ||d|| <= e of log(1 + exp(-y w.(x + d))) = log(1 + exp(-y w.x + e ||w||))."""
    w, x = torch.tensor([3.0, -4.0]), torch.tensor([[0.5, 0.2]])
    for y in (-1.0, 1.0):
        objective = Adversarial(site=SITE, inner=inner, radius=0.3, form="mix")
        value = objective(Linear(w), Batch(x, torch.tensor([y])), step())
        radius = 0.3 * math.hypot(0.5, 0.2)
        expected = math.log1p(math.exp(-y * (3 * 0.5 - 4 * 0.2) + radius * 5.0))
        assert abs(float(value.detach()) - expected) < 1e-3


def test_fgsm_radius_is_that_of_the_cube_inside_the_ball() -> None:
    """Half side r / sqrt(D), so the inner value is log(1 + exp(-m + r ||w||_1 / sqrt(D)))."""
    w, x = torch.tensor([3.0, -4.0]), torch.tensor([[0.6, 0.8]])
    objective = Adversarial(site=SITE, inner=FGSM(), radius=0.5, form="mix")
    value = objective(Linear(w), Batch(x, torch.ones(1)), step())
    margin = 3 * 0.6 - 4 * 0.8
    assert (
        abs(float(value.detach()) - math.log1p(math.exp(-margin + 0.5 * 7 / math.sqrt(2)))) < 1e-5
    )


@pytest.mark.parametrize("weight", [0.5, 1.0, 3.0])
def test_gradient_of_the_total_is_the_one_derived_by_hand(weight: float) -> None:
    """S0-10: delta* = -e y w / ||w|| is held fixed, so the gradient of the total is
    -sigmoid(-m) y x - weight * sigmoid(-m') y (x + delta*), m' = m - e ||w||."""
    w, x, y = torch.tensor([3.0, -4.0]), torch.tensor([[0.6, 0.8]]), -1.0
    network = Linear(w)
    objective = Adversarial(site=SITE, inner=FGM(), radius=0.1, weight=weight)
    objective(network, Batch(x, torch.tensor([y])), step()).backward()
    margin = y * float((x * w).sum())
    worst = x[0] - 0.1 * y * w / 5.0
    clean_part = -1 / (1 + math.exp(margin)) * y * x[0]
    attacked_part = -1 / (1 + math.exp(margin - 0.1 * 5.0)) * y * worst
    assert network.w.grad is not None
    torch.testing.assert_close(
        network.w.grad, clean_part + weight * attacked_part, atol=1e-6, rtol=0
    )


def test_a_mix_of_weight_one_ignores_the_clean_term() -> None:
    """S0-11: by gradient, against the attacked loss alone; and half and half is the mean."""
    grads = {}
    for weight in (0.0, 0.5, 1.0):
        network = Linear(torch.tensor([3.0, -4.0]))
        objective = Adversarial(site=SITE, inner=FGM(), radius=0.1, weight=weight, form="mix")
        objective(network, Batch(torch.tensor([[0.6, 0.8]]), -torch.ones(1)), step()).backward()
        grads[weight] = network.w.grad
    network = Linear(torch.tensor([3.0, -4.0]))
    worst = torch.tensor([[0.6, 0.8]]) + 0.1 * torch.tensor([0.6, -0.8])
    network.loss(Batch(worst, -torch.ones(1))).backward()
    torch.testing.assert_close(grads[1.0], network.w.grad, atol=1e-6, rtol=0)
    torch.testing.assert_close(grads[0.5], (grads[0.0] + grads[1.0]) / 2)
    assert not torch.allclose(grads[0.0], grads[1.0])


@pytest.mark.parametrize("inner", [PGD(random_start=True), Gaussian(draws=2)], ids=repr)
def test_weight_zero_gives_bit_identical_weights(inner: Any) -> None:
    """S0-11, over several steps of a network with dropout, one random stream throughout."""
    plain = trained(Plain())
    off = [
        Adversarial(site=SITE, inner=inner, radius=0.1, weight=0.0),
        Adversarial(site=SITE, inner=inner, radius=0.1, weight_schedule=Ramp(end_share=0.0)),
    ]
    for objective in off:
        assert all(map(torch.equal, trained(objective), plain))
    on = trained(Adversarial(site=SITE, inner=inner, radius=0.1, weight=1.0))
    assert not any(map(torch.equal, on, plain))


def test_the_adversary_leaves_the_dropout_of_later_steps_alone() -> None:
    """The clean loss and the global random state are those of plain training."""
    for objective in (Plain(), Adversarial(site=SITE, inner=PGD(random_start=True), radius=0.1)):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            objective(Deep(), batch(), step())
            after = torch.rand(3)
        if isinstance(objective, Plain):
            expected = after
    assert torch.equal(after, expected)


def test_a_vanishing_radius_gives_exactly_the_clean_loss() -> None:
    """Both losses draw the same dropout, so only the perturbation sets them apart."""
    objective = Adversarial(
        site=SITE, inner=PGD(), radius=1.0, radius_schedule=Ramp(), form="mix", weight=1.0
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        clean = Deep().loss(batch())
        torch.manual_seed(5)
        total = objective(Deep(), batch(), step(progress=0.0))
    assert torch.equal(total, clean)


@pytest.mark.parametrize("inner", ALL_INNER, ids=repr)
def test_the_adversary_raises_the_loss(inner: Any) -> None:
    """S0-09: in at least 95 % of batches, on a network with dropout in the outer pass."""
    raised = 0
    objective = Adversarial(site=SITE, inner=inner, radius=0.1)
    for seed in range(100):
        network = Deep()
        total = objective(network, batch(seed), step(seed=seed))
        delta = network.asked[-1][1]
        network.eval()
        raised += bool(network.loss(batch(seed), {SITE: delta}) > network.loss(batch(seed)))
        assert total.requires_grad
    assert raised >= 95


@pytest.mark.parametrize("inner", ALL_INNER, ids=repr)
@pytest.mark.parametrize("failing", [False, True])
def test_the_network_comes_back_as_it_was(inner: Any, failing: bool) -> None:
    """S0-09: gradients, modes (each module's own) and random state, also after an error."""
    network = Deep()
    network.failing = failing
    for number, parameter in enumerate(network.parameters()):
        parameter.grad = torch.full_like(parameter, float(number))
    modes = [module.training for module in network.modules()]
    assert len(set(modes)) == 2
    before, state = weights(network), torch.get_rng_state()
    objective = Adversarial(site=SITE, inner=inner, radius=0.1)
    if failing:
        with pytest.raises(RuntimeError, match="fell over"):
            objective(network, batch(), step())
        assert torch.equal(torch.get_rng_state(), state)
    else:
        with torch.random.fork_rng():
            objective(network, batch(), step())
    assert [module.training for module in network.modules()] == modes
    assert all(map(torch.equal, weights(network), before))
    for number, parameter in enumerate(network.parameters()):
        assert parameter.grad is not None
        assert (parameter.grad == number).all()


def test_all_losses_of_a_step_draw_the_same_negatives() -> None:
    """A model that samples negatives, in either mode, is one function to climb."""
    drawn: list[float] = []

    class Sampling(Deep):
        def loss(self, batch: Batch, deltas: Mapping[Any, Tensor] | None = None) -> Tensor:
            drawn.append(float(torch.rand(1)))
            return super().loss(batch, deltas)

    objective = Adversarial(site=SITE, inner=PGD(steps=3, restarts=2), radius=0.1)
    with torch.random.fork_rng():
        objective(Sampling(), batch(), step())
        first, number = drawn[0], len(drawn)
        objective(Sampling(), batch(), step())
    assert number == 2 * (3 + 1) + 2
    assert set(drawn[:number]) == {first}
    assert set(drawn[number:]) != {first}


def test_dropout_is_off_inside_and_on_outside() -> None:
    network = Deep()
    with torch.random.fork_rng():
        Adversarial(site=SITE, inner=PGD(steps=3, keep_best=False), radius=0.1)(
            network, batch(), step()
        )
    training = [mode for mode, _ in network.asked]
    assert training == [False, False, False, True, True]
    assert [delta is None for _, delta in network.asked] == [False, False, False, True, False]
    delta = network.asked[-1][1]
    assert delta is not None
    assert not delta.requires_grad


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_pgd_k_costs_k_plus_one_backward_passes(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S0-21: K inner, one joint outer."""
    passes: list[str] = []
    for name in ("grad", "backward"):
        real = getattr(torch.autograd, name)
        monkeypatch.setattr(
            torch.autograd,
            name,
            lambda *a, _f=real, _n=name, **k: (passes.append(_n), _f(*a, **k))[1],
        )
    objective = Adversarial(site=SITE, inner=PGD(steps=steps), radius=0.1)
    with torch.random.fork_rng():
        objective(Deep(), batch(), step()).backward()
    assert passes == ["grad"] * steps + ["backward"]


def test_radius_is_relative_to_writable_vectors_and_stays_off_padding() -> None:
    """Two positions: a real one of norm 5, a padded one of norm 1000."""
    x = torch.tensor([[[3.0, 4.0], [0.0, 1000.0]]])
    network = Linear(torch.tensor([[1.0, 0.0], [5.0, 0.0]]))
    real = torch.tensor([[True, False]])
    objective = Adversarial(site=SITE, inner=FGM(), radius=0.2)
    objective(network, Batch(x, torch.ones(1), real), step())
    torch.testing.assert_close(network.asked[-1][1], torch.tensor([[[-1.0, 0.0], [0.0, 0.0]]]))


def test_nothing_writable_is_no_perturbation_not_a_nan() -> None:
    network = Linear(torch.ones(2, 2))
    nowhere = Batch(torch.ones(1, 2, 2), torch.ones(1), torch.zeros(1, 2, dtype=torch.bool))
    total = Adversarial(site=SITE, inner=FGM(), radius=0.2)(network, nowhere, step())
    torch.testing.assert_close(total, 2 * network.loss(nowhere))


def test_radius_and_weight_follow_their_schedules() -> None:
    """S1-58: weak to strong."""
    objective = Adversarial(
        site=SITE,
        inner=FGM(),
        radius=0.2,
        weight_schedule=Ramp(start_share=0.5),
        radius_schedule=Ramp(start_share=0.1, until=0.5),
    )
    x, sizes = torch.tensor([[3.0, 4.0]]), []
    for progress in (0.0, 0.25, 0.5, 0.9):
        network = Linear(torch.tensor([1.0, 0.0]))
        total = objective(network, Batch(x, torch.ones(1)), step(progress))
        sizes.append(float(-network.asked[-1][1][0, 0]))
        attacked = math.log1p(math.exp(-3.0 + sizes[-1]))
        weight = 0.5 + 0.5 * progress
        assert abs(float(total.detach()) - math.log1p(math.exp(-3.0)) - weight * attacked) < 1e-5
    assert sizes == pytest.approx([0.1, 0.55, 1.0, 1.0])


def test_an_absent_site_is_named_with_those_there_are() -> None:
    with pytest.raises(Unsupported, match=r"no site 'item-vectors'; it has: text-vectors"):
        check_objective(Adversarial(inner=FGM(), radius=0.1), Deep())


@pytest.mark.parametrize(
    "radius", [{}, {"radius": 0.0}, {"radius": -1.0}, {"radius": math.inf}, {"radius": math.nan}]
)
def test_a_config_without_a_norm_bound_is_refused(radius: dict[str, float]) -> None:
    """S1-21."""
    with pytest.raises(ValidationError, match="radius"):
        TypeAdapter(Adversarial).validate_python({"inner": {"kind": "pgd"}, **radius})


def test_a_mix_above_one_is_refused() -> None:
    with pytest.raises(ValidationError, match="weight must be at most 1"):
        Adversarial(inner=FGM(), radius=0.1, weight=1.5, form="mix")


def test_what_toml_spells_is_what_python_builds() -> None:
    raw = {
        "kind": "adversarial",
        "site": "token-embeddings",
        "inner": {"kind": "pgd", "steps": 3},
        "radius": 0.1,
        "radius_schedule": {"kind": "ramp", "until": 0.5},
    }
    assert TypeAdapter(Adversarial).validate_python(raw) == Adversarial(
        site="token-embeddings", inner=PGD(steps=3), radius=0.1, radius_schedule=Ramp(until=0.5)
    )


def test_hardening_pays_on_a_problem_with_one_right_answer() -> None:
    """One feature is right nine times in ten by a wide margin, twenty are right always by a
    hair. Plain training leans on the hair; the adversary flips it, so hardening must not."""
    draws = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (400,), generator=draws) * 2.0 - 1
    sturdy = y * torch.where(torch.rand(400, generator=draws) < 0.9, 1.0, -1.0)
    data = Batch(torch.cat([sturdy[:, None], 0.1 * y[:, None].expand(400, 20)], 1), y)
    errors = {}
    for objective in (Plain(), Adversarial(site=SITE, inner=FGSM(), radius=0.7, weight=3.0)):
        network = Linear(torch.zeros(21))
        optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
        for number in range(300):
            optimiser.zero_grad()
            objective(network, data, step(number / 300)).backward()
            optimiser.step()
        attack = Adversarial(site=SITE, inner=FGSM(), radius=0.7)
        attack(network, data, step())
        margin = y * network.margin(data.x + network.asked[-1][1])
        errors[objective.kind] = float((margin <= 0).float().mean())
    assert errors["plain"] > 0.9
    assert errors["adversarial"] < 0.15
