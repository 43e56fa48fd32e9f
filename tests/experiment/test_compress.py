"""`hardrank compress`: what is written, what is refused, what is served (S3-73)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hardrank.bundle import load_bundle, save_bundle
from hardrank.cli.main import app
from hardrank.context import RunContext
from hardrank.data.sources.marketplace import Marketplace
from hardrank.encoders import OnnxEncoder
from hardrank.errors import BundleError, Unsupported
from hardrank.experiment import compress_measure
from hardrank.experiment.attack_bundle import attack_bundle
from hardrank.experiment.attack_trial import trial_of
from hardrank.experiment.compress import Limits, Measured, compress_bundle
from hardrank.experiment.compress_measure import AttackPair, Between, Closeness, Quality
from hardrank.experiment.compress_model import compressed_recommender
from hardrank.models import Blend, TextSequence, Tfidf
from hardrank.serve.engine import Engine
from hardrank.testing.encoders import tiny_encoder
from hardrank.training import Training

SMALL: dict[str, Any] = {
    "max_tokens": 32, "size": 8, "heads": 1, "length": 10, "whiten": 6, "negatives": 20,
    "training": Training(epochs=1, batch_size=200, patience=0, precision="float32"),
}  # fmt: skip
WIDE = Limits(size=10.0, ndcg_loss=1.0, asr_rise=1.0)
RUN = RunContext(seed=0)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARDRANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model of 60 items, whose encoder's last layer was trained."""
    data = Marketplace(users=60, items=60, seed=2).load()
    encoder = tiny_encoder(tmp_path_factory.mktemp("bert"))
    spec = TextSequence(encoder=str(encoder), unfreeze=1, encoder_pace=1.0, **SMALL)
    folder = tmp_path_factory.mktemp("bundles") / "large"
    save_bundle(folder, spec, spec.fit(data, RUN), data, {"name": "toy", "synthetic": True})
    return folder


@pytest.fixture(scope="module")
def small(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "small"
    done = compress_bundle(bundle, out, trial(), RUN, panel=20, limits=WIDE)
    assert done.written and done.refusals == ()
    return out


def trial(attack: str = "copycat") -> Any:
    return trial_of(
        [attack], goal="promote", items="random:3", k=5, surface="item-text", knowledge="scores",
        field="title", budget={"words": 3, "queries": 10, "whole_text": True}, users=1,
    )  # fmt: skip


def encoder_of(folder: Path) -> Any:
    return load_bundle(folder).recommender.source.encoder  # type: ignore[attr-defined]


def test_the_new_bundle_reads_by_onnx_and_says_what_it_cost(bundle: Path, small: Path) -> None:
    assert isinstance(encoder_of(small), OnnxEncoder)
    assert encoder_of(small).form == "int8"
    told = json.loads((small / "compression.json").read_text())
    assert told["form"] == "int8" and told["refusals"] == [] and not told["accepted"]
    assert [pair["attack"] for pair in told["attacks"]] == trial().labels()
    assert told["bytes"]["after"] == (small / "encoder.onnx").stat().st_size
    listed = {line.split("  ")[1] for line in (small / "SHA256SUMS").read_text().splitlines()}
    assert {"encoder.onnx", "compression.json", "histories.parquet"} <= listed
    names = load_bundle(small).recommender.arrays()
    assert not any(name.startswith("encoder/") for name in names)  # the torch weights are gone


def test_its_own_trained_weights_are_compressed(bundle: Path, small: Path) -> None:
    """Not those of the encoder that training began from."""
    before, after = load_bundle(bundle).recommender, encoder_of(small)
    texts = before.texts_of(np.arange(60))  # type: ignore[attr-defined]
    old = before.source.encoder.encode(texts)  # type: ignore[attr-defined]
    assert (old * after.encode(texts)).sum(axis=1).mean() > 0.99
    assert before.source.learned  # type: ignore[attr-defined]


def test_an_altered_graph_is_refused(small: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(small, copy)
    graph = bytearray((copy / "encoder.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (copy / "encoder.onnx").write_bytes(bytes(graph))
    with pytest.raises(BundleError, match=r"encoder\.onnx: was altered"):
        load_bundle(copy)


def test_a_service_puts_a_new_item_online(small: Path) -> None:
    """Catalogue and new texts come from one encoder: an equal text has an equal vector."""
    engine = Engine.load(small)
    model = load_bundle(small).recommender
    assert engine.put_item("new", {"title": str(model.items["title"][0])})
    ranker = engine._ranker  # type: ignore[attr-defined]
    row = {n: str(model.items[n][0]) for n in model.source.fields}  # type: ignore[attr-defined]
    vector = ranker.read(row)
    by_text = model.parts(np.array([0]))[1]  # type: ignore[attr-defined]
    np.testing.assert_allclose(vector, by_text.numpy()[0], atol=1e-6)


def test_gradients_are_refused_with_a_way_out(small: Path) -> None:
    found = load_bundle(small)
    assert "token-embeddings" not in found.recommender.sites  # type: ignore[attr-defined]
    white = replace(trial("hotflip"), threat=replace(trial().threat, knowledge="gradients"))
    with pytest.raises(Unsupported, match="grants no gradients"):
        done = attack_bundle(found, white, RUN, panel=20)
        raise Unsupported(str(done.matches[0].error))  # refused target by target, or at once


def test_beyond_a_limit_nothing_is_written(bundle: Path, tmp_path: Path) -> None:
    """Planted: a limit that no graph can hold."""
    out = tmp_path / "small"
    tight = replace(WIDE, size=0.0)
    done = compress_bundle(bundle, out, trial(), RUN, panel=20, limits=tight)
    assert not done.written and not out.exists()
    assert done.refusals[0].startswith("size: ")
    assert json.loads((tmp_path / "small.refused.json").read_text())["refusals"]
    done = compress_bundle(bundle, out, trial(), RUN, panel=20, limits=tight, accept=True)
    assert done.written and json.loads((out / "compression.json").read_text())["accepted"]
    with pytest.raises(BundleError, match="exists already"):
        compress_bundle(bundle, out, trial(), RUN)


def test_the_command_says_no_with_exit_code_1(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: the compressed model ranks by the contrary, so its quality is lost."""
    real = compress_measure.ndcg
    seen: list[int] = []

    def spoilt(ranks: Any, k: int) -> Any:
        seen.append(k)
        return real(ranks, k) if len(seen) % 2 else np.zeros(len(ranks))

    monkeypatch.setattr(compress_measure, "ndcg", spoilt)
    options = ["-o", str(tmp_path / "out"), "--items", "random:3", "-a", "copycat", "-q"]
    result = CliRunner().invoke(app, ["compress", str(bundle), *options])
    assert result.exit_code == 1 and "NDCG@10: 100.00% lost, limit 1%" in result.output
    assert not (tmp_path / "out").exists()


def test_parts_of_a_blend_are_compressed_in_their_places(bundle: Path, tmp_path: Path) -> None:
    inner = load_bundle(bundle)
    spec = Blend(first=inner.spec, second=Tfidf(), weight=0.3)  # type: ignore[arg-type]
    data = Marketplace(users=60, items=60, seed=2).load()
    arrays = {f"second/{k}": v for k, v in Tfidf().fit(data, RUN).arrays().items()}
    arrays |= {f"first/{k}": v for k, v in inner.recommender.arrays().items()}
    whole = spec.restore(arrays | {"weight": np.array(0.3)}, inner.recommender.items, RUN)
    made = compressed_recommender(replace(inner, recommender=whole, spec=spec), "fp32", RUN)
    save_bundle(tmp_path / "blend", spec, made, data, {"name": "toy"})
    assert (tmp_path / "blend" / "first--encoder.onnx").is_file()
    again = load_bundle(tmp_path / "blend").recommender
    queries = data.histories().take(np.arange(5))
    np.testing.assert_array_equal(again.top(queries, 5), made.top(queries, 5))


def test_a_model_without_an_encoder_is_refused(tmp_path: Path) -> None:
    data = Marketplace(users=60, items=60, seed=2).load()
    save_bundle(tmp_path / "b", Tfidf(), Tfidf().fit(data, RUN), data, {"name": "toy"})
    with pytest.raises(Unsupported, match="tfidf reads no text by an encoder"):
        compress_bundle(tmp_path / "b", tmp_path / "out", trial(), RUN)


def test_every_limit_is_held_against_its_figure() -> None:
    pair = AttackPair(attack="a", before=0.4, after=0.42, replayed=0.3, low=None, high=None, n=50)
    fine = Measured(
        form="int8", bytes=Between(100.0, 40.0), titles_per_second=Between(1.0, 2.0),
        cosine=Closeness(0.99, 0.98, 3), attacks=(pair,),
        ndcg=Quality(before=0.1, after=0.099, loss=0.01, low=0.0, high=0.02, n=9, queries="x"),
    )  # fmt: skip
    assert fine.refusals(Limits()) == []
    assert (
        "2.1 points" in replace(fine, attacks=(replace(pair, after=0.421),)).refusals(Limits())[0]
    )
    moved = replace(pair, replayed=0.45)  # an old patch that works better now counts as well
    assert "5.0 points" in replace(fine, attacks=(moved,)).refusals(Limits())[0]
    assert replace(fine, bytes=Between(100.0, 41.0)).refusals(Limits())[0].startswith("size")
    lost = replace(fine, ndcg=replace(fine.ndcg, loss=0.0101))
    assert "NDCG@10" in lost.refusals(Limits())[0]
    unknown = replace(pair, before=None, error="no words")
    assert "not measured: no words" in replace(fine, attacks=(unknown,)).refusals(Limits())[0]
    part = replace(pair, after=0.3, error="one target had no words")
    assert replace(fine, attacks=(part,)).refusals(Limits()) == [
        "a: not measured on every target: one target had no words"
    ]
