"""The sequence models: what they read, train on, rank and grant to a white-box attacker."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hardrank.audits.gradients import gradient_checks
from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.errors import BundleError, DataError, SchemaError, Unsupported
from hardrank.models import Hybrid, Sasrec, TextSequence
from hardrank.models.common import whole
from hardrank.models.sequence.alignment import Alignment
from hardrank.models.sequence.batches import SequenceBatch, Windows
from hardrank.models.sequence.network import ItemTower, SequenceNetwork
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.models.sequence.texts import Whitening
from hardrank.models.sequence.transformer import CausalTransformer
from hardrank.recommender import LossSurface
from hardrank.testing import dataset
from hardrank.training import Training
from hardrank.types import Ints

LENGTH = 6
COLD = 3
TRAINING = Training(epochs=2, batch_size=64, patience=0, learning_rate=5e-3)
LOOKS = ("good", "bad", "red", "blue", "cheap", "old", "new")
THINGS = ("mug", "lamp", "kitchen")

Fitted = Callable[[str], SequenceRecommender]


def world() -> Dataset:
    """40 users, 24 items; the last three are cold, items 0 and 21 have one title."""
    rng = np.random.default_rng(5)
    titles = [f"{LOOKS[n % 7]} {THINGS[n % 3]}" + " for the kitchen" * (n > 10) for n in range(24)]
    titles[21] = titles[0]
    histories = [
        rng.choice(21, size=rng.integers(3, 10), replace=False).tolist() for _ in range(38)
    ]
    data = dataset(titles, [*histories, list(range(21)), [4, 0]])
    notes = [f"{LOOKS[-n % 7]} thing" if n % 2 else "" for n in range(24)]
    return replace(data, items=data.items.with_columns(pl.Series("note", notes)))


@pytest.fixture(scope="module")
def fitted(
    make_encoder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], SequenceRecommender]:
    """fitted(kind): each kind is trained once for the module."""
    encoder, made = str(make_encoder()), {}
    run = RunContext(seed=0, cache=tmp_path_factory.mktemp("cache"))
    text: dict[str, Any] = {
        "encoder": encoder,
        "fields": ("note", "title"),
        "whiten": 8,
        "max_tokens": 32,
    }
    shape: dict[str, Any] = {"size": 8, "length": LENGTH, "training": TRAINING}
    specs = {
        "sasrec": lambda: Sasrec(**shape),
        "text-sequence": lambda: TextSequence(**shape, **text),
        "hybrid": lambda: Hybrid(**shape, **text),
    }

    def fit(kind: str) -> SequenceRecommender:
        if kind not in made:
            made[kind] = specs[kind]().fit(world(), run)
        return made[kind]

    return fit


KINDS = pytest.mark.parametrize("kind", ["sasrec", "text-sequence", "hybrid"])
READERS = pytest.mark.parametrize("kind", ["text-sequence", "hybrid"])


# What it reads


def test_a_later_item_does_not_change_earlier_states() -> None:
    torch.manual_seed(0)
    transformer = CausalTransformer(size=8, layers=2, heads=2, length=7, dropout=0.5).eval()
    vectors = torch.randn(3, 7, 8)
    before = transformer(vectors)
    for place in range(7):
        moved = vectors.clone()
        moved[:, place] = torch.randn(3, 8)
        after = transformer(moved)
        assert torch.allclose(after[:, :place], before[:, :place], atol=1e-6)
        assert not torch.allclose(after[:, place], before[:, place], atol=1e-2)


@KINDS
def test_the_future_of_a_batch_does_not_reach_the_past(kind: str, fitted: Fitted) -> None:
    """The loss of the first position has no gradient by what stands at later ones."""
    network = fitted(kind).network
    batch = SequenceBatch(
        torch.tensor([[1, 2, 3]]), torch.tensor([2]), torch.tensor([[True, False, False]])
    )
    delta = torch.zeros(1, 3, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(network.loss(batch, {"history-vectors": delta}), delta)
    assert gradient[0, 0].abs().sum() > 0
    assert torch.equal(gradient[0, 1:], torch.zeros(2, 8))


@KINDS
def test_padding_changes_no_state(kind: str, fitted: Fitted) -> None:
    network, lengths = fitted(kind).network, torch.tensor([2])
    vectors = fitted(kind).vectors
    short = network.states(vectors, torch.tensor([[3, 5]]), lengths)
    for filling in (0, 7):
        padded = torch.tensor([[3, 5, filling, filling, filling]])
        assert torch.allclose(network.states(vectors, padded, lengths), short, atol=1e-6)


@KINDS
def test_only_the_newest_events_are_read(kind: str, fitted: Fitted) -> None:
    model = fitted(kind)
    newest = [3, 8, 1, 9, 4, 2]
    assert len(newest) == LENGTH
    scores = model.score(Queries.of([[11, 12, 13, *newest], newest]), whole(model.items))
    assert np.allclose(scores[0], scores[1], atol=1e-6)
    other = model.score(Queries.of([[*newest[:-1], 5]]), whole(model.items))
    assert not np.allclose(other[0], scores[0], atol=1e-3)


@KINDS
def test_an_empty_history_ranks_by_popularity(kind: str, fitted: Fitted) -> None:
    model, counts = fitted(kind), world().counts
    top = model.top(Queries.of([[]]), 24)[0]
    assert top.tolist() == np.lexsort((np.arange(24), -counts)).tolist()
    both = model.score(Queries.of([[], [1]]), whole(model.items))
    assert np.array_equal(both[0], np.log1p(counts).astype(np.float32))
    assert not np.array_equal(both[1], both[0])


# What it trains on


def slow_windows(history: list[int], length: int) -> list[tuple[list[int], int]]:
    """(context, target) of each event with a predecessor, newest window first."""
    out, end = [], len(history)
    while end >= 2:
        first = max(0, end - length - 1)
        out += [(history[first:place], history[place]) for place in range(first + 1, end)]
        end = first + 1
    return out


HISTORIES = st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=12)


def pairs(windows: Windows, positions: int, seed: int) -> list[tuple[list[int], int]]:
    """The same as `slow_windows` from one epoch of batches."""
    out = []
    for batch in windows.batches(positions, np.random.default_rng(seed)):
        assert batch.inputs.shape == batch.real.shape and batch.inputs.shape[1] <= windows.length
        assert len(batch.targets) == int(batch.real.sum())
        assert not batch.inputs[~batch.real].any()
        targets = iter(batch.targets.tolist())
        for row, real in zip(batch.inputs.tolist(), batch.real.tolist(), strict=True):
            assert real == sorted(real, reverse=True), "padding is on the right"
            out += [(row[: n + 1], next(targets)) for n in range(sum(real))]
    return out


@settings(deadline=None, max_examples=60)
@given(histories=HISTORIES, length=st.integers(1, 5), size=st.integers(1, 20))
def test_every_event_with_a_predecessor_is_a_target_once(
    histories: list[list[int]], length: int, size: int
) -> None:
    windows = Windows(Queries.of(histories), length)
    expected = [pair for h in histories for pair in slow_windows(h, length)]
    assert len(expected) == sum(max(len(h) - 1, 0) for h in histories) == windows.positions
    assert sorted(pairs(windows, size, 0)) == sorted(expected)


@settings(deadline=None, max_examples=30)
@given(histories=HISTORIES, length=st.integers(1, 5), size=st.integers(5, 20))
def test_batches_are_about_as_large_as_asked(
    histories: list[list[int]], length: int, size: int
) -> None:
    windows = Windows(Queries.of(histories), length)
    batches = list(windows.batches(size, np.random.default_rng(0)))
    assert all(len(b.targets) <= size + length for b in batches)
    assert len(batches) <= windows.positions // size + 1


def test_order_depends_on_the_generator_alone() -> None:
    windows = Windows(world().histories(), LENGTH)
    assert pairs(windows, 20, 1) == pairs(windows, 20, 1)
    assert pairs(windows, 20, 1) != pairs(windows, 20, 2)


def network(negatives: int = 0, items: int = 12) -> SequenceNetwork:
    torch.manual_seed(0)
    made = SequenceNetwork(
        tower=ItemTower(items=items, size=8, text_size=0, ids=True, dropout=0.0, scale=1.0),
        transformer=CausalTransformer(size=8, layers=1, heads=2, length=4, dropout=0.0),
        negatives=negatives,
    )
    assert made.tower.ids is not None
    torch.nn.init.normal_(made.tower.ids)  # far enough apart for an uneven softmax
    return made


def test_sampled_softmax_is_on_average_the_full_one() -> None:
    """Value and gradient over many draws of batch and negatives; without the correction for
    how often an item is a candidate the frequent items are pushed down (Yi et al., 2019)."""
    rng = np.random.default_rng(0)
    frequency = np.arange(1, 13.0) ** -1.5
    frequency /= frequency.sum()
    rows = rng.choice(12, p=frequency, size=(200, 2, 4))
    batches = [
        SequenceBatch(
            torch.from_numpy(r[0][:, None]), torch.from_numpy(r[1]), torch.ones(4, 1).bool()
        )
        for r in rows
    ]

    def mean(negatives: int, corrected: bool = True) -> tuple[float, Tensor]:
        net = network(negatives)
        net.frequency = torch.from_numpy(frequency).float()
        if not corrected:
            plain = net._candidates
            net._candidates = lambda b: (plain(b)[0], None)  # type: ignore[method-assign]
        loss = torch.stack([net.loss(b) for b in batches]).mean()
        (gradient,) = torch.autograd.grad(loss, net.tower.ids)  # type: ignore[arg-type]
        return float(loss.detach()), gradient.flatten()

    value, gradient = mean(0)
    sampled, close = mean(6)
    _, biased = mean(6, corrected=False)
    assert abs(sampled - value) < 0.1 * value
    angle = F.cosine_similarity(close, gradient, dim=0)
    assert angle > 0.97
    assert 1 - angle < 0.5 * (1 - F.cosine_similarity(biased, gradient, dim=0))
    everything, exact = mean(500)
    assert abs(everything - value) < 1e-4
    assert torch.allclose(exact, gradient, atol=1e-4)


def test_padding_is_no_candidate_of_a_sampled_softmax() -> None:
    """A padded batch has the loss of its rows, whatever stands in the padding."""
    net = network(negatives=1)
    net.frequency = torch.full((12,), 1 / 12)
    real = torch.tensor([[True, True], [True, False]])
    targets = torch.tensor([4, 5, 6])

    def loss(filling: int) -> Tensor:
        torch.manual_seed(3)
        return net.loss(SequenceBatch(torch.tensor([[3, 4], [5, filling]]), targets, real))

    assert torch.equal(loss(0), loss(11))
    torch.manual_seed(3)
    rows, _ = net._candidates(SequenceBatch(torch.tensor([[3, 4], [5, 0]]), targets, real))
    assert rows is not None and set(rows.tolist()) - {3, 4, 5, 6} <= set(range(12))
    assert len(rows) <= 5


def test_an_item_nobody_touched_is_never_a_wrong_answer(fitted: Fitted) -> None:
    net = fitted("hybrid").network
    assert net.tower.ids is not None
    assert len(net.tower.ids) == len(net.texts) == 24 - COLD


def test_training_needs_an_order() -> None:
    lonely = dataset(["good mug", "bad mug"], [[0], [1], []])
    with pytest.raises(DataError, match="no user has two events"):
        Sasrec(training=TRAINING).fit(lonely, RunContext())


def test_arrays_of_another_shape_are_refused(fitted: Fitted) -> None:
    model = fitted("sasrec")
    with pytest.raises(BundleError, match="do not fit"):
        Sasrec(size=16, length=LENGTH).restore(model.arrays(), model.items, RunContext())
    lacking = {k: v for k, v in model.arrays().items() if k != "network/tower.ids"}
    with pytest.raises(BundleError, match=r"tower\.ids"):
        Sasrec(size=8, length=LENGTH).restore(lacking, model.items, RunContext())
    with pytest.raises(BundleError, match="'counts' is missing"):
        Sasrec().restore({}, model.items, RunContext())


# Texts


def test_whitening_gives_independent_directions_of_variance_one() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) + 3).astype(np.float32)
    white = Whitening.fit(vectors, 6)(torch.from_numpy(vectors)).numpy()
    assert np.allclose(white.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(white.T @ white / 300, np.eye(6), atol=1e-3)


def test_whitening_keeps_leading_directions_and_no_empty_ones() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(50, 2)).astype(np.float32) @ np.array(
        [[5, 0, 0, 0], [0, 1, 0, 0]], dtype=np.float32
    )
    assert Whitening.fit(flat, 4).projection.shape == (4, 2)  # rank 2
    (only,) = Whitening.fit(flat, 1).projection.T
    assert abs(only[0]) > 20 * abs(only[1]) and only[0] > 0
    assert Whitening.fit(flat[:2], 4).projection.shape == (4, 1)  # two points, one direction


def test_a_text_model_knows_no_ids(fitted: Fitted) -> None:
    """Items 0 and 21 read the same but for the note; with one text they are one item."""
    model = fitted("text-sequence")
    notes = model.items["note"].to_list()
    notes[21] = notes[0]
    same = model.on(model.items.with_columns(pl.Series("note", notes)))
    queries = Queries.of([[3, 5], [0, 4]])
    scores = same.score(queries, whole(model.items))
    assert np.array_equal(scores[:, 0], scores[:, 21])
    swapped = same.score(Queries.of([[3, 5], [21, 4]]), whole(model.items))
    assert np.allclose(swapped, scores, atol=1e-6)
    assert not np.array_equal(
        fitted("hybrid").score(queries, whole(model.items))[:, 0], scores[:, 21]
    )


@READERS
def test_a_slate_text_is_the_catalogue_text(kind: str, fitted: Fitted) -> None:
    """Any field that is read, warm and cold items (S3: what attacks try is what is served)."""
    model, queries = fitted(kind), Queries.of([[3, 5], [7], []])
    for field in ("title", "note"):
        for item in (2, 22):
            values = model.items[field].to_list()
            values[item] = "new blue lamp"
            rewritten = model.on(model.items.with_columns(pl.Series(field, values)))
            slate = Slate(items=np.array([item]), texts=("new blue lamp",), field=field)
            found = model.score(queries, slate)
            assert np.allclose(
                found, rewritten.score(queries, Slate(items=np.array([item]))), atol=1e-5
            )
            assert not np.allclose(
                found[:2], model.score(queries, Slate(items=np.array([item])))[:2], atol=1e-4
            )


def test_a_model_without_text_hears_no_rewrite(fitted: Fitted) -> None:
    model, queries = fitted("sasrec"), Queries.of([[3, 5]])
    slate = Slate(items=np.array([2]), texts=("new blue lamp",))
    assert np.array_equal(
        model.score(queries, slate), model.score(queries, Slate(items=slate.items))
    )
    assert model.sites == ("item-vectors", "history-vectors")


# New items


def aligned(seed: int = 0, items: int = 40) -> tuple[Alignment, Tensor, Tensor]:
    torch.manual_seed(seed)
    by_text, full = torch.randn(3, items), 5 * torch.randn(3, items) - 2
    return Alignment.fit(by_text, full), by_text, full


def test_alignment_sends_rank_to_rank() -> None:
    """Ranks 0, 1, 2, 3, 4, 6 are on the grid: the r-th best goes to the r-th best."""
    alignment, by_text, full = aligned()
    best, wanted = by_text.sort(1, descending=True)[0], full.sort(1, descending=True)[0]
    ranks = [0, 1, 2, 3, 4, 6]
    assert torch.allclose(alignment(best[:, ranks]), wanted[:, ranks], atol=1e-4)
    # Halfway between two neighbours of the grid: halfway between their images.
    middle, between = (best[:, :1] + best[:, 1:2]) / 2, (wanted[:, :1] + wanted[:, 1:2]) / 2
    assert torch.allclose(alignment(middle), between, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), items=st.integers(2, 60), ties=st.booleans())
def test_alignment_never_changes_an_order(seed: int, items: int, ties: bool) -> None:
    torch.manual_seed(seed)
    by_text, full = torch.randn(2, items), torch.randn(2, items)
    if ties:
        by_text = by_text.round()
    scores = torch.linspace(-6, 6, 97).expand(2, -1)
    mapped = Alignment.fit(by_text, full)(scores)
    assert mapped.isfinite().all()
    assert (mapped.diff(dim=1) >= -1e-4 * mapped.abs().amax()).all()


def test_alignment_goes_on_beyond_what_it_saw() -> None:
    """With the slope of the whole: (highest - lowest full) / (highest - lowest by text)."""
    alignment, *_ = aligned()
    x, y = alignment.by_text, alignment.full
    slope = (y[:, -1] - y[:, 0]) / (x[:, -1] - x[:, 0])
    above = alignment(x[:, -1:] + 2)[:, 0]
    below = alignment(x[:, :1] - 3)[:, 0]
    assert torch.allclose(above, y[:, -1] + 2 * slope, atol=1e-3)
    assert torch.allclose(below, y[:, 0] - 3 * slope, atol=1e-3)


def test_alignment_passes_gradients() -> None:
    alignment, *_ = aligned()
    # Away from the knots, where the slope jumps.
    scores = ((alignment.by_text[:, 1:] + alignment.by_text[:, :-1]) / 2).requires_grad_(True)
    (gradient,) = torch.autograd.grad(alignment(scores).sum(), scores)
    step = 1e-3 * alignment.by_text.diff(dim=1)
    with torch.no_grad():
        rise = (alignment(scores + step) - alignment(scores - step)) / (2 * step)
    assert torch.allclose(gradient, rise, rtol=0.05, atol=1e-2)
    assert (gradient >= 0).all()


def test_a_hybrid_ranks_new_items_by_text_on_the_old_scale(fitted: Fitted) -> None:
    """S3: for a new item, the rank among old ones under the text head is the rank it gets."""
    model = fitted("hybrid")
    queries = world().histories().take(np.arange(20))
    states, by_text = model.read(queries)
    _, parts = model.parts(np.arange(24))
    assert by_text is not None and parts is not None
    heads = (by_text @ parts.t()).numpy()
    scores = model.score(queries, whole(model.items))
    known = slice(0, 24 - COLD)
    warm = (states @ model.vectors.t()).numpy()[:, known]
    assert np.allclose(scores[:, known], warm, atol=1e-5)
    for item in range(24 - COLD, 24):
        under_text = (heads[:, known] > heads[:, item : item + 1]).sum(axis=1)
        served = (scores[:, known] > scores[:, item : item + 1]).sum(axis=1)
        assert np.abs(under_text - served).max() <= 4  # the grid has a knot at least every 4
        assert np.array_equal(under_text == 0, served == 0)  # its top is exact


# White box


def finite_difference(surface: LossSurface, direction: Tensor, step: float) -> Tensor:
    with torch.no_grad():
        return (surface.loss(step * direction) - surface.loss(-step * direction)) / (2 * step)


def slopes(surface: LossSurface) -> tuple[Tensor, Tensor]:
    """Analytic and numeric slope of each row along a random direction."""
    torch.manual_seed(1)
    direction = torch.randn_like(surface.like)
    if surface.mask is not None:
        direction = direction * surface.mask.unsqueeze(-1)
    point = torch.zeros_like(surface.like, requires_grad=True)
    (gradient,) = torch.autograd.grad(surface.loss(point).sum(), point)
    analytic = (gradient * direction).flatten(1).sum(1)
    return analytic, finite_difference(surface, direction, 3e-3)


CASES = [
    (kind, site, goal)
    for kind in ("sasrec", "text-sequence", "hybrid")
    for site, goals in (
        ("item-vectors", ("promote", "demote")),
        ("token-embeddings", ("promote", "demote")),
        ("history-vectors", ("degrade",)),
    )
    for goal in goals
    if not (kind == "sasrec" and site == "token-embeddings")
]


@pytest.mark.parametrize(("kind", "site", "goal"), CASES)
def test_white_box(kind: str, site: Any, goal: Any, fitted: Fitted) -> None:
    """Delta 0 is clean, the gradient is true, the loss rises along it; warm and new items."""
    model, data = fitted(kind), world()
    queries = data.histories().take(np.arange(24))
    rows = np.arange(24) if goal == "degrade" else np.array([2, 9, 21, 22, 23])
    for check in gradient_checks(model, site, goal, queries, rows, subject=kind):
        assert check.passed or check.name == "gradients_not_zero", str(check)
    surface = model.surface(site, goal, queries, rows)
    assert surface.loss(torch.zeros_like(surface.like)).shape == (len(rows),)
    analytic, numeric = slopes(surface)
    if goal != "degrade":  # a new item's score has kinks, where the alignment has its knots
        analytic, numeric = analytic[:2], numeric[:2]
    assert torch.allclose(analytic, numeric, rtol=0.05, atol=2e-2 * float(analytic.abs().max()))


@pytest.mark.parametrize("goal", ["promote", "demote"])
def test_surfaces_have_the_sign_of_the_goal(goal: Any, fitted: Fitted) -> None:
    """A step along the gradient moves the scores of the item where the attacker wants them."""
    model, rows = fitted("hybrid"), np.array([2, 22])
    queries = world().histories().take(np.arange(24))
    surface = model.surface("item-vectors", goal, queries, rows)
    point = torch.zeros_like(surface.like, requires_grad=True)
    (gradient,) = torch.autograd.grad(surface.loss(point).sum(), point)
    delta = surface.scale * gradient / gradient.norm(dim=1, keepdim=True)
    clean = model.score(queries, Slate(items=rows))
    moved = model.perturbed_scores("item-vectors", goal, queries, rows, delta)
    rise = (moved - clean).mean(axis=0)
    assert (rise > 0).all() if goal == "promote" else (rise < 0).all()


@KINDS
def test_degrade_reads_the_served_scores(kind: str, fitted: Fitted) -> None:
    """The loss of a row is the cross-entropy of its item in the scores that `score` gives,
    new targets through the text head."""
    model = fitted(kind)
    queries = world().histories().take(np.arange(24))
    targets = np.arange(24)[::-1].copy()
    surface = model.surface("history-vectors", "degrade", queries, targets)
    scores = torch.from_numpy(model.score(queries, whole(model.items)))
    expected = F.cross_entropy(scores, torch.from_numpy(targets), reduction="none")
    found = surface.loss(torch.zeros_like(surface.like))
    assert torch.allclose(found, expected, atol=1e-4)
    assert surface.mask is not None
    lengths = np.minimum(queries.lengths, LENGTH)
    assert surface.mask.sum(1).tolist() == lengths.tolist()


@READERS
def test_perturbed_tokens_are_scored_as_texts_are(kind: str, fitted: Fitted) -> None:
    """The delta that turns one title into another of as many tokens gives its score."""
    model, item = fitted(kind), 22
    queries = world().histories().take(np.arange(10))
    assert model.source is not None and model.items["note"][item] == ""
    encoder, text = model.source.encoder, model.items["title"][item]
    other = text.replace(text.split()[0], "cheap")
    before, after = (encoder.token_embeddings(encoder.tokenise([t]).ids) for t in (text, other))
    assert before.shape == after.shape and not torch.equal(before, after)
    found = model.perturbed_scores(
        "token-embeddings", "promote", queries, np.array([item]), after - before
    )
    slate = Slate(items=np.array([item]), texts=(other,))
    assert np.allclose(found, model.score(queries, slate), atol=1e-4)


@READERS
@pytest.mark.parametrize("goal", ["promote", "demote"])
def test_text_gradient_is_the_slope_by_each_word(kind: str, goal: Any, fitted: Fitted) -> None:
    """With the text that stands there: the gradient of the surface at the token embeddings,
    cut to the words of the title (each of them one token here)."""
    model, item = fitted(kind), 15
    queries = world().histories().take(np.arange(20))
    text = model.items["title"][item]
    assert (model.items["note"][item], text) == ("new thing", "bad mug for the kitchen")
    surface = model.surface("token-embeddings", goal, queries, np.array([item]))
    title = slice(1 + 3, 1 + 3 + 5)  # after [CLS] new [UNK] .
    assert surface.like.shape[1] == title.stop + 1
    point = torch.zeros_like(surface.like, requires_grad=True)
    (gradient,) = torch.autograd.grad(surface.loss(point).sum(), point)
    found = model.text_gradient(goal, queries, item, text)
    assert found.words == ("bad", "mug", "for", "the", "kitchen")
    assert np.allclose(found.current, surface.like[0, title].numpy(), atol=1e-6)
    expected = gradient[0, title].numpy()
    assert np.abs(expected).max() > 1e-3
    assert np.allclose(found.gradient, expected, atol=1e-4 * np.abs(expected).max())
    other = model.text_gradient(goal, queries, item, "bad lamp for the kitchen")
    assert other.words[1] == "lamp"
    same = [0, 2, 3, 4]
    assert np.allclose(other.current[same], found.current[same], atol=1e-6)
    assert not np.allclose(other.current[1], found.current[1], atol=1e-2)


def test_text_gradient_of_each_field(fitted: Fitted) -> None:
    """`field` says which; the others stay, and a field that is not read has no gradient."""
    model, queries = fitted("text-sequence"), world().histories().take(np.arange(10))
    title = model.text_gradient("promote", queries, 3, model.items["title"][3])
    note = model.text_gradient("promote", queries, 3, model.items["note"][3], field="note")
    assert title.words == tuple(model.items["title"][3].split())
    assert note.words == ("cheap", "thing")
    assert np.abs(note.gradient[0]).max() > 0 and np.abs(title.gradient).max() > 0
    down = model.text_gradient("demote", queries, 3, model.items["title"][3])
    assert np.allclose(down.gradient, -title.gradient)
    unread = model.text_gradient("promote", queries, 3, "a b", field="item_id")
    assert unread.words == ("a", "b") and not unread.gradient.any()
    assert model.text_gradient("promote", queries, 3, "").words == ()
    with pytest.raises(SchemaError, match="colour"):
        model.text_gradient("promote", queries, 3, "a b", field="colour")


@READERS
def test_word_embeddings_are_what_the_gradient_shows(kind: str, fitted: Fitted) -> None:
    """`mugs` is two tokens, whose embeddings are summed."""
    model, queries = fitted(kind), world().histories().take(np.arange(4))
    words = ["bad", "mugs", "for", "kitchen"]
    found = model.text_gradient("promote", queries, 15, " ".join(words))
    assert np.allclose(model.word_embeddings(words), found.current, atol=1e-6)
    assert model.word_embeddings([]).shape == (0, 16)


@READERS
def test_a_forecast_of_no_change_is_the_score(kind: str, fitted: Fitted) -> None:
    """And words that join and leave again are no change; others are, for new items too."""
    model, queries = fitted(kind), world().histories().take(np.arange(20))
    for item in (15, 22):
        foretold = model.forecast(queries, item, "bad mug")
        found = foretold([(), (("red", 1), ("red", -1)), (("lamp", 1),), (("mug", -1),)])
        score = model.score(queries, Slate(items=np.array([item]), texts=("bad mug",)))
        assert np.allclose(found[:, :2], score, atol=1e-5)
        assert np.abs(found[:, 2:] - score).max(axis=0).min() > 1e-4
        assert foretold([]).shape == (20, 0)


@READERS
def test_a_forecast_moves_the_text_towards_the_word(kind: str, fitted: Fitted) -> None:
    """By four tenths of the word's own vector: with the formula, step by step."""
    model, item = fitted(kind), 15
    queries = world().histories().take(np.arange(5))
    assert model.source is not None
    encoder = model.source.encoder
    clean, *words = encoder.encode(["new thing . bad mug", "lamp", "mug"])
    moved = clean + 0.4 * (2 * words[0] - words[1])
    moved = torch.from_numpy(moved / np.linalg.norm(moved))
    with torch.no_grad():
        by_text = model.network.tower.from_text(model.source.whitening(moved))
        expected = model.read(queries)[0] @ (model.parts(np.array([item]))[0][0] + by_text)
    found = model.forecast(queries, item, "bad mug")([(("lamp", 2), ("mug", -1))])
    assert np.allclose(found[:, 0], expected.numpy(), atol=1e-4)


@READERS
@pytest.mark.parametrize("item", [15, 22])
def test_mixtures_at_the_corners_are_texts(kind: str, item: int, fitted: Fitted) -> None:
    """Words of one token each; `mugs` has two, which the mixture takes the place of."""
    model, queries = fitted(kind), world().histories().take(np.arange(6))
    mixed = model.relaxed(queries, item, "bad mugs for the kitchen", [1, 4], ["lamp", "red", "mug"])
    weights = torch.zeros(2, 2, 3)
    weights[0, 0, 0] = weights[0, 1, 1] = weights[1, 0, 2] = weights[1, 1, 0] = 1
    weights.requires_grad_(True)
    found = mixed(weights)
    texts = ("bad lamp for the red", "bad mug for the lamp")
    expected = model.score(queries, Slate(items=np.array([item] * 2), texts=texts))
    assert np.allclose(found.detach().numpy(), expected.T, atol=1e-4)
    (slope,) = torch.autograd.grad(found.sum(), weights)
    assert slope.abs().min() > 0


def test_a_field_that_is_not_read_changes_nothing(fitted: Fitted) -> None:
    model, queries = fitted("text-sequence"), world().histories().take(np.arange(3))
    score = model.score(queries, Slate(items=np.array([3])))
    found = model.forecast(queries, 3, "a b", field="item_id")([(), (("lamp", 1),)])
    assert np.allclose(found, score, atol=1e-5)
    mixed = model.relaxed(queries, 3, "a b", [0], ["lamp"], field="item_id")
    assert np.allclose(mixed(torch.ones(1, 1, 1)).detach().numpy(), score.T, atol=1e-4)
    beyond = " ".join(["red"] * 40)  # of which the model reads 32 tokens
    late = model.relaxed(queries, 3, beyond, [39], ["lamp"])(torch.ones(1, 1, 1))
    clean = model.score(queries, Slate(items=np.array([3]), texts=(beyond,)))
    assert np.allclose(late.detach().numpy(), clean.T, atol=1e-4)


def test_what_is_not_granted_is_said(fitted: Fitted) -> None:
    queries, rows = world().histories().take(np.arange(3)), np.array([0, 1, 2])
    model = fitted("sasrec")
    with pytest.raises(Unsupported, match="reads no text"):
        model.surface("token-embeddings", "promote", queries, rows)
    with pytest.raises(Unsupported, match="reads no text"):
        model.text_gradient("promote", queries, 1, "good mug")
    for ask in (
        lambda: model.word_embeddings(["mug"]),
        lambda: model.forecast(queries, 1, "good mug"),
        lambda: model.relaxed(queries, 1, "good mug", [0], ["bad"]),
    ):
        with pytest.raises(Unsupported, match="reads no text"):
            ask()
    with pytest.raises(Unsupported, match="'degrade' at 'item-vectors'"):
        model.surface("item-vectors", "degrade", queries, rows)
    with pytest.raises(Unsupported, match="no history vectors"):
        model.surface("history-vectors", "degrade", Queries.of([[]]), rows[:1])
    with pytest.raises(Unsupported, match="goal 'degrade'"):
        fitted("hybrid").text_gradient("degrade", queries, 1, "good mug")


@READERS
def test_white_box_leaves_someone_without_history_to_popularity(kind: str, fitted: Fitted) -> None:
    model, rows = fitted(kind), np.array([2, 22])
    queries = Queries.of([[], [3, 4]])
    clean = model.score(queries, Slate(items=rows))
    moved = model.perturbed_scores("item-vectors", "promote", queries, rows, torch.ones(2, 8))
    assert np.array_equal(moved[0], clean[0])
    assert not np.allclose(moved[1], clean[1])


def test_going_on_from_a_model_starts_where_it_stood(fitted: Fitted) -> None:
    model = fitted("hybrid")
    assert model.source is not None
    spec = Hybrid(
        size=8,
        length=LENGTH,
        whiten=8,
        fields=("note", "title"),
        max_tokens=32,
        training=Training(epochs=0),
    )
    again = spec.fit(world(), RunContext(seed=4), start=model)
    for name, array in model.arrays().items():
        assert np.array_equal(array, again.arrays()[name]), name
    with pytest.raises(Unsupported, match="only go on from"):
        spec.fit(world(), RunContext(), start=object())  # type: ignore[arg-type]


def test_validation_chooses_the_epoch(make_encoder: Callable[..., Path]) -> None:
    """The weights kept are those of the best validation value, not the last ones."""
    data = world()
    histories: list[Ints] = [data.histories().history(q) for q in range(data.n_users)]
    valid = Holdout(
        queries=Queries.of([h[:-1].tolist() for h in histories]),
        targets=np.array([h[-1] for h in histories]),
    )
    spec = Sasrec(size=8, length=LENGTH, training=replace(TRAINING, epochs=5, learning_rate=0.05))
    best = spec.fit(data, RunContext(), valid=valid)
    last = replace(spec, training=replace(spec.training, keep="last")).fit(
        data, RunContext(), valid=valid
    )
    from hardrank.models.common import holdout_ndcg

    assert holdout_ndcg(best, valid) >= holdout_ndcg(last, valid)
