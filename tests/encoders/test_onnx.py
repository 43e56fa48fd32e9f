"""Encoders by onnxruntime: the same vectors (fp32), nearly the same (int8), no gradients."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hardrank.context import RunContext
from hardrank.encoders import OnnxEncoder, TextEncoder, compressed, load_encoder, restored_encoder
from hardrank.encoders.onnx_graph import exported, opened
from hardrank.errors import BundleError, MissingExtra, Unsupported
from hardrank.testing.encoders import tiny_encoder

VOCABULARY = [
    "good",
    "bad",
    "redish",
    "blue",
    "mug",
    "lamps",
    "for",
    "the",
    "kitchen",
    "cheap",
    "old",
    "new",
    "unknown",
]


def some_texts(n: int, longest: int = 60) -> list[str]:
    """Of 0 to `longest` words, so that some are cut off."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(VOCABULARY, size=rng.integers(0, longest))) for _ in range(n)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    run = RunContext(cache=tmp_path_factory.mktemp("cache"))
    folder = tiny_encoder(tmp_path_factory.mktemp("bert"))
    return load_encoder(str(folder), max_tokens=40, run=run)


@pytest.fixture(scope="module")
def whole(tiny: TextEncoder) -> OnnxEncoder:
    return OnnxEncoder(compressed(tiny, "fp32", texts=[]), RunContext(), keep=False)


@pytest.fixture(scope="module")
def small(tiny: TextEncoder) -> OnnxEncoder:
    parts = compressed(tiny, "int8", texts=some_texts(50))
    return OnnxEncoder(parts, RunContext(), keep=False)


def test_fp32_gives_the_vectors_of_torch(tiny: TextEncoder, whole: OnnxEncoder) -> None:
    """S0-34: ONNX against torch on 100 texts of 0 to 60 words, in batches and alone."""
    texts = some_texts(100)
    np.testing.assert_allclose(whole.encode(texts), tiny.encode(texts), atol=1e-4)
    alone = [whole._vectors(whole.tokenise([text]))[0][0] for text in texts]
    np.testing.assert_allclose(alone, tiny.encode(texts), atol=1e-4)


def test_padding_is_not_read(tiny: TextEncoder, whole: OnnxEncoder) -> None:
    """S0-34: the mask is in the graph, not baked away by the example of the export."""
    texts = ["", "mug", "the cheap old lamp for the kitchen " * 4]
    batch = whole.tokenise(texts)
    assert not batch.mask.all()
    together = np.concatenate(whole._vectors(batch))
    np.testing.assert_allclose(together, tiny.encode(texts), atol=1e-4)
    ids = torch.where(batch.mask, batch.ids, 7)  # other words under the padding
    moved = np.concatenate(whole._vectors(type(batch)(ids, batch.mask)))
    np.testing.assert_allclose(moved, together, atol=1e-6)


def test_int8_is_near_and_does_not_depend_on_companions(
    tiny: TextEncoder, small: OnnxEncoder
) -> None:
    """S3-73: int8 weights by channel; each text is read alone."""
    texts = some_texts(100)
    vectors = small.encode(texts)
    assert (vectors * tiny.encode(texts)).sum(axis=1).mean() > 0.99
    again = OnnxEncoder(small.stored(), RunContext(), keep=False)
    np.testing.assert_array_equal(again.encode(texts[50:51])[0], vectors[50])


def test_weights_that_were_trained_are_the_ones_exported(tiny: TextEncoder) -> None:
    name = "encoder.layer.2.output.dense.weight"
    weight = tiny.arrays([name])[name]
    tuned = tiny.tuned({name: -weight})
    made = OnnxEncoder(compressed(tuned, "fp32", texts=[]), RunContext(), keep=False)
    texts = some_texts(10)
    np.testing.assert_allclose(made.encode(texts), tuned.encode(texts), atol=1e-4)
    assert np.abs(made.encode(texts) - tiny.encode(texts)).max() > 1e-2
    assert made.digest != OnnxEncoder(compressed(tiny, "fp32", texts=[]), RunContext()).digest


def test_words_are_found_without_the_training_library(
    tiny: TextEncoder, small: OnnxEncoder
) -> None:
    for text in some_texts(20):
        assert small.words(text) == tiny.words(text)
        assert torch.equal(small.tokenise([text]).ids, tiny.tokenise([text]).ids)


def test_what_needs_gradients_says_so(small: OnnxEncoder) -> None:
    ids = small.tokenise(["a mug"]).ids
    for ask in (
        lambda: small.token_embeddings(ids),
        lambda: small.hidden_at(["a mug"], 1),
        lambda: small.vocabulary_embeddings,
    ):
        with pytest.raises(Unsupported, match=r"grants no gradients.*replay"):
            ask()
    with pytest.raises(Unsupported, match="does not learn"):
        small.unfreeze(1)
    assert small.unfreeze(0) == []


def test_compressed_twice_is_refused(small: OnnxEncoder) -> None:
    with pytest.raises(Unsupported, match="already"):
        compressed(small, "int8", texts=[])


def test_parts_that_are_no_encoder_are_refused(small: OnnxEncoder) -> None:
    parts = small.stored()
    bad = np.frombuffer(b"not a graph", dtype=np.uint8)
    for name in parts:
        with pytest.raises(BundleError, match="cannot be read"):
            OnnxEncoder({**parts, name: bad}, RunContext())
    with pytest.raises(BundleError, match="lacks 'encoder\\.settings'"):
        OnnxEncoder({n: v for n, v in parts.items() if "settings" not in n}, RunContext())


def test_without_onnxruntime_the_extra_is_named(
    small: OnnxEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"onnxruntime .*hardrank\[onnx\]"):
        restored_encoder(small.stored(), "minilm", max_tokens=40, run=RunContext())


def test_a_graph_that_gives_other_vectors_is_not_believed(
    tiny: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hardrank.encoders import onnx_graph

    inner = onnx_graph.run_graph
    monkeypatch.setattr(onnx_graph, "run_graph", lambda s, b: inner(s, b) + np.float32(1e-3))
    with pytest.raises(Unsupported, match="other vectors"):
        exported(tiny)


def test_a_graph_of_other_inputs_is_refused() -> None:
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(Unsupported, match="the graph reads"):
        opened(model.SerializeToString())


@pytest.mark.slow
def test_minilm_in_int8(tmp_path: Path) -> None:
    """S3-73: at most 40 % of the size, cosine above 0.99; S0-34 on the default encoder."""
    encoder = load_encoder("minilm", max_tokens=48, run=RunContext(cache=tmp_path))
    rng = np.random.default_rng(1)
    words = [
        "lotion",
        "hair",
        "brush",
        "12",
        "oz",
        "Natural",
        "cream",
        "for",
        "women's",
        "dry",
        "skin",
        "Żółć",
        "北京",
        "🎉",
    ]
    texts = [" ".join(rng.choice(words, size=rng.integers(0, 30))) for _ in range(100)]
    wanted = encoder.encode(texts)
    whole = OnnxEncoder(compressed(encoder, "fp32", texts=[]), RunContext(), keep=False)
    np.testing.assert_allclose(whole.encode(texts), wanted, atol=1e-4)
    parts = compressed(encoder, "int8", texts=texts[:50])
    small = OnnxEncoder(parts, RunContext(), keep=False)
    assert parts["encoder.onnx"].nbytes < 0.4 * sum(
        4 * p.numel() for p in encoder.module.parameters()
    )
    assert (small.encode(texts) * wanted).sum(axis=1).mean() > 0.99


def test_a_graph_with_a_file_beside_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime itself reads it, from the folder that the program runs in: no digest covers
    that. Nor is a format read that onnxruntime alone knows."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    np.arange(4000, dtype=np.float32).tofile(tmp_path / "beside.bin")
    monkeypatch.chdir(tmp_path)
    tensor = TensorProto(name="w", dims=[4000], data_type=1, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "beside.bin"), ("length", "16000")):
        tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["w", "ids"], ["y"])], "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])], [tensor],
    )  # fmt: skip
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    assert onnx.load_model_from_string(made).graph.initializer[0].name == "w"
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    assert session.run(None, {"ids": np.array([2])})[0] == 2.0  # so the refusal is ours
    with pytest.raises(Unsupported, match="in another file; store them inside"):
        opened(made)
    with pytest.raises(Unsupported, match="format of onnxruntime's own"):
        opened(b"\0\0\0\0ORTM" + b"\0" * 64)


def test_an_operation_that_is_not_known_is_refused() -> None:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Foo", ["x"], ["y"], domain="somebody")], "g",
        [value("x", TensorProto.FLOAT, [1])], [value("y", TensorProto.FLOAT, [1])],
    )  # fmt: skip
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("somebody", 1)]
    made = helper.make_model(graph, opset_imports=sets, ir_version=8).SerializeToString()
    with pytest.raises(Unsupported, match="not an ONNX graph that runs here"):
        opened(made)
