"""The encoder inside training: layers that learn, words and text vectors that are perturbed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hardrank.context import RunContext
from hardrank.data import Queries, Slate
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.errors import Unsupported
from hardrank.hardening import Adversarial
from hardrank.models import TextSequence
from hardrank.models.sequence.batches import Windows
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.perturbations import FGM
from hardrank.training import Training

Make = Callable[..., Path]
QUICK = Training(epochs=1, batch_size=200, patience=0, precision="float32")


@pytest.fixture(scope="module")
def split() -> Split:
    return LeaveOneOut().split(Marketplace(users=60, items=60, seed=2).load())


@pytest.fixture(scope="module")
def spec(make_encoder: Make) -> TextSequence:
    return TextSequence(
        encoder=str(make_encoder()), max_tokens=32, size=8, heads=1, length=10, whiten=6,
        negatives=20, training=QUICK,
    )  # fmt: skip


def fitted(
    spec: TextSequence, split: Split, folder: Path, objective: object = None
) -> SequenceRecommender:
    run = RunContext(seed=0, cache=folder)
    return spec.fit(split.train, run, valid=split.valid, objective=objective)  # type: ignore[arg-type]


@pytest.mark.parametrize("unfreeze", [1, -1])
def test_layers_that_learn_change_and_survive_the_arrays(
    spec: TextSequence, split: Split, tmp_path: Path, unfreeze: int
) -> None:
    learning = replace(spec, unfreeze=unfreeze, encoder_pace=1.0)
    model = fitted(learning, split, tmp_path)
    learned = {k for k in model.arrays() if k.startswith("encoder/")}
    frozen = fitted(spec, split, tmp_path)
    before = frozen.source.encoder.arrays()  # type: ignore[union-attr]
    assert learned and not any(k.startswith("encoder/") for k in frozen.arrays())
    changed = {k for k in learned if (model.arrays()[k] != before[k[len("encoder/") :]]).any()}
    assert len(changed) > len(learned) / 2
    if unfreeze == 1:
        assert not any(".layer.0." in k or ".layer.1." in k or "embeddings" in k for k in learned)
    again = learning.restore(model.arrays(), split.train.items, RunContext(cache=tmp_path))
    slate = Slate(items=np.arange(split.train.n_items))
    scores = model.score(split.test.queries, slate)
    np.testing.assert_array_equal(scores, again.score(split.test.queries, slate))


def test_the_whole_catalogue_in_every_step_is_refused(spec: TextSequence, split: Split) -> None:
    with pytest.raises(Unsupported, match="set `negatives`"):
        replace(spec, negatives=0, unfreeze=1).fit(split.train, RunContext())


@pytest.mark.parametrize("site", ["text-vectors", "token-embeddings"])
def test_text_can_be_perturbed_in_training(
    spec: TextSequence, split: Split, tmp_path: Path, site: str
) -> None:
    plain = fitted(spec, split, tmp_path)
    inner = FGM(norm="token-l2") if site == "token-embeddings" else FGM()
    for weight, same in ((0.0, True), (1.0, False)):
        objective = Adversarial(site=site, inner=inner, radius=0.3, weight=weight)  # type: ignore[arg-type]
        model = fitted(spec, split, tmp_path, objective)
        assert bool(np.array_equal(model.vectors, plain.vectors)) is same


def test_a_model_of_ids_has_no_text_to_perturb(split: Split) -> None:
    from hardrank.models import Sasrec

    objective = Adversarial(site="text-vectors", inner=FGM(), radius=0.3)
    with pytest.raises(Unsupported, match="text-vectors"):
        Sasrec(size=8, heads=1, training=QUICK).fit(split.train, RunContext(), objective=objective)


def test_promotion_at_text_vectors_starts_from_the_clean_scores(
    spec: TextSequence, split: Split, tmp_path: Path
) -> None:
    model, rows = fitted(spec, split, tmp_path), np.array([3, 5])
    surface = model.surface("text-vectors", "promote", split.test.queries, rows)
    assert surface.scale == pytest.approx(1.0, abs=1e-5)  # the encoder's own unit vectors
    still = model.perturbed_scores(
        "text-vectors", "promote", split.test.queries, rows, surface.like * 0
    )
    plain = model.score(split.test.queries, Slate(items=rows))
    np.testing.assert_allclose(still, plain, atol=1e-5)


def test_a_delta_at_text_vectors_is_the_loss_of_the_moved_texts(
    spec: TextSequence, split: Split, tmp_path: Path
) -> None:
    """Ignoring the delta, or adding it elsewhere, would give another value."""
    network = fitted(replace(spec, negatives=0), split, tmp_path).network
    batch = next(Windows(_known(split), 10).batches(50, np.random.default_rng(0)))
    torch.manual_seed(0)
    delta = 0.3 * torch.randn_like(network.clean("text-vectors", batch))
    plain = network.loss(batch)
    moved = network.loss(batch, {"text-vectors": delta})
    network.texts = network.texts + delta @ network.projection
    torch.testing.assert_close(moved, network.loss(batch))
    assert abs(float(moved.detach()) - float(plain.detach())) > 1e-4


def _known(split: Split) -> Queries:
    """Training histories with items counted among those that have training events."""
    place = np.cumsum(split.train.counts > 0) - 1
    whole = split.train.histories()
    return Queries(offsets=whole.offsets, items=place[whole.items], users=whole.users)
