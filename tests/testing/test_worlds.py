"""The toy worlds are what they say: answers worked out on paper."""

import numpy as np
import pytest
import torch

from hardrank.data import Slate
from hardrank.errors import Unsupported
from hardrank.recommender import Differentiable, Recommender
from hardrank.testing import planted_world

WORLD = planted_world()


def test_it_is_a_recommender_with_gradients() -> None:
    assert isinstance(WORLD.victim, Recommender)
    assert isinstance(WORLD.victim, Differentiable)


def test_scores_on_paper() -> None:
    """Title worths 2, 5, 1, 3, -1, -1 times 1, 2, 1, 3."""
    slate = Slate(items=np.arange(6))
    worths = np.array([2, 5, 1, 3, -1, -1], dtype=np.float32)
    expected = np.outer([1, 2, 1, 3], worths)
    assert np.array_equal(WORLD.victim.score(WORLD.panel, slate), expected)
    assert WORLD.victim.top(WORLD.panel, 2).tolist() == [[3, 2], [1, 3], [1, 3], [0, 2]]


def test_exhaustive_search_finds_the_planted_answers() -> None:
    """Every single word, every title: nothing does better."""
    users = WORLD.panel.take(np.arange(3))
    row = np.array([5])

    def scores(text: str) -> np.ndarray:
        return WORLD.victim.score(users, Slate(items=row, texts=(text,)))[:, 0]

    for first in WORLD.victim.words:
        if first != WORLD.best_word:
            assert (scores(f"plain dusty {first}") < scores("plain dusty moon")).all()
    for title in WORLD.data.items["title"]:
        if title != WORLD.best_title:
            assert (scores(title) < scores(WORLD.best_title)).all()


@pytest.mark.parametrize("goal", ["promote", "demote", "degrade"])
def test_the_largest_gain_in_a_ball_is_the_norm_of_the_slope(goal: str) -> None:
    """L2: radius * ||w||_2 at radius * w / ||w||; L-infinity: radius * ||w||_1 at its sign."""
    items = np.array([5, 0, 3])
    queries = WORLD.panel.take(np.arange(3))
    surface = WORLD.victim.surface("item-vectors", goal, queries, items)  # type: ignore[arg-type]
    delta = torch.zeros_like(surface.like, requires_grad=True)
    clean = surface.loss(delta)
    (w,) = torch.autograd.grad(clean.sum(), delta)
    for step, gain in (
        (0.1 * w / w.norm(dim=-1, keepdim=True), 0.1 * w.norm(dim=-1)),
        (0.1 * w.sign(), 0.1 * w.abs().sum(-1)),
    ):
        torch.testing.assert_close(surface.loss(step) - clean, gain, rtol=1e-4, atol=1e-5)
    random = torch.randn(200, *w.shape, generator=torch.Generator().manual_seed(0))
    random = 0.1 * random / random.norm(dim=-1, keepdim=True)
    assert bool((surface.loss(random) - clean <= 0.1 * w.norm(dim=-1) + 1e-5).all())


def test_perturbed_scores_are_scores_of_the_moved_vectors() -> None:
    items, queries = np.array([5, 0]), WORLD.panel.take(np.array([1, 3]))
    still = torch.zeros(2, len(WORLD.victim.words))
    clean = WORLD.victim.score(queries, Slate(items=np.arange(6)))
    victim = WORLD.victim
    promoted = victim.perturbed_scores("item-vectors", "promote", queries, items, still)
    assert np.array_equal(promoted, clean[:, items])
    degraded = victim.perturbed_scores("item-vectors", "degrade", queries, items, still + 1)
    total = victim.taste[[1, 3]].sum(axis=1)
    clean[np.arange(2), items] += total
    assert np.array_equal(degraded, clean)


def test_what_it_does_not_have_is_unsupported() -> None:
    for site, goal in (("token-embeddings", "promote"), ("item-vectors", "flip")):
        with pytest.raises(Unsupported):
            WORLD.victim.surface(site, goal, WORLD.panel, np.array([0]))  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="mean score, not 'rank'"):
        WORLD.victim.surface("item-vectors", "promote", WORLD.panel, np.array([0]), loss="rank")
