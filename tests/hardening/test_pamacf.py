"""Magnitudes by length of the user's vector: who gets which, worked out by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from hardrank.context import RunContext
from hardrank.errors import Unsupported
from hardrank.hardening import APR, PamaCF, Ramp
from hardrank.hardening.pamacf import item_magnitudes, user_magnitudes
from hardrank.models import BprMf, LightGcn, Sasrec
from hardrank.models.bpr.triples import BprBatch, Triples
from hardrank.testing import toy_market
from hardrank.testing.logs import taste_log
from hardrank.testing.objectives import ObjectiveContract, TinyNetwork
from hardrank.testing.pairs import Remembering, batch, step
from hardrank.training import check_objective

RUN = RunContext()


def net() -> Remembering:
    """Users of very different lengths."""
    return Remembering((1.0, 2.0, 3.0, 4.0, 30.0))


class TestPamaCF(ObjectiveContract):
    objective = PamaCF(radius=0.2)
    zero = PamaCF(radius=0.2, weight=0.0)

    def network(self) -> Any:
        return net()

    def batch(self) -> Any:
        return batch()


def test_a_user_with_a_long_vector_gets_the_larger_magnitude() -> None:
    """Lengths 3 and 5 of two users of the batch, mean 4: 0.75 and 1.25; no other row counts."""
    table = torch.tensor([[3.0, 0.0], [99.0, 0.0], [3.0, 4.0]])
    found = user_magnitudes(table, torch.tensor([0, 2, 2, 2]), least=0.5, most=2.0)
    torch.testing.assert_close(found, torch.tensor([0.75, 1.0, 1.25]))


def test_magnitudes_are_clipped() -> None:
    """Lengths 1 and 9, mean 5: shares 0.2 and 1.8."""
    table = torch.tensor([[1.0], [9.0]])
    found = user_magnitudes(table, torch.tensor([0, 1]), least=0.5, most=1.5)
    torch.testing.assert_close(found, torch.tensor([0.5, 1.5]))


def test_an_item_gets_the_mean_of_those_who_compare_it() -> None:
    """Item 0: users of 2 and 1; item 1: the user of 2; item 2: the user of 1; item 3: nobody."""
    found = item_magnitudes(
        torch.tensor([2.0, 1.0]), [torch.tensor([0, 2]), torch.tensor([1, 0])], 4
    )
    torch.testing.assert_close(found, torch.tensor([1.5, 2.0, 1.0, 1.0]))


def test_rows_move_by_their_magnitudes() -> None:
    """S4-05: lengths 1, 2 and 30 of the batch's users, mean 11, shares clipped at 0.5 and 2.
    Item 3 stands with users 1 and 4: (0.5 + 2) / 2."""
    made = net()
    PamaCF(radius=0.1, absolute=True)(made, batch(), step())
    lengths = made.last["user-vectors"].norm(dim=1)
    torch.testing.assert_close(lengths, torch.tensor([0.05, 0.05, 0.0, 0.0, 0.2]))
    lengths = made.last["item-vectors"].norm(dim=1)
    expected = torch.tensor([0.2, 0.05, 0.05, 0.125, 0.05, 0.05, 0.0])
    torch.testing.assert_close(lengths, expected)


def test_the_perturbation_is_an_ascent() -> None:
    """The loss at the small delta is above the clean one by its length along the slope."""
    made = net()
    value = PamaCF(radius=1e-3, absolute=True)(made, batch(), step())
    deltas = made.last
    zero = {s: torch.zeros_like(d, requires_grad=True) for s, d in deltas.items()}
    slopes = torch.autograd.grad(net().loss(batch(), zero), list(zero.values()))
    rise = sum((g * d).sum() for g, d in zip(slopes, deltas.values(), strict=True))
    clean = net().loss(batch())
    torch.testing.assert_close(value - 2 * clean, rise, rtol=2e-2, atol=1e-5)
    assert rise > 0


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=8), st.floats(0, 1), st.floats(1, 4))
def test_magnitudes_are_bounded_and_monotone(
    lengths: list[float], least: float, most: float
) -> None:
    table = torch.tensor(lengths, dtype=torch.float64)[:, None]
    found = user_magnitudes(table, torch.arange(len(lengths)), least=least, most=most)
    assert bool(((found >= least) & (found <= most)).all())
    ordered = found[torch.argsort(table[:, 0])]
    assert bool((ordered.diff() >= 0).all())


def test_equal_users_make_it_apr() -> None:
    one = batch((0, 0), (1, 2), (4, 5))
    mine = PamaCF(radius=0.3)(net(), one, step())
    torch.testing.assert_close(mine, APR(radius=0.3)(net(), one, step()))


def test_clipped_at_one_it_is_apr() -> None:
    mine = PamaCF(radius=0.3, least=1.0, most=1.0)(net(), batch(), step())
    torch.testing.assert_close(mine, APR(radius=0.3)(net(), batch(), step()))


def test_schedules_reach_zero() -> None:
    objective = PamaCF(radius=0.3, weight_schedule=Ramp())
    assert torch.equal(objective(net(), batch(), step(0.0)), net().loss(batch()))
    shrinking = PamaCF(radius=0.3, radius_schedule=Ramp())
    torch.testing.assert_close(shrinking(net(), batch(), step(0.0)), 2 * net().loss(batch()))


@pytest.mark.parametrize("spec", [BprMf(size=4, epochs=2), LightGcn(size=4, epochs=2)])
def test_it_trains_both_kinds_of_factorisation(spec: Any) -> None:
    """S4-05: weight 0 gives the plain weights to the last bit, another weight others."""
    log = taste_log(users=20, items=15)
    plain, zero, hard = (
        spec.fit(log, RUN, objective=o).arrays()
        for o in (None, PamaCF(radius=0.3, weight=0.0), PamaCF(radius=0.3))
    )
    assert all(np.array_equal(zero[name], value) for name, value in plain.items())
    assert any(not np.array_equal(hard[name], value) for name, value in plain.items())


class Killed(Exception):
    """Stands for a kill in the middle of training."""


def test_killed_and_resumed_is_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, log = BprMf(size=4, epochs=3, batch_size=40), taste_log(users=20, items=15)
    objective = PamaCF(radius=0.3, weight_schedule=Ramp())
    whole = spec.fit(log, RUN, objective=objective).arrays()
    run, real, calls = RunContext(folder=tmp_path), Triples.batches, iter(range(9))

    def batches(self: Triples, size: int, rng: np.random.Generator, **how: Any) -> Any:
        if next(calls) == 2:
            raise Killed
        yield from real(self, size, rng, **how)

    monkeypatch.setattr(Triples, "batches", batches)
    with pytest.raises(Killed):
        spec.fit(log, run, objective=objective)
    again = spec.fit(log, run, objective=objective).arrays()
    assert all(np.array_equal(again[name], value) for name, value in whole.items())


def test_it_is_refused_where_there_are_no_users() -> None:
    """S4-05: with the sites there are, before training."""
    with pytest.raises(Unsupported, match="no site 'user-vectors'; it has: item-vectors"):
        check_objective(PamaCF(radius=0.1), TinyNetwork())
    with pytest.raises(Unsupported, match="'pama-cf': this model has no site 'user-vectors'"):
        Sasrec().fit(toy_market(), RUN, objective=PamaCF(radius=0.1))


def test_batches_that_do_not_say_whose_they_are_are_refused() -> None:
    nameless = batch((0,), (1,), (2,))
    object.__setattr__(nameless, "users", None)

    class Anonymous(Remembering):
        def loss(self, batch: BprBatch, deltas: Any = None) -> Tensor:
            return super().loss(replace(batch, users=torch.tensor([0])), deltas)

    with pytest.raises(Unsupported, match="do not say whose they are; use 'apr'"):
        PamaCF(radius=0.1)(Anonymous(), nameless, step())


@pytest.mark.parametrize(
    "bad", [{}, {"radius": 0.0}, {"radius": 0.1, "least": 1.1}, {"radius": 0.1, "most": 0.9}]
)
def test_values_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PamaCF).validate_python(bad)
