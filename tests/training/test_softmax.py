"""The tiled cross-entropy against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.training import softmax
from hardrank.training.softmax import catalogue_cross_entropy


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 70),
    items=st.integers(2, 90),
    size=st.integers(1, 9),
    biased=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_value_and_gradients_equal_the_plain_form(
    rows: int, items: int, size: int, biased: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    states = torch.randn(rows, size, dtype=torch.float64).float()
    table, bias = torch.randn(items, size), torch.randn(items) if biased else None
    targets = torch.randint(items, (rows,))
    ours, theirs = [], []
    for compute, kept in ((_tiled, ours), (_plain, theirs)):
        leaves = [t.clone().requires_grad_(True) for t in (states, table)]
        leaves += [bias.clone().requires_grad_(True)] if bias is not None else []
        loss = compute(*leaves[:2], targets, leaves[2] if biased else None)
        kept += [loss.detach(), *torch.autograd.grad(loss, leaves)]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_many_tiles_equal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    states, table = torch.randn(100, 8, requires_grad=True), torch.randn(300, 8)
    targets = torch.randint(300, (100,))
    whole = catalogue_cross_entropy(states, table, targets)
    (gradient,) = torch.autograd.grad(whole, states)
    monkeypatch.setattr(softmax, "_TILE_BYTES", 4 * 300 * 17)
    tiled = catalogue_cross_entropy(states, table, targets)
    torch.testing.assert_close(tiled, whole)
    torch.testing.assert_close(torch.autograd.grad(tiled, states)[0], gradient)


def test_bfloat16_is_close() -> None:
    torch.manual_seed(0)
    states, table = torch.randn(64, 32), torch.randn(500, 32) * 0.2
    targets = torch.randint(500, (64,))
    narrow = catalogue_cross_entropy(states, table, targets, half=True)
    assert narrow.item() == pytest.approx(_plain(states, table, targets, None).item(), rel=2e-3)


def test_a_second_derivative_is_refused() -> None:
    """It would be wrong without a word: the gradients that the forward pass leaves have no
    graph, so all that depends on their change would be missing (in the last case below, the
    whole penalty)."""
    torch.manual_seed(0)
    states, table = torch.randn(9, 4, requires_grad=True), torch.randn(20, 4, requires_grad=True)
    loss = catalogue_cross_entropy(states, table, torch.arange(9))
    slopes = torch.autograd.grad(loss, [states, table], create_graph=True)
    for slope in slopes:
        penalty = slope.square().sum()
        for value in (penalty, loss + penalty):
            for leaf in (states, table):
                with pytest.raises(RuntimeError, match="has no second derivative"):
                    torch.autograd.grad(value, leaf, retain_graph=True)
        with pytest.raises(RuntimeError, match="has no second derivative"):
            (loss + penalty).backward(retain_graph=True)


def _tiled(states, table, targets, bias):  # type: ignore[no-untyped-def]
    return catalogue_cross_entropy(states, table, targets, bias)


def _plain(states, table, targets, bias):  # type: ignore[no-untyped-def]
    logits = states @ table.T
    return F.cross_entropy(logits if bias is None else logits + bias, targets)
