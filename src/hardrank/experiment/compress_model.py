"""A trained recommender with its text encoder exchanged for a compressed one."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from hardrank.bundle import Bundle
from hardrank.context import RunContext
from hardrank.encoders import TextEncoder, compressed
from hardrank.encoders.onnx_graph import Form
from hardrank.errors import Unsupported
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.recommender import Recommender
from hardrank.types import Ints

__all__ = ["compressed_recommender", "readers"]

_INSIDE = ("base", "first", "second")
"""Attributes under which a model holds others, and the prefixes of their arrays."""


def readers(model: Any, prefix: str = "") -> Iterator[tuple[str, SequenceRecommender]]:
    """(prefix of its arrays, model) of every part that reads texts by an encoder."""
    if isinstance(model, SequenceRecommender):
        if model.source is not None:
            yield prefix, model
        return
    for name in _INSIDE:
        if (part := getattr(model, name, None)) is not None:
            yield from readers(part, f"{prefix}{name}/")


def compressed_recommender(bundle: Bundle, form: Form, run: RunContext) -> Recommender:
    """The same model reading by an encoder of that form, its catalogue encoded anew.

    Weights that training changed are the ones that are compressed. Raises `Unsupported` for
    a model without a text encoder and for one that is compressed already.
    """
    found = list(readers(bundle.recommender))
    if not found:
        raise Unsupported(f"{bundle.spec.kind} reads no text by an encoder: nothing to compress")
    arrays = bundle.recommender.arrays()
    made: dict[str, Any] = {}
    for prefix, model in found:
        encoder = _encoder(model)
        arrays = {k: v for k, v in arrays.items() if not k.startswith(f"{prefix}encoder/")}
        if encoder.digest not in made:
            made[encoder.digest] = compressed(encoder, form, texts=model.texts_of(_every(model)))
        arrays |= {f"{prefix}{name}": value for name, value in made[encoder.digest].items()}
    return bundle.spec.restore(arrays, bundle.recommender.items, run)


def _every(model: SequenceRecommender) -> Ints:
    return np.arange(model.items.height, dtype=np.int64)


def _encoder(model: SequenceRecommender) -> TextEncoder:
    assert model.source is not None
    return model.source.encoder
