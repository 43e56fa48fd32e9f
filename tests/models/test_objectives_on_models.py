"""Objectives that compare whole predictions, on the models that have some."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hardrank.context import RunContext
from hardrank.data.labelled import Labelled
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.errors import Unsupported
from hardrank.hardening import (
    MART,
    SMART,
    TRADES,
    VAT,
    GradientPenalty,
    KLConsistency,
    LogitPairing,
    RDrop,
    StopAtRobustError,
)
from hardrank.models import BprMf, Sasrec, TextSequence
from hardrank.models.sequence.batches import SequenceBatch
from hardrank.models.sequence.network import ItemTower, SequenceNetwork
from hardrank.models.sequence.transformer import CausalTransformer
from hardrank.models.text_classifier import TextClassifier
from hardrank.perturbations import FGM, PGD, Gaussian
from hardrank.testing.objectives import ObjectiveContract
from hardrank.training import Plain, Step, Training, check_objective

ITEMS, LENGTH = 12, 5
SEARCHED: dict[type, dict[str, Any]] = {
    TRADES: {"inner": PGD(steps=2), "radius": 0.2},
    KLConsistency: {"inner": Gaussian(), "radius": 0.2},
    SMART: {"inner": FGM(), "radius": 0.2},
    MART: {"inner": FGM(), "radius": 0.2, "weight": 0.5},
    LogitPairing: {"inner": FGM(), "radius": 0.2},
    VAT: {"radius": 0.2},
    GradientPenalty: {"weight": 0.1},
}
ALL: dict[type, dict[str, Any]] = {**SEARCHED, RDrop: {}}
NAMED = {"ids": lambda kind: kind.__name__}


def step(seed: int = 0, memory: dict[str, Any] | None = None) -> Step:
    draws = torch.Generator().manual_seed(seed)
    return Step(epoch=0, number=1, progress=0.2, generator=draws, memory=memory or {})


def network(
    *, narrow: bool = False, negatives: int = 0, dropout: float = 0.2, size: int = 8
) -> SequenceNetwork:
    """Ids and texts, two heads, all that draws random numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = SequenceNetwork(
            tower=ItemTower(
                items=ITEMS, size=size, text_size=6, ids=True, dropout=dropout, scale=1.0
            ),
            transformer=CausalTransformer(
                size=size, layers=1, heads=2, length=LENGTH, dropout=dropout
            ),
            text_weight=0.3,
            id_dropout=dropout / 2,
            negatives=negatives,
            frequency=torch.full((ITEMS,), 1 / ITEMS),
            narrow=narrow,
        )
        made.texts, made.encoded = torch.randn(ITEMS, 6), torch.randn(ITEMS, 6)
        made.projection = torch.eye(6)
        assert made.tower.ids is not None
        torch.nn.init.normal_(made.tower.ids)
    return made


def windows() -> SequenceBatch:
    draws = torch.Generator().manual_seed(2)
    inputs = torch.randint(ITEMS, (4, LENGTH), generator=draws)
    real = torch.arange(LENGTH) < torch.tensor([[5], [3], [1], [4]])
    targets = torch.randint(ITEMS, (int(real.sum()),), generator=draws)
    return SequenceBatch(inputs * real, targets, real)


def graded(objective: Any, made: SequenceNetwork, seed: int = 0) -> dict[str, torch.Tensor]:
    made.zero_grad()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        value = objective(made, windows(), step())
        after = torch.rand(3)
    value.backward()
    grads = {n: p.grad.clone() for n, p in made.named_parameters() if p.grad is not None}
    return {"value": value.detach(), "after": after, **grads}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


@pytest.mark.parametrize("narrow", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ALL, **NAMED)
class TestContract(ObjectiveContract):
    """On a sequence network without anything random, at item vectors."""

    @pytest.fixture(autouse=True)
    def _choose(self, kind: type, narrow: bool) -> None:
        self.narrow = narrow
        self.objective = kind(**ALL[kind])
        self.zero = kind(**{**ALL[kind], "weight": 0.0})

    def network(self) -> SequenceNetwork:
        made = network(narrow=self.narrow, dropout=0.0)
        made.text_states = None  # its head draws a third of the targets
        return made

    def batch(self) -> SequenceBatch:
        return windows()


@pytest.mark.parametrize("negatives", [0, 3])
@pytest.mark.parametrize("narrow", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("site", ["item-vectors", "history-vectors", "text-vectors"])
@pytest.mark.parametrize("kind", SEARCHED, **NAMED)
def test_with_dropout_two_heads_and_sampled_negatives(
    kind: type, site: str, narrow: bool, negatives: int
) -> None:
    """Weight 0 is plain training to the bit; otherwise something is added, the text head still
    learns, and later steps draw what they would have drawn."""
    made = network(narrow=narrow, negatives=negatives)
    check_objective(kind(**SEARCHED[kind], site=site), made)
    plain = graded(Plain(), made)
    off = graded(kind(**{**SEARCHED[kind], "weight": 0.0}, site=site), made)
    on = graded(kind(**SEARCHED[kind], site=site), made)
    assert same(plain, off)
    assert torch.equal(plain["after"], on["after"])
    assert torch.isfinite(on["value"]) and not torch.equal(on["value"], plain["value"])
    if kind is not MART:
        assert on["value"] > plain["value"]
    assert on["text_states.weight"].abs().sum() > 0
    assert all(value.isfinite().all() for value in on.values())


@pytest.mark.parametrize("kind", ALL, **NAMED)
def test_frozen_weights_get_no_gradient_and_the_rest_do(kind: type) -> None:
    made = network()
    made.transformer.requires_grad_(False)
    made.tower.ids.requires_grad_(False)  # type: ignore[union-attr]
    found = graded(kind(**ALL[kind]), made)
    assert {n for n in found if n.startswith(("tower.text", "text_states"))}
    assert not {n for n in found if n.startswith(("transformer", "tower.ids"))}
    assert found["tower.text.weight"].abs().sum() > 0


def test_two_draws_of_dropout_over_sampled_candidates_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"set `negatives = 0`"):
        check_objective(RDrop(), network(negatives=3))
    with pytest.raises(Unsupported, match="this model has none"):
        check_objective(RDrop(), network(dropout=0.0))
    check_objective(RDrop(), network())


def test_the_penalty_passes_through_fused_attention() -> None:
    """In evaluation mode attention would be fused, which cannot be differentiated twice."""
    made = network(dropout=0.0, size=16).eval()
    made.text_states = None  # its head draws a third of the targets
    added = GradientPenalty(site="history-vectors")(made, windows(), step()) - made.loss(windows())
    (slope,) = torch.autograd.grad(added, made.transformer.positions)
    index, ends = (1, 3), []
    for sign in (1, -1):
        with torch.no_grad():
            made.transformer.positions[index] += sign * 1e-2
        value = GradientPenalty(site="history-vectors")(made, windows(), step())
        ends.append(float((value - made.loss(windows())).detach()))
        with torch.no_grad():
            made.transformer.positions[index] -= sign * 1e-2
    assert float(slope[index]) == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=0.05)


QUICK = Training(epochs=2, batch_size=200, patience=0, precision="float32", keep="last")


@pytest.fixture(scope="module")
def split() -> Split:
    return LeaveOneOut().split(Marketplace(users=60, items=60, seed=2).load())


@pytest.mark.parametrize("kind", ALL, **NAMED)
def test_a_training_of_ids(split: Split, kind: type) -> None:
    """The validation under attack works too, for objectives with an attack and without."""
    spec = Sasrec(size=8, heads=1, length=10, training=QUICK)
    rule = StopAtRobustError(target=0.0)
    arms = {"plain": None, "off": kind(**{**ALL[kind], "weight": 0.0})}
    arms["on"] = kind(**ALL[kind], stop=(rule,))
    trained = {
        name: spec.fit(split.train, RunContext(seed=0), valid=split.valid, objective=o).vectors
        for name, o in arms.items()
    }
    assert torch.equal(trained["plain"], trained["off"])
    assert not torch.equal(trained["plain"], trained["on"])
    assert torch.isfinite(trained["on"]).all()


class Killed(BaseException):
    """Stands for a kill."""


def test_smart_killed_in_its_second_epoch_ends_with_the_same_weights(
    split: Split, tmp_path: Path
) -> None:
    """The averaged weights begin anew with each epoch, so nothing of them is lost."""
    spec = Sasrec(size=8, heads=1, length=10, training=replace(QUICK, batch_size=50))
    objective = SMART(inner=FGM(), radius=0.1, momentum=0.5, proximity=5.0)

    class Dies:
        kind = "smart"
        site = "item-vectors"
        inner, radius, stop = objective.inner, objective.radius, ()

        def __repr__(self) -> str:
            return repr(objective)

        def __call__(self, network: Any, batch: Any, step: Step) -> torch.Tensor:
            if step.epoch == 1 and step.number == 2:
                raise Killed
            return objective(network, batch, step)

    run, here = RunContext(seed=0), RunContext(seed=0, folder=tmp_path)
    whole = spec.fit(split.train, run, valid=split.valid, objective=objective)
    with pytest.raises(Killed):
        spec.fit(split.train, here, valid=split.valid, objective=Dies())
    assert list(tmp_path.rglob("checkpoint.safetensors"))
    resumed = spec.fit(split.train, here, valid=split.valid, objective=objective)
    assert torch.equal(resumed.vectors, whole.vectors)


@pytest.mark.parametrize("kind", [k for k in ALL if k is not GradientPenalty], **NAMED)
def test_a_model_of_pairs_is_refused_before_training(split: Split, kind: type) -> None:
    with pytest.raises(Unsupported, match="scores pairs only"):
        BprMf(size=4, epochs=1).fit(split.train, RunContext(), objective=kind(**ALL[kind]))


Make = Callable[..., Path]


@pytest.fixture(scope="module")
def bert(make_encoder: Make) -> str:
    return str(make_encoder("bert"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    return RunContext(seed=1, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def praise() -> Labelled:
    rng = np.random.default_rng(0)
    filler, said = ("red", "blue", "mug", "lamp", "kitchen"), (("bad", "old"), ("good", "new"))
    labels = np.arange(24) % 2
    texts = [" ".join([*rng.choice(filler, 2), said[y][rng.integers(2)]]) for y in labels]
    return Labelled(texts=tuple(texts), labels=labels, names=("blame", "praise"))


def weights_of(model: Any) -> np.ndarray:
    return np.concatenate([v.ravel() for k, v in model.arrays().items() if k != "calibration"])


@pytest.mark.parametrize("unfreeze", [0, 1])
@pytest.mark.parametrize("kind", ALL, **NAMED)
def test_a_training_of_the_text_classifier(
    bert: str, run: RunContext, praise: Labelled, kind: type, unfreeze: int
) -> None:
    """At both sites; through the encoder where tokens are moved or its top learns."""
    spec = TextClassifier(
        encoder=bert, max_tokens=12, unfreeze=unfreeze,
        training=Training(epochs=2, batch_size=12, patience=0, precision="float32"),
    )  # fmt: skip
    plain = weights_of(spec.fit(praise, run))
    sites = [{}] if kind is RDrop else [{"site": s} for s in ("text-vectors", "token-embeddings")]
    for site in sites:
        off = spec.fit(praise, run, objective=kind(**{**ALL[kind], **site, "weight": 0.0}))
        on = spec.fit(praise, run, objective=kind(**ALL[kind], **site))
        assert np.array_equal(weights_of(off), plain)
        assert not np.array_equal(weights_of(on), plain)
        assert np.isfinite(weights_of(on)).all()


@pytest.mark.parametrize("kind", SEARCHED, **NAMED)
def test_a_training_through_the_words_of_items(
    bert: str, run: RunContext, split: Split, kind: type
) -> None:
    """Sampled candidates, an encoder whose top layer learns, token embeddings moved."""
    spec = TextSequence(
        encoder=bert, max_tokens=16, size=8, heads=1, length=10, whiten=6, negatives=10,
        unfreeze=1, encoder_pace=1.0, training=replace(QUICK, epochs=1, batch_size=400),
    )  # fmt: skip
    arms = {
        "plain": None,
        "off": kind(**{**SEARCHED[kind], "weight": 0.0}, site="token-embeddings"),
    }
    arms["on"] = kind(**SEARCHED[kind], site="token-embeddings")
    trained = {n: spec.fit(split.train, run, objective=o).vectors for n, o in arms.items()}
    assert torch.equal(trained["plain"], trained["off"])
    assert not torch.equal(trained["plain"], trained["on"])
    assert torch.isfinite(trained["on"]).all()
