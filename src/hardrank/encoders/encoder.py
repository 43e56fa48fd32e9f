"""A text encoder: texts in, unit vectors out, differentiable at three depths.

    texts --tokenise--> ids --token_embeddings--> (N, T, D) --from_embeddings--> (N, D)
    texts --hidden_at(layer)--> (N, T, D), cached          --from_hidden------> (N, D)
    texts --encode--> (N, D), cached

Vectors are pooled over tokens as the encoder's folder says (mean unless it does) and scaled
to length 1. The encoder stays in evaluation mode (no dropout) unless a caller changes it.

A text's vector depends on its batch companions through the order of floating-point sums: by
less than 1e-5 in each entry (fp32). The value computed first is cached and is the one used
from then on; batches are put together by (token count, text), so that equal calls on an
equal cache give equal bits.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hardrank.context import RunContext
from hardrank.encoders.cache import Store, key_of, open_store
from hardrank.encoders.cut import Cut, layers_of
from hardrank.encoders.words import WordAlignment, align
from hardrank.errors import Unsupported
from hardrank.files import digest_bytes
from hardrank.types import Floats

__all__ = ["HiddenStates", "Pooling", "Precision", "TextEncoder", "TokenBatch"]

Pooling = Literal["mean", "cls", "lasttoken"]
Precision = Literal["fp32", "bf16"]

_BATCH_TOKENS = 2048
"""Tokens of a batch with its padding: large enough for the matrix products, small enough
for the activations to stay near the processor."""
_STRETCH = 1.1
"""Longest over shortest text of a batch: bounds the work spent on padding."""
_ENOUGH = 512
"""Tokens from which a batch takes no longer text: without padding it needs no mask, and
attention is then much faster."""
_FLUSH = 64 * 2**20
"""Bytes after which what was encoded so far is written, so that a killed run resumes."""


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """N texts as token ids, padded right."""

    ids: Tensor
    """(N, T) int64"""
    mask: Tensor
    """(N, T) bool, True where there is a token."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Tensor) -> "TokenBatch":
        """The texts at `rows`, without the columns that only padding is left in."""
        mask = self.mask[rows]
        width = int(mask.sum(1).max()) if len(mask) else 0
        return TokenBatch(self.ids[rows][:, :width], mask[:, :width])


@dataclass(frozen=True, eq=False)
class HiddenStates:
    """States that enter a layer, padded right with zeros."""

    states: Tensor
    """(N, T, D) float32"""
    mask: Tensor
    """(N, T) bool"""

    def take(self, rows: Tensor) -> "HiddenStates":
        mask = self.mask[rows]
        width = int(mask.sum(1).max()) if len(mask) else 0
        return HiddenStates(self.states[rows][:, :width], mask[:, :width])


class TextEncoder:
    """Built by `load_encoder`. The module's parameters ask for no gradient until `unfreeze`."""

    differentiable = True
    """Whether vectors have gradients; see `OnnxEncoder`, whose have none."""

    def __init__(
        self,
        module: nn.Module,
        tokenizer: Any,
        *,
        pooling: Pooling,
        precision: Precision,
        max_tokens: int,
        digest: str,
        folder: Path | None,
        run: RunContext,
    ) -> None:
        """`folder` None caches in memory only. `digest` names weights, tokenizer, pooling,
        precision and length: all that a vector depends on."""
        self.module, self.tokenizer = module.eval().requires_grad_(False), tokenizer
        self.pooling, self.precision, self.max_tokens = pooling, precision, max_tokens
        self.digest, self._folder, self._run = digest, folder, run
        self.size = int(module.config.hidden_size)  # type: ignore[union-attr,arg-type]
        self.layers = int(module.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]
        self._cuts: dict[int, Cut] = {}
        self._stores: dict[int | None, Store] = {}

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    # Texts to vectors

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> Floats:
        """(N, D), each row of length 1. Each distinct text is encoded once and cached.

        keep: False for passing texts (an attack's candidates), which are looked up in the
        cache but, when new, remembered in memory only.
        """
        # After training in place the cache would answer for the old weights.
        assert not any(p.requires_grad for p in self.module.parameters()), (
            "encode() reads the cache: take the trained encoder from tuned(arrays())"
        )
        texts = [_legal(t) for t in texts]
        store = self._store(None)
        self._fill(store, texts, self._vectors, keep=keep, what="encoding texts")
        if not texts:
            return np.zeros((0, self.size), dtype=np.float32)
        return np.concatenate([store.get(key_of(t)) for t in texts])

    def hidden_at(self, texts: Sequence[str], layer: int, *, keep: bool = True) -> HiddenStates:
        """The states that enter `layer` (0 is the first), cached like vectors, as float32:
        4 T D bytes a text. Raises `Unsupported` for a module that cannot be cut there."""
        self.warm(texts, layer, keep=keep)
        store = self._store(layer)
        found = [store.get(key_of(_legal(t))) for t in texts]
        width = max(map(len, found), default=0)
        padded = np.zeros((len(found), width, self.size), dtype=np.float32)
        mask = np.zeros((len(found), width), dtype=bool)
        for row, value in enumerate(found):
            padded[row, : len(value)] = value
            mask[row, : len(value)] = True
        return HiddenStates(
            torch.from_numpy(padded).to(self.device), torch.from_numpy(mask).to(self.device)
        )

    def warm(self, texts: Sequence[str], layer: int, *, keep: bool = True) -> None:
        """Fill the cache of `hidden_at`, without holding the states of all texts at once."""
        cut = self._cut(layer)

        def states(batch: TokenBatch) -> list[Floats]:
            embeds = self.token_embeddings(batch.ids)
            with self._cast():
                out = cut.below(embeds, _needed(batch.mask)).float()
            # Copies: views would keep the padding alive.
            pairs = zip(_numpy(out), batch.mask.sum(1), strict=True)
            return [row[: int(n)].copy() for row, n in pairs]

        legal = [_legal(t) for t in texts]
        self._fill(self._store(layer), legal, states, keep=keep, what=f"encoding to layer {layer}")

    # Differentiable parts

    def tokenise(self, texts: Sequence[str]) -> TokenBatch:
        """(N, T) ids of at most `max_tokens` tokens; an empty text has at least one token."""
        return self._padded(self._ids([_legal(t) for t in texts]))

    def token_embeddings(self, ids: Tensor) -> Tensor:
        """(N, T, E) word embeddings, before positions are added."""
        out: Tensor = self.module.get_input_embeddings()(ids)  # type: ignore[operator]
        return out

    def from_embeddings(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """(N, D) unit vectors. embeds: (N, T, E), mask: (N, T)."""
        with self._cast():
            out = self.module(inputs_embeds=embeds, attention_mask=_needed(mask))
        return self.pool(out.last_hidden_state, mask)

    def from_hidden(self, states: Tensor, mask: Tensor, layer: int) -> Tensor:
        """(N, D) unit vectors, going on from the states that enter `layer`."""
        cut = self._cut(layer)
        with self._cast():
            out = cut.above(states, _needed(mask))
        return self.pool(out, mask)

    def unfreeze(self, layers: int) -> list[nn.Parameter]:
        """Let the top `layers` layers (and any norm after them) learn; -1 for everything, 0
        for nothing. Returns their parameters. Call `encode` before, or on `tuned` after.
        Raises `Unsupported` beyond what there is."""
        self.module.requires_grad_(False)
        if layers == 0:
            return []
        if layers != -1:
            path, stack = layers_of(self.module)
            if not 0 < layers <= len(stack):
                raise Unsupported(f"unfreeze = {layers}: the encoder has {len(stack)} layers")
            above = {id(p) for m in _after(self.module, path) for p in m.parameters()}
            above |= {id(p) for m in stack[len(stack) - layers :] for p in m.parameters()}
        chosen = [p for p in self.module.parameters() if layers == -1 or id(p) in above]
        for parameter in chosen:
            parameter.requires_grad_(True)
        return chosen

    # Words

    def words(self, text: str) -> WordAlignment:
        """Words of `text` and the positions of their tokens in `tokenise([text])`."""
        text = _legal(text)
        if not self.tokenizer.is_fast:
            raise Unsupported("this tokenizer does not say where its tokens lie in the text")
        found = self._call([text], return_offsets_mapping=True)
        return align(text, found["offset_mapping"][0])

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """(V,) tokens as the tokenizer spells them, by id: rows of `vocabulary_embeddings`."""
        count = len(self.vocabulary_embeddings)
        return tuple(
            token if token is not None else ""
            for token in self.tokenizer.convert_ids_to_tokens(
                [i if i < len(self.tokenizer) else 0 for i in range(count)]
            )
        )

    @property
    def vocabulary_embeddings(self) -> Tensor:
        """(V, E)"""
        weight: Tensor = self.module.get_input_embeddings().weight  # type: ignore[operator]
        return weight.detach()

    # Trained weights

    def arrays(self, only: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """The module's weights by name (of the names in `only`, if given)."""
        state = self.module.state_dict()
        return {name: _numpy(state[name]).copy() for name in (state if only is None else only)}

    def stored(self, learned: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
        """What a trained model keeps of its encoder: the weights of the names in `learned`,
        as `encoder/...`; the rest is loaded by the encoder's name."""
        found = self.arrays(learned) if learned else {}
        return {f"encoder/{name}": value for name, value in found.items()}

    def tuned(self, arrays: Mapping[str, NDArray[Any]]) -> "TextEncoder":
        """An encoder whose weights of these names are `arrays`. It has a digest of its own
        and caches in memory only, as training makes one such encoder after another.
        Raises `Unsupported` for a name it does not have or a shape that differs."""
        module = copy.deepcopy(self.module)
        state = module.state_dict()
        for name, value in arrays.items():
            if name not in state or tuple(state[name].shape) != value.shape:
                raise Unsupported(f"the encoder has no weight '{name}' of shape {value.shape}")
            state[name].copy_(torch.from_numpy(np.array(value)))
        parts = [p for n in sorted(arrays) for p in (n.encode(), arrays[n].tobytes())]
        return TextEncoder(
            module,
            self.tokenizer,
            pooling=self.pooling,
            precision=self.precision,
            max_tokens=self.max_tokens,
            digest=digest_bytes(self.digest.encode(), *parts),
            folder=None,
            run=self._run,
        )

    # Inside

    def _store(self, layer: int | None) -> Store:
        if layer not in self._stores:
            if self._folder is None:
                self._stores[layer] = Store(None, self.size)
            else:
                folder = self._folder / self.digest
                folder = folder if layer is None else folder / f"layer-{layer}"
                self._stores[layer] = open_store(folder, self.size)
        return self._stores[layer]

    def _cut(self, layer: int) -> Cut:
        if layer not in self._cuts:
            self._cuts[layer] = Cut(self.module, layer)
        return self._cuts[layer]

    def _vectors(self, batch: TokenBatch) -> list[Floats]:
        embeds = self.token_embeddings(batch.ids)
        return list(_numpy(self.from_embeddings(embeds, batch.mask))[:, None, :])

    def _fill(
        self,
        store: Store,
        texts: Sequence[str],
        compute: Callable[[TokenBatch], list[Floats]],
        *,
        keep: bool,
        what: str,
    ) -> None:
        """Put what `store` lacks into it."""
        missing = sorted({t for t in texts if key_of(t) not in store})
        if not missing:
            return
        put = store.put if keep else store.pass_by
        keys: list[bytes] = []
        values: list[Floats] = []
        held = 0
        batches = list(self._batches(missing))
        with torch.inference_mode():
            for names, ids in self._run.track(batches, what):
                batch = self._padded(ids)
                values += compute(batch)
                keys += [key_of(t) for t in names]
                held += sum(v.nbytes for v in values[-len(names) :])
                if held >= _FLUSH:
                    put(keys, values)
                    keys, values, held = [], [], 0
        put(keys, values)

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[str], list[list[int]]]]:
        """Texts and their ids, in batches of about equal length."""
        rows = sorted(zip(map(len, ids := self._ids(texts)), texts, ids, strict=True))
        start = 0
        for end in range(1, len(rows) + 1):
            if end < len(rows):
                shortest, last, longest = rows[start][0], rows[end - 1][0], rows[end][0]
                count = end - start
                fits = (count + 1) * longest <= _BATCH_TOKENS
                near = longest <= max(shortest * _STRETCH, shortest + 1)
                if fits and near and (longest == last or count * last < _ENOUGH):
                    continue
            yield [r[1] for r in rows[start:end]], [r[2] for r in rows[start:end]]
            start = end

    def _call(self, texts: Sequence[str], **options: bool) -> Any:
        return self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.max_tokens,
            padding=False,
            return_token_type_ids=False,
            return_attention_mask=False,
            **options,
        )

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        found: list[list[int]] = self._call(texts)["input_ids"]
        return [ids or [self._blank] for ids in found]

    @cached_property
    def _blank(self) -> int:
        """What an empty text reads as where the tokenizer adds no marks of its own."""
        t = self.tokenizer
        known = (t.eos_token_id, t.bos_token_id, t.unk_token_id, t.pad_token_id, 0)
        return next(i for i in known if i is not None)

    def _padded(self, ids: list[list[int]]) -> TokenBatch:
        width = max(map(len, ids), default=0)
        pad = self.tokenizer.pad_token_id or 0
        out = np.full((len(ids), width), pad, dtype=np.int64)
        mask = np.zeros((len(ids), width), dtype=bool)
        for row, some in enumerate(ids):
            out[row, : len(some)] = some
            mask[row, : len(some)] = True
        return TokenBatch(
            torch.from_numpy(out).to(self.device), torch.from_numpy(mask).to(self.device)
        )

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """(N, D) unit vectors from last states (N, T, D)."""
        states = states.float()
        if self.pooling == "cls":
            pooled = states[:, 0]
        elif self.pooling == "lasttoken":
            last = mask.long().sum(1) - 1
            pooled = states[torch.arange(len(states), device=states.device), last]
        else:
            weights = mask.unsqueeze(-1).to(states.dtype)
            pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        return nn.functional.normalize(pooled, dim=1)

    def _cast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def _needed(mask: Tensor) -> Tensor | None:
    """What attention has to be told: nothing where there is no padding."""
    return None if bool(mask.all()) else mask.long()


def _legal(text: str) -> str:
    """Half a surrogate pair is no character; it is read as a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _numpy(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def _after(module: nn.Module, path: str) -> Iterator[nn.Module]:
    """Modules registered after the layers beside them: final norms and projections."""
    way = path.split(".")
    for depth in range(len(way)):
        parent = module.get_submodule(".".join(way[:depth])) if depth else module
        names = list(parent._modules)
        for name in names[names.index(way[depth]) + 1 :]:
            child = parent._modules[name]
            if child is not None and not _is_embedding(child):
                yield child


def _is_embedding(module: nn.Module) -> bool:
    return any(isinstance(m, nn.Embedding) for m in module.modules())
