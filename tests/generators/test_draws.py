"""Draws of k different items, their gradient and their likelihood."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.generators.draws import NEVER, gumbel, log_likelihood, top_k


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 4), items=st.integers(2, 9))
def test_a_draw_has_exactly_k_ones_at_the_highest_places(seed: int, rows: int, items: int) -> None:
    rng = np.random.default_rng(seed)
    values = torch.as_tensor(rng.permutation(rows * items).reshape(rows, items), dtype=torch.float)
    k = torch.as_tensor(rng.integers(0, items + 1, rows))
    made = top_k(values, k, 0.5)
    for row, value, n in zip(made, values, k.tolist(), strict=True):
        best = set(value.argsort(descending=True)[:n].tolist())
        assert {i for i in range(items) if row[i] > 0.5} == best
        assert torch.equal((row > 0.5).float(), row.round())


def test_the_forward_pass_is_discrete_and_the_backward_is_not() -> None:
    """S2-01: sparse, discrete output with a gradient, by hand for two items.

    Logits 1 and 0, one drawn: threshold 0.5, slope of the sigmoid s(1 - s) / temperature.
    """
    logits = torch.tensor([[1.0, 0.0]], requires_grad=True)
    made = top_k(logits, torch.tensor([1]), 0.5)
    assert made.tolist() == [[1.0, 0.0]]
    made[0, 0].backward()
    s = 1 / (1 + np.exp(-1.0))
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([s * (1 - s) / 0.5, 0.0])


def test_what_may_never_be_drawn_gets_no_gradient_and_no_place() -> None:
    logits = torch.tensor([[1.0, NEVER, 0.0, NEVER]], requires_grad=True)
    made = top_k(logits, torch.tensor([2]), 0.5)
    made.sum().backward()
    assert made.tolist() == [[1.0, 0.0, 1.0, 0.0]]
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert logits.grad[0, 1] == logits.grad[0, 3] == 0


def test_likelihoods_of_all_orders_add_up_to_one() -> None:
    """Plackett-Luce, by listing every ordered pair of four items."""
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0])
    orders = torch.tensor(list(permutations(range(4), 2)))
    every = torch.ones(orders.shape, dtype=torch.bool)
    each = log_likelihood(logits.expand(len(orders), 4), orders, every) * 2
    assert float(each.exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_padding_and_forbidden_items_do_not_count() -> None:
    logits = torch.tensor([[0.3, NEVER, 2.0, 0.0]])
    padded = log_likelihood(logits, torch.tensor([[2, 0]]), torch.tensor([[True, False]]))
    expected = 2.0 - np.log(np.exp(0.3) + np.exp(2.0) + 1)
    assert float(padded[0]) == pytest.approx(expected, abs=1e-5)


def test_gumbel_top_one_follows_the_softmax() -> None:
    draws = torch.Generator().manual_seed(0)
    logits = torch.tensor([1.0, 0.0, -1.0]).expand(20_000, 3)
    made = top_k(logits + gumbel((20_000, 3), draws), torch.ones(20_000, dtype=torch.long), 0.5)
    assert made.mean(0).tolist() == pytest.approx(logits[0].softmax(0).tolist(), abs=0.012)
