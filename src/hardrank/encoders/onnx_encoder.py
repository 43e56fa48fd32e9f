"""A text encoder that runs by onnxruntime: vectors as ever, no gradients.

It is made of three arrays, which travel in a bundle with the model that reads through it:

    encoder.onnx       the graph, int8 or fp32
    encoder.tokenizer  the tokenizer's JSON, as UTF-8 bytes
    encoder.settings   form, pooling, sizes and special tokens, as JSON bytes
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hardrank.context import RunContext
from hardrank.encoders.cache import cache_folder
from hardrank.encoders.encoder import HiddenStates, TextEncoder, TokenBatch
from hardrank.encoders.load import load_encoder
from hardrank.encoders.onnx_even import evened
from hardrank.encoders.onnx_graph import Form, exported, opened, quantised, run_graph
from hardrank.encoders.onnx_words import Marks, StoredTokenizer, stored
from hardrank.errors import BundleError, Unsupported
from hardrank.files import digest_bytes
from hardrank.types import Floats

__all__ = ["PARTS", "OnnxEncoder", "compressed", "restored_encoder"]

Arrays = Mapping[str, NDArray[Any]]
_EXAMPLES = 128
PARTS = ("encoder.onnx", "encoder.tokenizer", "encoder.settings")
_REMEDY = (
    "a compressed encoder grants no gradients: attack the bundle that it was made from and"
    " replay the patches on this one (hardrank attack replay), or attack this one by its scores"
)


def compressed(
    encoder: TextEncoder, form: Form = "int8", *, texts: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """The `PARTS` of an encoder, with its weights as they stand.

    texts: of the kind that it will read; some of them say how large each channel grows.
    Raises `Unsupported` for an encoder that is compressed already, or whose graph or
    tokenizer cannot be stored; `MissingExtra` without onnx or onnxruntime.
    """
    if isinstance(encoder, OnnxEncoder):
        raise Unsupported("this encoder is compressed already; compress the bundle it came from")
    graph = exported(encoder)
    text, marks = stored(encoder.tokenizer)
    settings = {
        "form": form, "pooling": encoder.pooling, "max_tokens": encoder.max_tokens,
        "size": encoder.size, "layers": encoder.layers, "marks": marks, "from": encoder.digest,
    }  # fmt: skip
    values = (
        quantised(evened(graph, _examples(encoder, texts))) if form == "int8" else graph,
        text.encode(),
        json.dumps(settings, sort_keys=True).encode(),
    )
    return {n: np.frombuffer(v, dtype=np.uint8) for n, v in zip(PARTS, values, strict=True)}


def _examples(encoder: TextEncoder, texts: Sequence[str]) -> Iterator[TokenBatch]:
    """Some texts from all over the list, one at a time: padding has no say."""
    distinct = sorted(set(texts)) or ["a"]
    return (encoder.tokenise([t]) for t in distinct[:: -(-len(distinct) // _EXAMPLES)])


def restored_encoder(
    arrays: Arrays, name: str, *, max_tokens: int, run: RunContext
) -> tuple[TextEncoder, tuple[str, ...]]:
    """The encoder that a trained model reads through, and the names of the weights that
    training changed: a compressed one if `arrays` hold it, else the one called `name` with
    the weights `encoder/...`. Raises `BundleError` for parts that are no encoder."""
    if PARTS[0] in arrays:
        return OnnxEncoder(arrays, run), ()
    encoder = load_encoder(name, max_tokens=max_tokens, run=run)
    start = "encoder/"
    learned = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
    return encoder.tuned(learned) if learned else encoder, tuple(sorted(learned))


class OnnxEncoder(TextEncoder):
    """Asked for a gradient or a hidden state, it raises `Unsupported`.

    An int8 graph takes the range of what flows through it from the whole call, so a text's
    vector would depend on its companions: such a graph reads one text at a time, and the
    catalogue and a new text agree to the last bit.
    """

    differentiable = False

    def __init__(
        self, arrays: Arrays, run: RunContext, *, threads: int | None = None, keep: bool = True
    ) -> None:
        """keep: False caches in memory only."""
        values = [_bytes(arrays, name) for name in PARTS]
        try:
            told = json.loads(values[2])
            tokenizer = StoredTokenizer(
                values[1].decode(), Marks(**told["marks"]), told["max_tokens"]
            )
            self.form: Form = told["form"]
            self._session = opened(values[0], threads=threads)
            config = SimpleNamespace(hidden_size=told["size"], num_hidden_layers=told["layers"])
            pooling, max_tokens = told["pooling"], told["max_tokens"]
        except (ValueError, KeyError, TypeError, Unsupported) as error:
            raise BundleError(f"the compressed encoder cannot be read: {error}") from error
        nothing = nn.Module()
        nothing.config = config  # type: ignore[assignment]
        super().__init__(
            nothing, tokenizer, pooling=pooling, precision="fp32", max_tokens=max_tokens,
            digest=digest_bytes(*values), folder=_folder(run) if keep else None, run=run,
        )  # fmt: skip
        self._parts = {name: np.asarray(arrays[name]) for name in PARTS}

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def stored(self, learned: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
        return dict(self._parts)

    # What only torch can do

    def warm(self, texts: Sequence[str], layer: int, *, keep: bool = True) -> NoReturn:
        raise Unsupported(f"no hidden states at layer {layer}: {_REMEDY}")

    def hidden_at(self, texts: Sequence[str], layer: int, *, keep: bool = True) -> HiddenStates:
        raise Unsupported(f"no hidden states at layer {layer}: {_REMEDY}")

    def token_embeddings(self, ids: Tensor) -> NoReturn:
        raise Unsupported(_REMEDY)

    def from_embeddings(self, embeds: Tensor, mask: Tensor) -> NoReturn:
        raise Unsupported(_REMEDY)

    def from_hidden(self, states: Tensor, mask: Tensor, layer: int) -> NoReturn:
        raise Unsupported(_REMEDY)

    @property
    def vocabulary_embeddings(self) -> NoReturn:
        raise Unsupported(_REMEDY)

    def unfreeze(self, layers: int) -> list[nn.Parameter]:
        if layers == 0:
            return []
        raise Unsupported("a compressed encoder does not learn: train from the original bundle")

    def arrays(self, only: Sequence[str] | None = None) -> NoReturn:
        raise Unsupported("a compressed encoder keeps no weights by name")

    def tuned(self, arrays: Arrays) -> NoReturn:
        raise Unsupported("a compressed encoder does not learn: train from the original bundle")

    # Inside

    def _vectors(self, batch: TokenBatch) -> list[Floats]:
        return list(run_graph(self._session, batch)[:, None, :])

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[str], list[list[int]]]]:
        for names, ids in super()._batches(texts):
            if self.form == "int8":
                yield from (([n], [i]) for n, i in zip(names, ids, strict=True))
            else:
                yield names, ids


def _bytes(arrays: Arrays, name: str) -> bytes:
    if name not in arrays:
        raise BundleError(f"the compressed encoder lacks '{name}'")
    return np.asarray(arrays[name], dtype=np.uint8).tobytes()


def _folder(run: RunContext) -> Path:
    return cache_folder(run.cache)
