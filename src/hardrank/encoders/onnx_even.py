"""Even channels before quantisation: what flows through is divided, the weights multiplied.

Xiao et al., "SmoothQuant", ICML 2023, arXiv:2211.10438, section 4:

    X W = (X / s) (s W),    s_j = max|X_j|^a / max|W_j|^(1 - a)

A few channels of a transformer are many times larger than the rest; one range for all of
them leaves the rest few of the 256 steps. Ours divides in the graph, at every matrix, where
the paper folds it into the norm before: so it reaches the second matrix of the feed-forward
block, too, which stands behind a GELU and loses most. a = 0.8 instead of the paper's 0.5,
as weights have a range for each channel here and activations one for all.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from hardrank.encoders.encoder import TokenBatch
from hardrank.encoders.onnx_graph import feed, library, started

__all__ = ["evened"]

_SHARE = 0.8
_LEAST = 1e-5
"""Ranges below it are taken for this: a channel that is never used."""


def evened(graph: bytes, examples: Iterable[TokenBatch]) -> bytes:
    """The same function with even channels, by what the examples send through them. Raises
    `MissingExtra` without onnx."""
    onnx = library()
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    model = onnx.load_model_from_string(graph)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    uses = Counter(name for node in model.graph.node for name in node.input)
    matrices = [  # one that layers share has no scale that is right for all
        n for n in model.graph.node
        if n.op_type == "MatMul" and n.input[1] in constants and uses[n.input[1]] == 1
    ]  # fmt: skip
    own_names = {n.input[1] for n in matrices}
    ranges = _ranges(graph, sorted({node.input[0] for node in matrices}), examples)
    divided: dict[str, Any] = {}
    for name, reach in ranges.items():
        own = [constants[node.input[1]] for node in matrices if node.input[0] == name]
        weights = [numpy_helper.to_array(tensor) for tensor in own]
        most = np.max([np.abs(w).max(axis=1) for w in weights], axis=0)
        scale = np.maximum(reach, _LEAST) ** _SHARE / np.maximum(most, _LEAST) ** (1 - _SHARE)
        for tensor, w in zip(own, weights, strict=True):
            made = (w * scale[:, None]).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(made, tensor.name))
        inverse = numpy_helper.from_array((1 / scale).astype(np.float32), f"{name}/inverse")
        model.graph.initializer.append(inverse)
        divided[name] = helper.make_node("Mul", [name, inverse.name], [f"{name}/even"])
    nodes = []
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in own_names:
            if (division := divided.pop(node.input[0], None)) is not None:
                nodes.append(division)
            node.input[0] = f"{node.input[0]}/even"
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return bytes(model.SerializeToString())


def _ranges(graph: bytes, names: list[str], examples: Iterable[TokenBatch]) -> dict[str, Any]:
    """(K,) largest absolute value of each channel of each of these."""
    onnx = library()
    model = onnx.load_model_from_string(graph)
    for name in names:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    session = started(model.SerializeToString())
    out: dict[str, Any] = {}
    for batch in examples:
        found = session.run(names, feed(batch))
        for name, value in zip(names, found, strict=True):
            reach = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
            out[name] = np.maximum(out.get(name, reach), reach)
    return out
