"""From a text encoder to an ONNX graph: exported, compared with the original, and quantised.

    input_ids (n, t) int64, attention_mask (n, t) int64  ->  vectors (n, D) float32, unit length

Pooling and normalisation are inside, so that another serving stack needs the tokenizer and
this file, nothing else.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hardrank.encoders.encoder import TextEncoder, TokenBatch
from hardrank.errors import MissingExtra, Unsupported
from hardrank.types import Floats

__all__ = [
    "INPUTS",
    "OUTPUT",
    "Form",
    "exported",
    "feed",
    "library",
    "opened",
    "quantised",
    "run_graph",
    "started",
]

Form = Literal["fp32", "int8"]
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "vectors"

_OPSET = 17
_FAR = -1e9
"""Added to the attention scores of padding: zero after the softmax."""
_AGREE = 1e-4
"""Largest difference to the original in an entry of a unit vector."""
_LARGE = 1 << 20
"""Entries of a table from which it is stored as int8."""


class _Whole(nn.Module):
    """Ids and mask in, unit vectors out.

    The mask is made additive here, (n, 1, t, t): left to itself, the transformer asks at
    export whether anything is padded, and the answer is baked into the graph.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.module, self._pool = encoder.module, encoder.pool

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = (1.0 - mask.to(torch.float32))[:, None, None, :] * _FAR
        hidden = hidden.expand(-1, 1, ids.shape[1], -1)
        states = self.module(input_ids=ids, attention_mask=hidden).last_hidden_state
        return self._pool(states, mask)


def exported(encoder: TextEncoder) -> bytes:
    """The encoder as it stands (its own weights, tuned or not) as an fp32 graph.

    Raises `Unsupported` for an architecture whose graph does not give the same vectors as
    the original, to 1e-4, for texts of other lengths and batches than the example's.
    """
    example = _tokens(encoder, ((7, 3), (1, 7)))
    with _folder() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns of shape checks that hold for all
        path = folder / "fp32.onnx"
        try:
            torch.onnx.export(
                _Whole(encoder).eval(),
                (example.ids, example.mask.long()),
                path,
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_axes={
                    n: {0: "n", 1: "t"} if n in INPUTS else {0: "n"} for n in (*INPUTS, OUTPUT)
                },
                opset_version=_OPSET,
                dynamo=False,
            )
        except Exception as error:  # whatever the tracer meets in somebody's architecture
            raise Unsupported(f"this encoder cannot be exported to ONNX: {error}") from error
        graph = path.read_bytes()
    _compare(encoder, graph)
    return graph


def quantised(graph: bytes) -> bytes:
    """Weights as int8: matrices with a scale for each output channel, large tables with one
    for each row. What flows through is quantised on the fly, by the range of each call.

    Raises `MissingExtra` without onnx.
    """
    onnx = library()
    from onnxruntime import quantization
    from onnxruntime.quantization import quant_utils

    model = onnx.load_model_from_string(graph)
    _tables_by_row(model)
    # Its advice to fold constants before was followed at export.
    quant_utils.add_pre_process_metadata(model)
    with _folder() as folder:
        path = folder / "int8.onnx"
        quantization.quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )
        return path.read_bytes()


def library() -> Any:
    """The package that edits graphs; running one needs onnxruntime alone. Raises
    `MissingExtra`."""
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "onnx") from None
    return onnx


def opened(graph: bytes, *, threads: int | None = None) -> Any:
    """A session of onnxruntime on the CPU. threads: None for as many as torch has.

    Raises `MissingExtra`, and `Unsupported` for bytes that are no such graph.
    """
    session = started(graph, threads=threads)
    names = tuple(node.name for node in session.get_inputs())
    if names != INPUTS or [node.name for node in session.get_outputs()] != [OUTPUT]:
        raise Unsupported(f"the graph reads {names}, not {INPUTS}")
    return session


def started(graph: bytes, *, threads: int | None = None) -> Any:
    """The same for a graph with any outputs."""
    _whole(graph)
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra("onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # planned anew for every length
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for each status, none exported
        raise Unsupported(f"not an ONNX graph that runs here: {error}") from error
    return session


def _whole(graph: bytes) -> None:
    """No digest covers a file beside the graph, and onnxruntime would read one of any name
    from the folder that the program was started in. Such a file is named under the key
    `location`, which no way of encoding the graph can hide."""
    if b"location" in graph:
        raise Unsupported("the graph keeps weights in another file; store them inside it")
    if graph[4:8] == b"ORTM":
        raise Unsupported("the graph is in a format of onnxruntime's own; give it as ONNX")


def feed(batch: TokenBatch) -> dict[str, Any]:
    """What a graph reads, by name."""
    ids, mask = batch.ids.cpu().numpy(), batch.mask.cpu().numpy().astype(np.int64)
    return dict(zip(INPUTS, (ids, mask), strict=True))


def run_graph(session: Any, batch: TokenBatch) -> Floats:
    """(N, D)."""
    (vectors,) = session.run([OUTPUT], feed(batch))
    return np.asarray(vectors, dtype=np.float32)


def _compare(encoder: TextEncoder, graph: bytes) -> None:
    session, longest = opened(graph), encoder.max_tokens
    for lengths in ((longest,), (1,), (2, 5, min(11, longest)), (longest, 1)):
        wide = max(lengths)
        batch = _tokens(encoder, tuple((wide, min(n, wide)) for n in lengths))
        with torch.no_grad():
            embeds = encoder.token_embeddings(batch.ids)
            wanted = encoder.from_embeddings(embeds, batch.mask).numpy()
        if not np.abs(run_graph(session, batch) - wanted).max() < _AGREE:
            raise Unsupported(
                f"{type(encoder.module).__name__}: its ONNX graph gives other vectors;"
                " serve this encoder by torch"
            )


def _tokens(encoder: TextEncoder, shapes: tuple[tuple[int, int], ...]) -> TokenBatch:
    """One row of arbitrary ids for each (width, length)."""
    width = min(max(w for w, _ in shapes), encoder.max_tokens)
    size = len(encoder.vocabulary_embeddings)
    numbers = torch.arange(len(shapes) * width).reshape(len(shapes), width)
    mask = torch.arange(width) < torch.tensor([[min(n, width)] for _, n in shapes])
    return TokenBatch(((numbers * 7919 + 5) % size).to(encoder.device), mask.to(encoder.device))


def _tables_by_row(model: Any) -> None:
    """Replace each large embedding table by int8 rows and their scales:
    Gather(table, ids) -> Cast(Gather(rows, ids)) * Gather(scales, ids)."""
    onnx = library()
    kinds, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper
    graph = model.graph
    tables = {
        t.name: t
        for t in graph.initializer
        if t.data_type == kinds.FLOAT and len(t.dims) == 2 and t.dims[0] * t.dims[1] > _LARGE
    }
    nodes = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in tables:
            nodes.append(node)
            continue
        name, ids = node.input
        stem = f"{name}/{node.name}"
        nodes += [
            helper.make_node("Gather", [f"{name}/rows", ids], [f"{stem}/rows"], f"{stem}/g"),
            helper.make_node(
                "Cast", [f"{stem}/rows"], [f"{stem}/wide"], f"{stem}/c", to=kinds.FLOAT
            ),
            helper.make_node("Gather", [f"{name}/scales", ids], [f"{stem}/scale"], f"{stem}/s"),
            helper.make_node("Mul", [f"{stem}/wide", f"{stem}/scale"], node.output, f"{stem}/m"),
        ]
    read = {name for node in nodes for name in node.input}
    used = [t for name, t in tables.items() if f"{name}/rows" in read]
    for table in used:
        values = numpy_helper.to_array(table)
        scales = np.abs(values).max(axis=1, keepdims=True) / np.float32(127)
        rows = np.rint(values / np.where(scales > 0, scales, 1)).astype(np.int8)
        graph.initializer.append(numpy_helper.from_array(rows, f"{table.name}/rows"))
        graph.initializer.append(
            numpy_helper.from_array(scales.astype(np.float32), f"{table.name}/scales")
        )
        if table.name not in read:
            graph.initializer.remove(table)
    del graph.node[:]
    graph.node.extend(nodes)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    import tempfile

    quiet = logging.getLogger()
    level = quiet.level
    quiet.setLevel(logging.ERROR)  # the quantiser speaks to the root logger
    try:
        with tempfile.TemporaryDirectory(prefix="hardrank-onnx-") as name:
            yield Path(name)
    finally:
        quiet.setLevel(level)
