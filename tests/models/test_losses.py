"""Ranking losses against their formulas written out over the whole catalogue, and the order of
strength of attacks on trained models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from hardrank.audits.curves import degrade_curve, promote_curve
from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.models import Sasrec, TextSequence
from hardrank.models.common import whole
from hardrank.models.sequence import losses
from hardrank.models.sequence.losses import _Beaten, _cells
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.perturbations import (
    FGM,
    FGSM,
    LBFGS,
    PGD,
    CarliniWagner,
    Ensemble,
    Gaussian,
    Norm,
    absolute,
)
from hardrank.perturbations.ball import Maximiser
from hardrank.recommender import mask_seen
from hardrank.testing import dataset
from hardrank.training import Training
from hardrank.types import Ints, RankingLoss

LOSSES = get_args(RankingLoss)
each_loss = pytest.mark.parametrize("loss", LOSSES)
QUICK = Training(epochs=4, batch_size=64, patience=0, learning_rate=1e-2)
ITEMS = np.array([2, 9, 17, 30])


def world() -> Dataset:
    """60 users who walk around a ring of 40 items in steps of one to three; one has seen all
    but five, so that no list of ten is full."""
    rng = np.random.default_rng(5)
    looks, things = ("good", "bad", "red", "blue", "cheap"), ("mug", "lamp", "kitchen")
    titles = [f"{looks[n % 5]} {things[n % 3]}" for n in range(40)]
    walks = [(rng.integers(40) + np.cumsum(rng.integers(1, 4, size=9))) % 40 for _ in range(59)]
    return dataset(titles, [*(list(dict.fromkeys(w.tolist())) for w in walks), list(range(35))])


@pytest.fixture(scope="module")
def sasrec() -> SequenceRecommender:
    return Sasrec(size=12, length=8, training=QUICK).fit(world(), RunContext(seed=0))


@pytest.fixture(scope="module")
def reader(
    make_encoder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> SequenceRecommender:
    run = RunContext(seed=0, cache=tmp_path_factory.mktemp("cache"))
    spec = TextSequence(
        encoder=str(make_encoder()), size=12, length=8, whiten=8, max_tokens=16, training=QUICK
    )
    return spec.fit(world(), run)


def rivals_of(model: SequenceRecommender, queries: Queries, item: int) -> list[np.ndarray]:
    """Scores of the other unseen items, query by query, best first."""
    scores = mask_seen(model.score(queries, whole(model.items)), queries)
    scores[:, item] = -np.inf
    return [np.sort(row[np.isfinite(row)])[::-1].astype(np.float64) for row in scores]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def by_hand(loss: str, score: float, rivals: np.ndarray) -> float:
    """What one query adds to the promoter's loss; of `exposure` inside the logarithm."""
    door = rivals[9] if len(rivals) >= 10 else -np.inf
    return float(
        {
            "exposure": lambda: sigmoid(score - door),
            "margin": lambda: min(score - door, 0.0),
            "rank": lambda: -np.log1p(sigmoid(rivals - score).sum()),
            "listwise": lambda: score - np.log(np.exp(rivals).sum() + np.exp(score)),
        }[loss]()
    )


@each_loss
def test_promote_is_the_formula_over_the_catalogue(
    loss: RankingLoss, sasrec: SequenceRecommender
) -> None:
    """At 0 and away from it, where only the item has moved and its rivals have not; queries
    that have seen the item and that list everything among them."""
    queries = world().histories()
    surface = sasrec.surface("item-vectors", "promote", queries, ITEMS, loss=loss)
    generator = torch.Generator().manual_seed(1)
    for size in (0.0, 0.5):
        delta = size * torch.randn(surface.like.shape, generator=generator)
        moved = sasrec.perturbed_scores("item-vectors", "promote", queries, ITEMS, delta)
        for column, item in enumerate(ITEMS):
            parts = zip(moved[:, column], rivals_of(sasrec, queries, item), strict=True)
            mean = np.mean([by_hand(loss, float(s), r) for s, r in parts])
            expected = np.log(mean) if loss == "exposure" else mean
            near = 0.02 if loss == "rank" else 1e-4  # ranks beyond seven in cells
            assert abs(float(surface.loss(delta)[column]) - expected) < near * (1 + abs(expected))


@each_loss
def test_demote_is_the_opposite(loss: RankingLoss, sasrec: SequenceRecommender) -> None:
    queries = world().histories()
    up, down = (
        sasrec.surface("item-vectors", goal, queries, ITEMS, loss=loss)
        for goal in ("promote", "demote")
    )
    delta = 0.3 * torch.randn(up.like.shape, generator=torch.Generator().manual_seed(2))
    if loss != "margin":
        torch.testing.assert_close(down.loss(delta), -up.loss(delta))
        return
    scores = sasrec.perturbed_scores("item-vectors", "demote", queries, ITEMS, delta)
    for column, item in enumerate(ITEMS):
        gaps = [
            min(r[9] - s, 0.0)
            for s, r in zip(scores[:, column], rivals_of(sasrec, queries, item), strict=True)
            if len(r) >= 10
        ]
        expected = sum(gaps) / len(queries)  # who lists everything can be driven nowhere
        assert abs(float(down.loss(delta)[column]) - expected) < 1e-4


@each_loss
def test_degrade_is_the_formula_over_the_catalogue(
    loss: RankingLoss, sasrec: SequenceRecommender
) -> None:
    """Every score of the moved query counts, not those of the clean one."""
    queries = world().histories().take(np.arange(20))
    targets = np.arange(20, 40)
    surface = sasrec.surface("history-vectors", "degrade", queries, targets, loss=loss)
    delta = 0.3 * torch.randn(surface.like.shape, generator=torch.Generator().manual_seed(3))
    scores = sasrec.perturbed_scores("history-vectors", "degrade", queries, targets, delta)
    found = surface.loss(delta)
    for row, target in enumerate(targets):
        own, others = float(scores[row, target]), np.delete(scores[row], target)
        if loss == "listwise":  # among all items, as in training
            expected = -by_hand(loss, own, others.astype(np.float64))
        else:
            rest = mask_seen(scores[row : row + 1].copy(), queries.take(np.array([row])))[0]
            rest[target] = -np.inf
            rivals = np.sort(rest[np.isfinite(rest)])[::-1].astype(np.float64)
            value = by_hand("rank" if loss == "rank" else "exposure", own, rivals)
            expected = -np.log(value) if loss == "exposure" else -value
            if loss == "margin":
                expected = rivals[9] - own
        assert abs(float(found[row].detach()) - expected) < 1e-4 * (1 + abs(expected))


def test_the_margin_of_degrade_is_above_zero_where_the_item_is_not_listed(
    sasrec: SequenceRecommender,
) -> None:
    queries = world().histories().take(np.arange(59))
    unseen = [
        next(i for i in range(40) if i not in queries.history(q)) for q in range(len(queries))
    ]
    targets = np.array(unseen)
    surface = sasrec.surface("history-vectors", "degrade", queries, targets, loss="margin")
    out = surface.loss(torch.zeros_like(surface.like)) > 0
    listed = [t in row for t, row in zip(unseen, sasrec.top(queries, 10), strict=True)]
    assert out.tolist() == [not there for there in listed]
    assert 0 < sum(listed) < len(listed)


@each_loss
@pytest.mark.parametrize("goal", ["promote", "demote", "degrade"])
def test_gradients_are_true(loss: RankingLoss, goal: Any, sasrec: SequenceRecommender) -> None:
    """Central differences along a random direction."""
    queries = world().histories().take(np.arange(4, 24))
    rows, site = (
        (np.arange(20), "history-vectors") if goal == "degrade" else (ITEMS, "item-vectors")
    )
    surface = sasrec.surface(site, goal, queries, rows, loss=loss)  # type: ignore[arg-type]
    way = torch.randn(surface.like.shape, generator=torch.Generator().manual_seed(4))
    point = torch.zeros_like(surface.like, requires_grad=True)
    (gradient,) = torch.autograd.grad(surface.loss(point).sum(), point)
    slope = (gradient * way).flatten(1).sum(1)
    numeric = (surface.loss(2e-3 * way) - surface.loss(-2e-3 * way)).detach() / 4e-3
    scale = float(slope.abs().max())
    # There are kinks where the door changes hands.
    right = (slope - numeric).abs() <= 0.05 * slope.abs() + 0.02 * scale
    assert right.float().mean() >= (0.85 if loss in ("margin", "exposure") else 1.0)


@each_loss
def test_each_loss_is_its_own_best_climb(loss: RankingLoss, sasrec: SequenceRecommender) -> None:
    """So the choice matters: PGD on another one leaves it lower."""
    queries = world().histories().take(np.arange(59))
    site = "item-vectors"
    surface = sasrec.surface(site, "promote", queries, ITEMS, loss=loss)
    here = surface.loss(climb(PGD(steps=20), surface, 0.5)).mean()
    assert here > surface.loss(torch.zeros_like(surface.like)).mean()
    for other in set(LOSSES) - {loss}:
        rival = sasrec.surface(site, "promote", queries, ITEMS, loss=other)
        assert here > surface.loss(climb(PGD(steps=20), rival, 0.5)).mean()


def climb(inner: Maximiser, surface: Any, radius: float) -> Tensor:
    size = surface.like.shape[-1]
    return inner(
        surface.loss,
        surface.like,
        radius=absolute(radius, surface.scale, inner.norm, size),
        generator=torch.Generator().manual_seed(0),
        mask=surface.mask,
    )


@pytest.mark.parametrize("norm", ["l2", "linf", "token-l2"])
@pytest.mark.parametrize("case", ["promote", "degrade", "tokens"])
def test_noise_below_one_step_below_pgd_below_the_ensemble(
    case: str, norm: Norm, sasrec: SequenceRecommender, reader: SequenceRecommender
) -> None:
    """S1-13 on trained models: at equal radius, mean loss over the rows."""
    queries, radius = world().histories().take(np.arange(30)), 0.2
    if case == "promote":
        surface = sasrec.surface("item-vectors", "promote", queries, np.arange(40))
    elif case == "degrade":
        surface = sasrec.surface("history-vectors", "degrade", queries, np.arange(30))
    else:
        surface = reader.surface("token-embeddings", "promote", queries, ITEMS)
        radius = 0.003  # a random encoder bends soon, and a step along the gradient goes astray
    one_step = FGSM() if norm == "linf" else FGM(norm=norm)
    noise, step, pgd, worst = (
        float(surface.loss(climb(inner, surface, radius)).detach().mean())
        for inner in (Gaussian(norm=norm), one_step, PGD(norm=norm, steps=20), Ensemble(norm=norm))
    )
    assert noise < step <= pgd + 1e-4
    assert pgd <= worst


@pytest.mark.parametrize("seeker", [CarliniWagner(), LBFGS()], ids=lambda s: s.kind)
def test_the_shortest_way_off_the_list(
    seeker: CarliniWagner | LBFGS, sasrec: SequenceRecommender
) -> None:
    """S2-31, S2-32 on a trained model, margin to the tenth score: held-out items leave the
    list, by less than PGD needs."""
    queries = world().histories().take(np.arange(40))
    targets: Ints = sasrec.top(queries, 5)[:, 2]
    surface = sasrec.surface("history-vectors", "degrade", queries, targets, loss="margin")
    delta, reached = seeker.smallest(surface.loss, surface.like, mask=surface.mask)
    assert reached.float().mean() >= 0.95
    scores = sasrec.perturbed_scores("history-vectors", "degrade", queries, targets, delta)
    lists = np.argsort(-mask_seen(scores.copy(), queries), axis=1)[:, :10]
    gone = np.array([t not in row for t, row in zip(targets, lists, strict=True)])
    assert gone[reached.numpy()].mean() >= 0.95  # exactly at the door, a tie may go either way
    needed = delta.flatten(1).norm(dim=1)
    generator = torch.Generator().manual_seed(0)
    for radius in (0.5, 1.0, 2.0):
        pgd = PGD(steps=20)(
            surface.loss, surface.like, radius=radius, generator=generator, mask=surface.mask
        )
        both = (surface.loss(pgd) >= 0) & reached
        if both.any():
            assert needed[both].mean() <= pgd.flatten(1).norm(dim=1)[both].mean()


def test_the_catalogue_is_read_in_tiles_and_not_again_for_the_doors(
    sasrec: SequenceRecommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hardrank.models.common._CELLS", 400)  # ten queries by forty items
    asked: list[int] = []
    score = SequenceRecommender.score

    def counted(self: SequenceRecommender, queries: Queries, slate: Slate) -> np.ndarray:
        asked.append(len(queries) * len(slate))
        return score(self, queries, slate)

    monkeypatch.setattr(SequenceRecommender, "score", counted)
    queries = world().histories().take(np.arange(3, 58))
    for loss in LOSSES:
        asked.clear()
        surface = sasrec.surface("item-vectors", "promote", queries, ITEMS, loss=loss)
        surface.loss(torch.zeros_like(surface.like))
        # Own scores first, then the catalogue, 55 queries in six tiles; of the doors, once.
        assert asked == [55 * 4, *([400] * 5 + [200] if loss != "margin" else [])]


def test_cells_hold_every_item_once() -> None:
    for items in (1, 7, 40, 12_000):
        middles, sizes = _cells(items)
        assert sum(sizes) == items
        assert middles[:7] == list(range(min(items, 7)))
        assert middles[-1] < items
    assert len(_cells(12_000)[0]) < 70


def test_counting_rivals_has_the_slope_of_the_sum_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    kept = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    weights = [1, 1, 1, 2, 3, 5, 8, 13]
    plain = (torch.sigmoid(kept[:, None] - scores[..., None]) * torch.tensor(weights)).sum(-1)
    found = _Beaten.apply(scores, kept, weights)
    torch.testing.assert_close(found, plain)
    ours, theirs = (torch.autograd.grad((v**2).sum(), scores)[0] for v in (found, plain))
    torch.testing.assert_close(ours, theirs)


def test_the_door_of_an_item_on_the_list_is_the_next_one(sasrec: SequenceRecommender) -> None:
    """Tenth of the others: the eleventh of all for who is among the ten."""
    queries = world().histories().take(np.arange(6))
    doors = losses.doors(sasrec, queries)
    scores = -np.sort(-mask_seen(sasrec.score(queries, whole(sasrec.items)), queries), axis=1)
    assert np.array_equal(doors.numpy(), scores[:, 9:11])


def test_curves_climb_the_loss_they_are_told(
    sasrec: SequenceRecommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str | None]] = []
    surface = SequenceRecommender.surface

    def spy(self: SequenceRecommender, site: Any, goal: Any, *rest: Any, **named: Any) -> Any:
        told.append((goal, named["loss"]))
        return surface(self, site, goal, *rest, **named)

    monkeypatch.setattr(SequenceRecommender, "surface", spy)
    queries = world().histories().take(np.arange(20))
    about: dict[str, Any] = {
        "inner": PGD(steps=5), "radii": (0.0, 0.5), "subject": "s", "seed": 0, "trial": "pgd",
    }  # fmt: skip
    promote_curve(sasrec, ITEMS, queries, site="item-vectors", loss="rank", **about)
    holdout = Holdout(queries=queries, targets=np.arange(20))
    degrade_curve(sasrec, holdout, site="history-vectors", loss="margin", **about)
    assert told == [("promote", "rank"), ("degrade", "margin")]
