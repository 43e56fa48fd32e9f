"""Hidden states of the encoder as the site of adversarial training: only its top layers run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hardrank.context import RunContext
from hardrank.data.labelled import Labelled
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.encoders import TextEncoder
from hardrank.errors import Unsupported
from hardrank.hardening import AWP, Adversarial, Free, FreeLB
from hardrank.models import TextSequence
from hardrank.models.sequence.network import SequenceNetwork
from hardrank.models.text_classifier import TextClassifier
from hardrank.perturbations import PGD
from hardrank.training import Plain, Step, Training

LAYERS = 6
SITE: Any = "hidden-states"
WORDS = ("[PAD]", "[UNK]", "red", "blue", "mug", "lamp", "for", "the", "kitchen", "old", "new")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of six layers whose tokens are words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    made = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS), pad_token_id=0, hidden_size=16, num_hidden_layers=LAYERS,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=40,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bert = BertModel(config)
    for parameter in bert.parameters():
        parameter.data.mul_(3.0)
    bert.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def split() -> Split:
    return LeaveOneOut().split(Marketplace(users=60, items=60, seed=2).load())


@pytest.fixture(scope="module")
def spec(encoder: Path) -> TextSequence:
    training = Training(epochs=1, batch_size=300, keep="last", precision="float32")
    return TextSequence(
        encoder=str(encoder), max_tokens=16, size=8, heads=1, length=10, whiten=6,
        negatives=20, unfreeze=1, encoder_pace=1.0, training=training,
    )  # fmt: skip


class _Seen(Exception):
    pass


@dataclass
class _Look:
    """Ends training at its first step, and keeps what it was about to be trained on."""

    kind: str = "look"
    site: str = SITE

    def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
        self.network, self.batch = network, batch
        raise _Seen


@pytest.fixture
def scene(spec: TextSequence, split: Split, tmp_path: Path) -> tuple[SequenceNetwork, Any]:
    """A network in the middle of training, and a batch."""
    look = _Look()
    with pytest.raises(_Seen):
        spec.fit(split.train, RunContext(cache=tmp_path), objective=look)
    return look.network, look.batch


def loss(network: Any, batch: Any, delta: Tensor | None = None) -> Tensor:
    """Always with the same dropout and the same negatives."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return network.loss(batch, None if delta is None else {SITE: delta})


def clean(network: SequenceNetwork, batch: Any) -> tuple[Tensor, Tensor]:
    """(states, mask) of the candidates that `loss` draws."""
    found = []
    for ask in (network.clean, network.writable):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            found.append(ask(SITE, batch))
    states, mask = found
    assert mask is not None
    return states, mask


def test_delta_zero_is_the_clean_loss(scene: tuple[SequenceNetwork, Any]) -> None:
    """S0-50: to the last bit, value and gradients."""
    network, batch = scene
    states, _ = clean(network, batch)
    still, plain = loss(network, batch, torch.zeros_like(states)), loss(network, batch)
    assert torch.equal(still.detach(), plain.detach())
    learning = [p for p in network.parameters() if p.requires_grad]
    pairs = zip(
        torch.autograd.grad(still, learning), torch.autograd.grad(plain, learning), strict=True
    )
    assert all(torch.equal(one, two) for one, two in pairs)


def test_the_gradient_reaches_every_token_and_no_padding(
    scene: tuple[SequenceNetwork, Any],
) -> None:
    network, batch = scene
    states, mask = clean(network, batch)
    assert mask.shape == states.shape[:2] and not mask.all()
    delta = torch.zeros_like(states, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(network, batch, delta), delta)
    assert (slope[mask].norm(dim=-1) > 0).all()
    assert not slope[~mask].any()
    up = loss(network, batch, 0.1 * slope / slope.norm())
    assert float(up.detach()) > float(loss(network, batch).detach())


def test_it_moves_what_the_cut_layer_reads(scene: tuple[SequenceNetwork, Any]) -> None:
    """Against a slow twin that writes the moved states into the store."""
    network, batch = scene
    states, mask = clean(network, batch)
    generator = torch.Generator().manual_seed(1)
    delta = torch.randn(states.shape, generator=generator) * mask[:, :, None]
    moved = loss(network, batch, delta).detach()
    assert network.live is not None and network.live.hidden is not None
    with torch.random.fork_rng():
        torch.manual_seed(5)
        rows, _ = network._candidates(batch)
    assert rows is not None
    network.live.hidden.states[rows, : states.shape[1]] += delta
    torch.testing.assert_close(loss(network, batch).detach(), moved)


@contextmanager
def counted(of: TextEncoder) -> Iterator[list[int]]:
    """Runs of each encoder layer: forward passes, from the lowest layer up."""
    runs = [0] * LAYERS

    def counter(layer: int) -> Any:
        def hook(*_: Any) -> None:
            runs[layer] += 1

        return hook

    module: Any = of.module
    handles = [m.register_forward_hook(counter(n)) for n, m in enumerate(module.encoder.layer)]
    try:
        yield runs
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("steps", [1, 3])
def test_only_the_layers_above_the_cut_run(scene: tuple[SequenceNetwork, Any], steps: int) -> None:
    """S0-50: at `token-embeddings` each of the K + 1 perturbed passes runs all six layers, at
    `hidden-states` one; the clean pass always one. So 6 (K + 1) + 1 against K + 2."""
    network, batch = scene
    found = {}
    for site in ("token-embeddings", "hidden-states"):
        inner = PGD(steps=steps, norm="token-l2", keep_best=False)
        objective = Adversarial(site=site, inner=inner, radius=0.1)  # type: ignore[arg-type]
        step = Step(epoch=0, number=0, progress=0, generator=torch.Generator())
        assert network.live is not None
        with counted(network.live.encoder) as runs:
            objective(network, batch, step).backward()
        found[site] = runs
    assert found["hidden-states"] == [0] * (LAYERS - 1) + [steps + 2]
    assert found["token-embeddings"] == [steps + 1] * (LAYERS - 1) + [steps + 2]
    assert sum(found["token-embeddings"]) == LAYERS * (steps + 1) + 1


CHEAP = [
    Free(site=SITE, radius=0.2, replays=2),
    FreeLB(site=SITE, radius=0.2, steps=2),
    AWP(site=SITE, inner=PGD(steps=1), radius=0.2),
    Adversarial(site=SITE, inner=PGD(steps=1), radius=0.2),
]


@pytest.mark.parametrize("objective", CHEAP, ids=lambda objective: objective.kind)
def test_any_objective_with_a_site_trains_there(
    spec: TextSequence, split: Split, tmp_path: Path, objective: Any
) -> None:
    run = RunContext(cache=tmp_path)
    model = spec.fit(split.train, run, objective=objective)
    plain = spec.fit(split.train, run)
    assert np.isfinite(model.vectors.numpy()).all()
    learned = {k for k in model.arrays() if k.startswith("encoder/")}
    assert learned and all("layer.5." in name for name in learned)
    assert any((model.arrays()[k] != plain.arrays()[k]).any() for k in learned)
    assert SITE not in model.sites, "a trained model keeps no states at a cut"
    if objective.kind != "free":  # which replays batches whatever its weight
        off = spec.fit(split.train, run, objective=replace(objective, weight=0.0))
        assert np.array_equal(off.vectors.numpy(), plain.vectors.numpy())


def test_replays_of_free_meet_the_same_candidates(scene: tuple[SequenceNetwork, Any]) -> None:
    """Candidates are sampled anew in every step, but not within the replays of a batch: there
    delta goes on, row by row."""
    network, batch = scene
    objective, memory = Free(site=SITE, radius=0.2), dict[str, Any]()
    deltas = []
    for number in range(3):
        torch.manual_seed(number)
        step = Step(epoch=0, number=number, progress=0, generator=torch.Generator(), memory=memory)
        objective(network, batch, step).backward()
        deltas.append(memory["free"].delta.detach())
    assert deltas[0].shape == deltas[1].shape == deltas[2].shape
    assert not deltas[0].any() and deltas[1].any() and deltas[2].any()


def test_awp_moves_the_layers_of_the_encoder(scene: tuple[SequenceNetwork, Any]) -> None:
    """S2-02: which are no submodules of the network, and come back to the last bit."""
    network, batch = scene
    assert network.live is not None
    module: Any = network.live.encoder.module
    top = module.encoder.layer[-1].output.dense.weight
    before, seen = top.detach().clone(), []
    handle = module.encoder.layer[-1].register_forward_pre_hook(
        lambda *_: seen.append(top.detach().clone())
    )
    step = Step(epoch=0, number=0, progress=0, generator=torch.Generator())
    AWP(gamma=0.05)(network, batch, step).backward()
    handle.remove()
    clean_pass, moved = seen
    assert torch.equal(clean_pass, before)
    assert float((moved - before).norm() / before.norm()) == pytest.approx(0.05, rel=1e-3)
    assert torch.equal(top.detach(), before)


def test_a_text_classifier_has_the_site_too(encoder: Path, tmp_path: Path) -> None:
    """While it is trained, and with a cut."""
    texts = tuple(f"{colour} {thing}" for colour in WORDS[2:] for thing in WORDS[4:])
    labels = np.array([("red" in text) or ("mug" in text) for text in texts], dtype=np.int64)
    data = Labelled(texts=texts, labels=labels, names=("no", "yes"))
    training = Training(epochs=1, batch_size=16, keep="last", precision="float32")
    spec = TextClassifier(encoder=str(encoder), max_tokens=8, unfreeze=1, training=training)
    run = RunContext(cache=tmp_path)
    look = _Look()
    with pytest.raises(_Seen):
        spec.fit(data, run, objective=look)
    network, batch = look.network, look.batch
    states, mask = network.clean(SITE, batch), network.writable(SITE, batch)
    still, plain = loss(network, batch, torch.zeros_like(states)), loss(network, batch)
    assert torch.equal(still.detach(), plain.detach())
    delta = torch.ones_like(states) * mask[:, :, None]
    with counted(network.encoder) as runs:
        moved = loss(network, batch, delta)
    assert runs == [0] * (LAYERS - 1) + [1]
    assert not torch.equal(moved.detach(), plain.detach())
    with pytest.raises(Unsupported, match="not both"):
        network.loss(batch, {SITE: delta, "token-embeddings": delta})
    for objective in CHEAP:
        model = spec.fit(data, run, objective=objective)
        assert SITE not in model.sites
        assert np.isfinite(model.probabilities(texts[:5])).all()
    with pytest.raises(Unsupported, match="no site 'hidden-states'"):
        replace(spec, unfreeze=0).fit(data, run, objective=CHEAP[0])


@pytest.mark.parametrize("unfreeze", [0, -1])
def test_without_a_cut_there_is_no_such_site(
    spec: TextSequence, split: Split, tmp_path: Path, unfreeze: int
) -> None:
    uncut = replace(spec, unfreeze=unfreeze)
    with pytest.raises(Unsupported, match="no site 'hidden-states'; it has: item-vectors"):
        uncut.fit(split.train, RunContext(cache=tmp_path), objective=CHEAP[0])


def test_two_depths_at_once_are_refused(scene: tuple[SequenceNetwork, Any]) -> None:
    network, batch = scene
    states, _ = clean(network, batch)
    deltas: Any = {SITE: torch.zeros_like(states), "token-embeddings": torch.zeros_like(states)}
    with pytest.raises(Unsupported, match="not both"), torch.random.fork_rng():
        torch.manual_seed(5)
        network.loss(batch, deltas)
    assert isinstance(Plain()(network, batch, None), Tensor)  # type: ignore[arg-type]
