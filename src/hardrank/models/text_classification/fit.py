"""From labelled texts to a trained, calibrated classifier, and back from arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardrank.context import RunContext, derive
from hardrank.data.labelled import Labelled
from hardrank.encoders import (
    HiddenStates,
    Precision,
    TextEncoder,
    TokenBatch,
    load_encoder,
)
from hardrank.errors import BundleError, DataError, Unsupported
from hardrank.files import digest_bytes
from hardrank.models.judge import judge_of
from hardrank.models.text_classification.calibration import Calibration, fit_temperature
from hardrank.models.text_classification.model import TextClassifierModel
from hardrank.models.text_classification.network import TextBatch, TextNetwork, head_of
from hardrank.models.text_classification.robust import robust_row
from hardrank.models.text_classification.unlabelled import check_unlabelled
from hardrank.training import Objective, Training, check_objective, train
from hardrank.training.precision import half_is_faster
from hardrank.training.stops import AnyOf
from hardrank.types import Floats, Ints, Site

__all__ = ["Shape", "check", "fit", "restore"]

_ATTACKED = 256
"""Validation texts that are attacked after each epoch of hardening."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    encoder: str
    max_tokens: int
    unfreeze: int
    hidden: int
    dropout: float


class _Texts:
    """Labelled texts in the form the network reads them, batch by batch."""

    def __init__(self, data: Labelled, network: TextNetwork, vectors: Tensor | None) -> None:
        self.data, self.network, self.vectors = data, network, vectors
        self.labels = torch.from_numpy(data.labels).to(network.encoder.device)
        if network.cut is not None:
            network.encoder.warm(data.texts, network.cut)

    def batches(self, order: Ints, size: int) -> Iterator[TextBatch]:
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            at = torch.from_numpy(rows).to(self.labels.device)
            yield TextBatch(
                labels=self.labels[at],
                read=partial(self._read, at),
                vectors=None if self.vectors is None else self.vectors[at],
                hidden=self._hidden(rows),
            )

    def _read(self, rows: Tensor) -> TokenBatch:
        return self._tokens.take(rows)

    @cached_property
    def _tokens(self) -> TokenBatch:
        return self.network.encoder.tokenise(self.data.texts)

    def _hidden(self, rows: Ints) -> HiddenStates | None:
        cut = self.network.cut
        texts = [self.data.texts[r] for r in rows]
        return None if cut is None else self.network.encoder.hidden_at(texts, cut)

    @torch.no_grad()
    def logits(self, size: int) -> Floats:
        """(N, C), in the order of the data."""
        parts = [self.network.logits(b) for b in self.batches(np.arange(len(self.data)), size)]
        return np.asarray(torch.cat(parts).cpu().numpy())


def fit(
    shape: Shape,
    training: Training,
    data: Labelled,
    run: RunContext,
    *,
    valid: Labelled | None,
    objective: Objective | None,
    start: TextClassifierModel | None,
) -> TextClassifierModel:
    """Minimise cross-entropy of the labelled texts (or `objective`, which sees the unlabelled
    ones too); stop early and calibrate on `valid`."""
    _check(data, valid)
    if start is not None and start.labels != data.names:
        raise Unsupported(f"start knows the classes {start.labels}, the data has {data.names}")
    torch.manual_seed(derive(run.seed, "weights"))
    encoder = _encoder(shape, training, run)
    vectors = [None, None] if shape.unfreeze else [_vectors(encoder, d) for d in (data, valid)]
    network = _network(shape, encoder, len(data.names))
    if start is not None:
        _go_on_from(start, network)
    _trainable(objective, data, network)
    known = _Texts(data, network, vectors[0])
    held = _Texts(valid, network, vectors[1]) if valid is not None and len(valid) else None
    size = training.batch_size

    def batches(order: np.random.Generator) -> Iterator[TextBatch]:
        return known.batches(order.permutation(len(data)), size)

    judge = judge_of(objective, wanted=training.keep == "robust")

    def validate() -> Mapping[str, float]:
        assert held is not None
        logits, labels = torch.from_numpy(held.logits(size)), torch.from_numpy(held.data.labels)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        right = (logits.argmax(1) == labels).float().mean()
        row = {"log_likelihood": -float(loss), "accuracy": float(right)}
        if judge is None:
            return row
        first = held.batches(np.arange(min(_ATTACKED, len(held.data))), size)
        return row | robust_row(judge, network, first, _judged_at(objective, network), run.seed)

    train(
        network,
        batches,
        steps=-(-len(data) // size),
        options=training,
        objective=objective,
        validate=validate if held else None,
        stop=AnyOf(tuple(getattr(objective, "stop", ()))),
        run=run,
        fingerprint=_fingerprint(shape, training, data, run, encoder, objective, start),
    )
    found = Calibration() if held is None else fit_temperature(held.logits(size), held.data.labels)
    return TextClassifierModel(_settled(network), data.names, found)


def check(
    shape: Shape, training: Training, objective: Objective, data: Labelled, run: RunContext
) -> None:
    """Raises `Unsupported` where `fit` would refuse the objective."""
    _trainable(objective, data, _network(shape, _encoder(shape, training, run), len(data.names)))


def _trainable(objective: Objective | None, data: Labelled, network: TextNetwork) -> None:
    check_objective(objective, network)
    if len(data.labelled) < len(data):
        check_unlabelled(objective)


def _judged_at(objective: Objective | None, network: TextNetwork) -> Site:
    """The objective's own site; one that perturbs no texts may name another model's."""
    site: Site = getattr(objective, "site", "text-vectors")
    return site if site in network.sites else "text-vectors"


def restore(
    shape: Shape,
    training: Training,
    arrays: Mapping[str, NDArray[Any]],
    labels: Sequence[str],
    run: RunContext,
) -> TextClassifierModel:
    """Raises BundleError when an array is missing or does not fit the spec."""
    if "calibration" not in arrays:
        raise BundleError("text-classifier: the array 'calibration' is missing")
    temperature, before, after, n = (float(v) for v in arrays["calibration"])
    encoder = _encoder(shape, training, run)
    try:
        tuned = _under("encoder", arrays)
        encoder = encoder.tuned(tuned) if tuned else encoder
    except Unsupported as error:
        raise BundleError(f"text-classifier: {error}") from error
    network = _network(shape, encoder, len(labels))
    if set(_under("encoder", arrays)) != set(network.learned):
        raise BundleError("text-classifier: the arrays are of another choice of layers")
    _load_head(network, arrays)
    calibration = Calibration(temperature=temperature, ece_before=before, ece_after=after, n=int(n))
    network.encoder.unfreeze(0)
    return TextClassifierModel(network, tuple(labels), calibration)


def _check(data: Labelled, valid: Labelled | None) -> None:
    if lacking := set(range(len(data.names))) - set(data.labels.tolist()):
        names = ", ".join(data.names[c] for c in sorted(lacking))
        raise DataError(f"no training text of class {names}", remedy="label some, or leave it out")
    if valid is not None and valid.names != data.names:
        raise DataError(f"validation has classes {valid.names}, training {data.names}")
    if valid is not None and len(valid.labelled) < len(valid):
        raise DataError("validation has unlabelled texts", remedy="take its labelled ones")


def _encoder(shape: Shape, training: Training, run: RunContext) -> TextEncoder:
    precision: Precision = "bf16" if half_is_faster(training.precision) else "fp32"
    return load_encoder(shape.encoder, max_tokens=shape.max_tokens, run=run, precision=precision)


def _vectors(encoder: TextEncoder, data: Labelled | None) -> Tensor | None:
    if data is None:
        return None
    return torch.from_numpy(encoder.encode(data.texts)).to(encoder.device)


def _network(shape: Shape, encoder: TextEncoder, classes: int) -> TextNetwork:
    head = head_of(encoder.size, shape.hidden, classes, shape.dropout)
    return TextNetwork(encoder, head.to(encoder.device), shape.unfreeze)


def _settled(network: TextNetwork) -> TextNetwork:
    """The same on an encoder whose weights, and so its digest, are the learned ones."""
    if network.unfreeze:
        return network.on(network.encoder.tuned(network.encoder.arrays(network.learned)))
    return network


def _go_on_from(start: TextClassifierModel, network: TextNetwork) -> None:
    arrays = start.arrays()
    tuned = _under("encoder", arrays)
    if set(tuned) != set(network.learned):
        raise Unsupported("the first model was trained with another `unfreeze`")
    # In place: what is cached of the layers below the cut stays true.
    parameters = dict(network.encoder.module.named_parameters())
    with torch.no_grad():
        for name, value in tuned.items():
            parameters[name].copy_(torch.from_numpy(value))
    _load_head(network, arrays)


def _load_head(network: TextNetwork, arrays: Mapping[str, NDArray[Any]]) -> None:
    weights = {k: torch.from_numpy(np.array(v)) for k, v in _under("head", arrays).items()}
    try:
        network.head.load_state_dict(weights)
    except RuntimeError as error:
        raise BundleError(f"text-classifier: the arrays do not fit the spec: {error}") from error


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    start = prefix + "/"
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def _fingerprint(
    shape: Shape,
    training: Training,
    data: Labelled,
    run: RunContext,
    encoder: TextEncoder,
    objective: Objective | None,
    start: TextClassifierModel | None,
) -> str:
    begun = [v.tobytes() for _, v in sorted(start.arrays().items())] if start else []
    about = repr((shape, training, run.seed, objective, encoder.digest))
    return digest_bytes(about.encode(), data.fingerprint.encode(), *begun)
