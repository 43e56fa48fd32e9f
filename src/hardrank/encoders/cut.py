"""A transformer cut between two layers, without knowing its architecture.

`Cut(module, k)` has two views of one module that share its weights: `below` gives the
states that enter layer k, `above` goes on from such states to the end. Each is the module's
own forward with some layers replaced by stand-ins, so masks, positions and final norms are
the architecture's own. The cut is tried once on random states and refused if both halves
together differ from the whole.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from hardrank.errors import Unsupported

__all__ = ["Cut", "layers_of"]

_AGREE = 1e-4
"""Largest difference of a probe's outputs, whose entries are of the order of 1."""


def layers_of(module: nn.Module) -> tuple[str, nn.ModuleList]:
    """Path and list of the L transformer layers. Raises `Unsupported` if there is none."""
    count = int(getattr(module.config, "num_hidden_layers", 0))
    for path, child in module.named_modules():
        if isinstance(child, nn.ModuleList) and len(child) == count:
            return path, child
    raise Unsupported(
        f"{type(module).__name__} keeps no list of its {count} layers (it may share their"
        " weights); freeze it (unfreeze = 0) or train it whole (unfreeze = -1)"
    )


class Cut:
    """Both halves of `module` at layer k, 0 <= k < L. Raises `Unsupported`."""

    def __init__(self, module: nn.Module, layer: int) -> None:
        path, layers = layers_of(module)
        if not 0 <= layer < len(layers):
            raise Unsupported(f"cut at layer {layer}: must be in 0..{len(layers) - 1}")
        width = _width(module, layers[0])
        self._states = _Holder()
        self._caught = _Holder()
        self._below = _with_layers(
            module,
            path,
            [*layers[:layer], *(_Catch(m, self._caught, width) for m in layers[layer:])],
        )
        self._above = _with_layers(
            module,
            path,
            [
                *(_Hand(m, self._states, width) for m in layers[:layer]),
                _Start(layers[layer], self._states),
                *layers[layer + 1 :],
            ],
        )
        self._embedding = module.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
        self._try(module)

    def below(self, embeds: Tensor, mask: Tensor | None) -> Tensor:
        """(N, T, D) states that enter layer k. embeds: (N, T, E), mask: (N, T)
        or None where nothing is padding."""
        self._below(inputs_embeds=embeds, attention_mask=mask)
        return self._caught.take()

    def above(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """(N, T, D) last states, going on from `states` (N, T, D)."""
        blank = states.new_zeros(()).expand(*states.shape[:2], self._embedding)
        self._states.value = states
        try:
            out: Tensor = self._above(inputs_embeds=blank, attention_mask=mask).last_hidden_state
        finally:
            self._states.value = None
        return out

    def _try(self, module: nn.Module) -> None:
        weight = next(module.parameters())
        generator = torch.Generator().manual_seed(0)
        embeds = torch.randn(2, 5, self._embedding, generator=generator)
        embeds = embeds.to(weight.device, weight.dtype)
        mask = torch.ones(2, 5, dtype=torch.long, device=weight.device)
        mask[1, 3:] = 0
        with torch.no_grad():
            whole = module(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
            halves = self.above(self.below(embeds, mask), mask)
        if not float((whole - halves)[mask.bool()].abs().max()) < _AGREE:
            raise Unsupported(f"{type(module).__name__} cannot be cut between layers")


class _Holder:
    value: Tensor | None = None

    def take(self) -> Tensor:
        value, self.value = self.value, None
        assert value is not None
        return value


class _StandIn(nn.Module):
    """Takes a layer's place and answers for its attributes (models read some of them)."""

    def __init__(self, layer: nn.Module, holder: _Holder, width: int) -> None:
        super().__init__()
        # In a tuple, so that the layer is not a submodule of its stand-in.
        self._layer, self._holder, self._width = (layer,), holder, width

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._layer[0], name)

    def _shaped(self, states: Tensor) -> Any:
        return (states, *(None for _ in range(self._width - 1))) if self._width else states


class _Catch(_StandIn):
    """Keeps the states that reach it first and computes nothing."""

    def forward(self, states: Tensor, *_: Any, **__: Any) -> Any:
        if self._holder.value is None:
            self._holder.value = states
        return self._shaped(states)


class _Hand(_StandIn):
    def forward(self, states: Tensor, *_: Any, **__: Any) -> Any:
        return self._shaped(states)


class _Start(nn.Module):
    """The first layer above the cut: reads the given states, not what arrives."""

    def __init__(self, layer: nn.Module, holder: _Holder) -> None:
        super().__init__()
        self.layer, self._holder = layer, holder

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, _: Tensor, *args: Any, **named: Any) -> Any:
        assert self._holder.value is not None
        return self.layer(self._holder.value, *args, **named)


def _width(module: nn.Module, layer: nn.Module) -> int:
    """Length of the tuple a layer returns; 0 where it returns a tensor."""
    seen: list[Any] = []
    handle = layer.register_forward_hook(lambda _, __, out: seen.append(out))
    weight = next(module.parameters())
    size = module.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
    try:
        with torch.no_grad():
            module(
                inputs_embeds=weight.new_zeros(1, 1, int(size)),
                attention_mask=torch.ones(1, 1, dtype=torch.long, device=weight.device),
            )
    finally:
        handle.remove()
    return len(seen[0]) if isinstance(seen[0], tuple) else 0


def _with_layers(module: nn.Module, path: str, layers: list[nn.Module]) -> nn.Module:
    """A view of `module` whose containers on the way to `path` are copied and nothing else."""
    view = _shallow(module)
    parent = view
    *way, last = path.split(".")
    for name in way:
        child = _shallow(parent.get_submodule(name))
        parent._modules[name] = child
        parent = child
    parent._modules[last] = nn.ModuleList(layers)
    return view


def _shallow(module: nn.Module) -> nn.Module:
    """Shares parameters and buffers (their very dictionaries); has submodules of its own."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin
