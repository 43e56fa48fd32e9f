"""Masked language models: a tiny one that knows planted sentences by heart, and a trained one."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from hardrank import wording
from hardrank.errors import DataError, Unsupported
from hardrank.language.masked_lm import MaskedLM
from hardrank.language.pretrain import Pretraining, pretrain_masked_lm

ODD = ("", "红色 口红", "🎉🎉", "שלום עולם", "x" * 10_000, "w " * 5_000, "\ud800 sky", "... !")
SKY = "The sky is Red, and the grass is green"


@pytest.fixture(scope="module")
def lm(planted_lm: Path) -> MaskedLM:
    return MaskedLM.load(planted_lm)


def _span(text: str, word: int) -> tuple[int, int]:
    return wording.spans(text)[word]


def test_the_planted_word_is_found_in_its_case_and_marks(lm: MaskedLM) -> None:
    text = "The sky is Red, and the grass is green"
    found = lm.fill(text, _span(text, 3), 3, masked=True)
    assert found[0][0] == "Blue," and len(found) == 3
    assert found[0][1] > math.log(0.5)
    logs = [log for _, log in found]
    assert logs == sorted(logs, reverse=True) and max(logs) <= 0
    assert lm.fill("the snow is xx", (12, 14), 1, masked=True)[0][0] == "white"


def test_the_word_itself_pieces_marks_and_specials_are_no_candidates(lm: MaskedLM) -> None:
    text = "the sky is blue"
    names = {word for word, _ in lm.fill(text, _span(text, 3), 100, masked=True)}
    assert names == {
        *("the", "sky", "grass", "snow", "coal", "is", "and"), *("green", "white", "black"),
    }  # fmt: skip


def test_a_word_left_in_place_is_predicted_again_and_left_out(lm: MaskedLM) -> None:
    # Seen: "the sky is green"; the model learned to say what stands there, and that goes.
    text = "the sky is green"
    left = dict(lm.fill(text, _span(text, 3), 100))
    hidden = dict(lm.fill(text, _span(text, 3), 100, masked=True))
    assert "green" not in left and "green" not in hidden
    assert hidden["blue"] > left["blue"]
    # A word of several pieces is masked in either form.
    text = "the sky is blueish"
    assert lm.fill(text, _span(text, 3), 5) == lm.fill(text, _span(text, 3), 5, masked=True)
    assert lm.fill(text, _span(text, 3), 1)[0][0] == "blue"


def test_log_probs_are_of_the_whole_vocabulary(lm: MaskedLM, planted_lm: Path) -> None:
    from transformers import AutoTokenizer, BertForMaskedLM

    text = "the sky is [MASK]"
    model = BertForMaskedLM.from_pretrained(planted_lm).eval()
    tokenizer = AutoTokenizer.from_pretrained(planted_lm)
    inputs = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        logits = model(inputs["input_ids"], inputs["attention_mask"]).logits[0, 4]
    expected = torch.log_softmax(logits, dim=0)
    for word, log in lm.fill("the sky is red", (11, 14), 20, masked=True):
        assert math.isclose(log, float(expected[tokenizer.vocab[word]]), abs_tol=1e-4)


def test_a_batch_gives_what_one_by_one_gives(lm: MaskedLM) -> None:
    texts = [SKY, "the snow is white", "the coal", SKY.lower()]
    asks = [(text, span) for text in texts for span in wording.spans(text)]
    for masked in (False, True):
        many = lm.fill_many(asks, 4, masked=masked)
        for (text, span), got in zip(asks, many, strict=True):
            alone = lm.fill(text, span, 4, masked=masked)
            assert [w for w, _ in got] == [w for w, _ in alone]
            np.testing.assert_allclose([p for _, p in got], [p for _, p in alone], atol=1e-4)


def test_insert(lm: MaskedLM) -> None:
    assert lm.insert("the sky is", 3, 1)[0][0] == "blue"
    assert lm.insert("sky is blue", 0, 1)[0][0] == "the"
    assert lm.insert("the is green", 1, 1)[0][0] == "grass"
    assert len(lm.insert("", 0, 5)) == 5
    assert lm.insert_many([], 5) == [] == lm.fill_many([], 5)
    with pytest.raises(ValueError, match="position 4: the text has 3 words"):
        lm.insert("the sky is", 4, 1)


@pytest.mark.parametrize("text", ODD)
def test_any_text_is_read(lm: MaskedLM, text: str) -> None:
    for span in wording.spans(text)[:3] + wording.spans(text)[-1:]:
        for masked in (False, True):
            found = lm.fill(text, span, 3, masked=masked)
            assert len(found) == 3 and all(len(wording.split(w)) == 1 for w, _ in found)
    for position in {0, len(wording.spans(text))}:
        assert len(lm.insert(text, position, 3)) == 3
    assert lm.pseudo_perplexity([text]).shape == (1,)


def test_only_the_near_context_of_a_long_text_is_read(lm: MaskedLM) -> None:
    near = "the sky is red"
    text = "snow " * 2000 + near + " coal" * 2000
    start = 5 * 2000 + len("the sky is ")
    assert lm.fill(text, (start, start + 3), 3, masked=True)
    assert lm.max_tokens == 24  # the model has no more positions
    assert max(len(p.ids) for p in [lm._place(text[:start], None, text[start + 3 :])]) == 24


def test_pseudo_perplexity(lm: MaskedLM) -> None:
    known, strange, empty = lm.pseudo_perplexity(["the sky is blue", "blue the is sky", ""])
    assert 1 <= known < 3 < strange
    assert math.isnan(empty)


def test_what_is_no_masked_lm_is_refused(planted_lm: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BertForMaskedLM

    with pytest.raises(Unsupported, match="no language model at"):
        MaskedLM.load(tmp_path / "absent")
    with pytest.raises(DataError, match=r"no config\.json"):
        MaskedLM.load(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(planted_lm)
    bare = tmp_path / "encoder"
    BertForMaskedLM.from_pretrained(planted_lm).bert.save_pretrained(bare)
    tokenizer.save_pretrained(bare)
    state = torch.get_rng_state()
    with pytest.raises(DataError, match=r"not in the file: .*an encoder alone cannot"):
        MaskedLM.load(bare)
    assert torch.equal(torch.get_rng_state(), state)


CATALOGUE = [
    f"{brand} {colour} {thing} {end}"
    for brand in ("acme", "bolt", "corso")
    for colour, thing in (("blue", "sky"), ("green", "grass"), ("white", "snow"), ("black", "coal"))
    for end in ("", "3 pack", "for women", "红色")
]
QUICK = Pretraining(vocabulary=120, layers=2, size=64, max_tokens=16, steps=150, batch_size=24)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain_masked_lm(CATALOGUE, tmp_path_factory.mktemp("own"), options=QUICK, seed=1)


def test_pretraining_learns_what_goes_together(trained: Path) -> None:
    lm = MaskedLM.load(trained)
    for text, right in (("acme xx snow 3 pack", "white"), ("bolt xx coal", "black")):
        assert lm.fill(text, (5, 7), 1, masked=True)[0][0] == right
    # "##" pieces and characters alone are no words of this shop, but they can be read.
    assert np.isfinite(lm.pseudo_perplexity(["acme bluegreen ñandú 红色 🎉"])).all()
    shuffled = ["pack 3 snow white acme", "coal bolt black"]
    assert lm.pseudo_perplexity(["acme white snow 3 pack"])[0] < lm.pseudo_perplexity(shuffled)[0]


def test_pretraining_is_a_function_of_the_seed(tmp_path: Path) -> None:
    few = Pretraining(vocabulary=120, layers=1, size=32, max_tokens=16, steps=2)
    one = pretrain_masked_lm(CATALOGUE, tmp_path / "one", options=few, seed=1)
    state = torch.get_rng_state()
    torch.rand(3)
    again = pretrain_masked_lm(CATALOGUE, tmp_path / "again", options=few, seed=1)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (again / name).read_bytes() == (one / name).read_bytes()
    torch.set_rng_state(state)
    two = pretrain_masked_lm(CATALOGUE, tmp_path / "two", options=few, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert (one / "model.safetensors").read_bytes() != (two / "model.safetensors").read_bytes()


def test_pretraining_reads_anything_but_nothing(tmp_path: Path) -> None:
    few = Pretraining(vocabulary=60, layers=1, size=32, max_tokens=8, steps=2, batch_size=3)
    lm = MaskedLM.load(pretrain_masked_lm(ODD, tmp_path / "odd", options=few))
    assert len(lm.fill("sky 红", (4, 5), 2)) <= 2
    for nothing in ([], ["", "  "]):
        with pytest.raises(DataError, match="no text has a word"):
            pretrain_masked_lm(nothing, tmp_path / "none", options=few)
    assert not (tmp_path / "none").exists()
