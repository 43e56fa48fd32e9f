"""Bounded influence of text: what a text can and cannot lift."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hardrank.context import RunContext
from hardrank.data import Holdout, Queries, Slate
from hardrank.models import TextSequence
from hardrank.models.common import whole
from hardrank.models.sequence.batches import SequenceBatch
from hardrank.models.sequence.influence import Influence
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.models.sequence.strength import chosen_strength
from hardrank.testing import dataset
from hardrank.training import Training

TRAINING = Training(epochs=2, batch_size=64, patience=0, precision="float32")
BOUND = Influence(text_norm=2.0, learn=0.75, serve=0.25, newcomer=0.5)

Fit = Callable[[Influence | None], SequenceRecommender]


def histories() -> list[list[int]]:
    rng = np.random.default_rng(1)
    return [rng.choice(9, size=rng.integers(3, 7), replace=False).tolist() for _ in range(30)]


@pytest.fixture(scope="module")
def fit(make_encoder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Fit:
    encoder, run = str(make_encoder()), RunContext(seed=0, cache=tmp_path_factory.mktemp("cache"))
    titles = [f"{w} {t}" for w in ("good", "red", "old") for t in ("mug", "lamp", "kitchen", "cup")]
    data = dataset(titles, histories())  # items 9, 10 and 11 are new

    def fitted(influence: Influence | None) -> SequenceRecommender:
        return TextSequence(
            encoder=encoder, whiten=8, max_tokens=16, size=8, length=6, training=TRAINING,
            influence=influence,
        ).fit(data, run)  # fmt: skip

    return fitted


@pytest.fixture(scope="module")
def bounded(fit: Fit) -> SequenceRecommender:
    return fit(BOUND)


def some() -> Queries:
    return Queries.of([[0, 1], [5], [2, 3, 8]])


def test_scores_are_products_of_equal_norm_and_earned_popularity(
    bounded: SequenceRecommender,
) -> None:
    counts = np.bincount(np.concatenate(histories()), minlength=12)
    assumed = np.where(counts > 0, counts, np.median(counts[:9]))
    states, _ = bounded.read(some())
    expected = states @ bounded.vectors.t() + 0.25 * torch.from_numpy(np.log(assumed)).float()
    assert torch.allclose(bounded.vectors.norm(dim=1), torch.full((12,), 2.0), atol=1e-5)
    scores = bounded.score(some(), whole(bounded.items))
    assert np.allclose(scores, expected.numpy(), atol=1e-5)


def test_a_copied_listing_lacks_exactly_what_the_copied_item_earned(
    bounded: SequenceRecommender,
) -> None:
    """The copy has the bestseller's text and its own events."""
    best, rare = 4, int(np.argmin(bounded.counts[:9]))
    title = bounded.items["title"][best]
    copied = Slate(items=np.array([rare]), texts=(title,), field="title")
    copy = bounded.score(some(), copied)[:, 0]
    original = bounded.score(some(), Slate(items=np.array([best])))[:, 0]
    lost = 0.25 * np.log(bounded.counts[best] / bounded.counts[rare])
    assert np.allclose(original - copy, lost, atol=1e-5)


@given(st.text(max_size=60))
def test_no_text_is_louder_than_another(bounded: SequenceRecommender, text: str) -> None:
    vectors, _ = bounded._slate_vectors(Slate(items=np.array([3]), texts=(text,), field="title"))
    assert float(vectors.detach().norm()) == pytest.approx(2.0, abs=1e-4)


def test_training_adds_popularity_to_the_softmax(bounded: SequenceRecommender, fit: Fit) -> None:
    """Against a slow twin of the loss."""
    network = fit(BOUND).network.eval()
    batch = SequenceBatch(
        torch.tensor([[0, 3], [5, 0]]), torch.tensor([3, 7, 2]),
        torch.tensor([[True, True], [True, False]]),
    )  # fmt: skip
    vectors = 2.0 * F.normalize(
        network.tower.scale * network.tower.text(network.texts),
        dim=1,  # type: ignore[misc]
    )
    states = network.transformer(vectors[batch.inputs])[batch.real]
    counts = torch.from_numpy(bounded.counts[:9]).float()
    logits = states @ vectors.t() + 0.75 * counts.log()
    expected = F.cross_entropy(logits, batch.targets)
    assert torch.allclose(network.loss(batch), expected, atol=1e-5)


def test_bounds_that_bind_nothing_are_no_bounds(fit: Fit) -> None:
    free, plain = fit(Influence(text_norm=0, learn=0, serve=0)).arrays(), fit(None).arrays()
    assert all(np.array_equal(free[name], value) for name, value in plain.items())


@pytest.mark.parametrize("newcomer", [0.0, 0.5, 1.0])
def test_a_newcomer_counts_as_an_item_of_that_quantile(newcomer: float) -> None:
    counts = np.array([0, 1, 10, 100])
    earned = Influence(serve=2.0, newcomer=newcomer).serving(counts)
    assert earned is not None
    quantile = {0.0: 1, 0.5: 10, 1.0: 100}[newcomer]
    assert np.allclose(earned.numpy(), 2 * np.log([quantile, 1, 10, 100]), atol=1e-6)


def test_the_white_box_sees_the_same_scores(bounded: SequenceRecommender) -> None:
    items = np.array([2, 10])
    clean = bounded.score(some(), Slate(items=items))
    for site in ("item-vectors", "text-vectors"):
        like = bounded.surface(site, "promote", some(), items).like
        moved = bounded.perturbed_scores(site, "promote", some(), items, torch.zeros_like(like))
        assert np.allclose(moved, clean, atol=1e-5)
    like = bounded.surface("history-vectors", "degrade", some(), np.array([1, 2, 3])).like
    moved = bounded.perturbed_scores(
        "history-vectors", "degrade", some(), np.array([1, 2, 3]), torch.zeros_like(like)
    )
    assert np.allclose(moved, bounded.score(some(), whole(bounded.items)), atol=1e-5)


def test_rewriting_the_catalogue_leaves_what_items_earned(bounded: SequenceRecommender) -> None:
    rewritten = bounded.on(bounded.items.with_columns(pl.lit("red mug").alias("title")))
    assert bounded.earned is not None and rewritten.earned is not None
    assert torch.equal(rewritten.earned, bounded.earned)
    scores = rewritten.score(some(), whole(rewritten.items))
    apart = scores - bounded.earned.numpy()
    assert np.allclose(apart, apart[:, :1], atol=1e-5), "one text, one product"


def test_a_restored_model_keeps_its_bounds(
    make_encoder: Callable[..., Path], bounded: SequenceRecommender, tmp_path: Path
) -> None:
    spec = TextSequence(
        encoder=str(make_encoder()), whiten=8, max_tokens=16, size=8, length=6, influence=BOUND
    )
    again = spec.restore(bounded.arrays(), bounded.items, RunContext(cache=tmp_path))
    slate = whole(bounded.items)
    assert np.allclose(again.score(some(), slate), bounded.score(some(), slate), atol=1e-5)


def test_what_makes_no_sense_is_refused() -> None:
    wrong: list[dict[str, Any]] = [{"text_norm": -1}, {"learn": -0.1}, {"newcomer": 1.5}]
    for values in wrong:
        with pytest.raises(ValidationError):
            Influence(**values)


# How strongly popularity ranks


class Planted:
    """Text scores written down by hand."""

    def __init__(self, scores: list[list[float]]) -> None:
        self.scores = np.array(scores, dtype=np.float32)
        self.items = pl.DataFrame({"item_id": [str(n) for n in range(self.scores.shape[1])]})

    def score(self, queries: Queries, slate: Slate) -> np.ndarray:
        return self.scores[queries.users][:, slate.items]


COUNTS = np.array([100] * 11 + [1] * 200)
"""Eleven bestsellers and 200 items in the tail, which hold 15 % of the events."""
NEVER = [-99.0] * 199
"""Scores of the tail but for its first item."""


def held_out(targets: list[int]) -> Holdout:
    queries = Queries.of([[] for _ in targets], users=list(range(len(targets))))
    return Holdout(queries=queries, targets=np.array(targets))


def lead(points: float) -> list[float]:
    """The rare item leads every bestseller by so many points."""
    return [0.0] * 11 + [points, *NEVER]


FOURTH = [2.0] * 3 + [0.0] * 8 + [1.0, *NEVER]
"""The rare item ranks fourth: NDCG@10 0.43."""


def serve(learn: float, rare: float, reference: list[float] | None) -> float:
    """Chosen for a user who wants the rare item, which leads by `rare` in the text's scores;
    `reference`: scores of the model that training began from."""
    before: Any = None if reference is None else Planted([reference])
    text: Any = Planted([lead(rare)])
    found = chosen_strength(Influence(learn=learn), text, before, held_out([11]), COUNTS)
    assert found.serve is not None
    return found.serve


def test_the_largest_step_that_leaves_rare_items_better_off() -> None:
    """The rare item falls below all eleven bestsellers at a strength of lead / log(100); on
    the way it keeps rank 1, so every step before is free."""
    assert serve(1.0, 0.55 * np.log(100), FOURTH) == pytest.approx(0.5)
    assert serve(1.0, 5 * np.log(100), FOURTH) == pytest.approx(1.0)


def test_where_no_step_leaves_the_tail_better_off_the_best_one_there() -> None:
    """Rank 1 cannot be bettered by three quarters."""
    assert serve(1.0, 0.55 * np.log(100), lead(1.0)) == 0.0


def test_quality_for_everybody_comes_first() -> None:
    """One user wants the rare item, which popularity buries at 0.2; three want a bestseller,
    which only popularity lifts to the top, at 0.35."""
    bestseller = lead(0.35 * np.log(100))
    bestseller[3] += 0.01
    text: Any = Planted([lead(0.2 * np.log(100)), bestseller, bestseller, bestseller])
    before: Any = Planted([FOURTH] * 4)
    wanted = held_out([11, 3, 3, 3])
    assert chosen_strength(Influence(), text, before, wanted, COUNTS).serve == pytest.approx(0.4)


def test_without_a_reference_quality_decides() -> None:
    """The first step with the best NDCG@10: 0 for who wants the rare item; for who wants a
    bestseller, behind which it falls at half of `learn`, that step."""
    assert serve(1.0, 0.55 * np.log(100), None) == 0.0
    text: Any = Planted([lead(0.45 * np.log(100))])
    text.scores[0, 3] += 0.01  # the bestseller that is wanted comes right after
    found = chosen_strength(Influence(learn=1.0), text, None, held_out([3]), COUNTS)
    assert found.serve == pytest.approx(0.5)


@pytest.mark.parametrize("valid", [None, held_out([])])
def test_without_validation_half_of_what_was_learned(valid: Holdout | None) -> None:
    text: Any = Planted([lead(1.0)])
    assert chosen_strength(Influence(learn=0.8), text, None, valid, COUNTS).serve == 0.4
    given = Influence(learn=0.8, serve=0.3)
    assert chosen_strength(given, text, None, held_out([11]), COUNTS).serve == 0.3


def test_what_was_chosen_is_kept(
    make_encoder: Callable[..., Path], fit: Fit, tmp_path: Path
) -> None:
    model = fit(Influence())
    assert float(model.arrays()["served"]) == 0.5, "no validation data: half of `learn`"
    spec = TextSequence(
        encoder=str(make_encoder()), whiten=8, max_tokens=16, size=8, length=6,
        influence=Influence(),
    )  # fmt: skip
    again = spec.restore(model.arrays(), model.items, RunContext(cache=tmp_path))
    slate = whole(model.items)
    assert np.allclose(again.score(some(), slate), model.score(some(), slate), atol=1e-5)
