"""The n-gram model: sums to 1, a case done by hand, and a slow twin from the formula."""

import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.language.kneser_ney import fit_kneser_ney
from hardrank.language.ngram import END, UNKNOWN, NgramLM

CORPUS = (
    "the red mug",
    "the red lamp",
    "the blue mug",
    "a blue lamp",
    "the old red mug with the blue lamp",
    "",
)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("least", [1, 2])
@pytest.mark.parametrize(
    "context", [[], ["the"], ["the", "red"], ["never", "seen"], ["a", "blue", "lamp"]]
)
def test_probabilities_sum_to_one(order: int, least: int, context: list[str]) -> None:
    told = NgramLM.fit(CORPUS, order=order, least=least).distribution(context)
    assert math.isclose(sum(told.values()), 1.0, abs_tol=1e-12)
    assert min(told.values()) > 0
    assert {END, UNKNOWN, "the", "red"} <= told.keys()


def test_bigram_by_hand() -> None:
    # Sequences 0 1 . and 0 . with end 2 and three symbols; d = 0.75 where n1 or n2 is 0.
    # Bigrams after <s>: 0 twice. After 0: 1 once, end once. After 1: end once.
    # n1 = 3, n2 = 1, d2 = 3 / 5. Unigrams count left contexts: 0: 1, 1: 1, end: 2; d1 = 2 / 4.
    model = fit_kneser_ney([[0, 1, 2], [0, 2]], size=3, order=2)
    first = [0.5 / 4 + 0.5 * 3 / 4 / 3, 0.5 / 4 + 0.5 * 3 / 4 / 3, 1.5 / 4 + 0.5 * 3 / 4 / 3]
    assert first == [0.25, 0.25, 0.5]
    after_start = [1.4 / 2 + 0.6 / 2 * 0.25, 0.3 * 0.25, 0.3 * 0.5]
    after_zero = [0.6 * 0.25, 0.4 / 2 + 0.6 * 0.25, 0.4 / 2 + 0.6 * 0.5]
    rows = np.array([[3, 0], [3, 1], [3, 2], [0, 0], [0, 1], [0, 2]])
    np.testing.assert_allclose(
        np.exp(model.log_probs(rows)), [*after_start, *after_zero], rtol=1e-12
    )


class _Slow:
    """The formula of the docstring, by dictionaries and recursion."""

    def __init__(self, rows: Sequence[Sequence[int]], size: int, order: int) -> None:
        self.size = size
        whole: Counter[tuple[int, ...]] = Counter()
        for row in rows:
            padded = [size] * (order - 1) + list(row)
            for end in range(order, len(padded) + 1):
                whole[tuple(padded[end - order : end])] += 1
        self.counts = {order: dict(whole)}
        for n in range(order - 1, 0, -1):
            left: dict[tuple[int, ...], set[int]] = defaultdict(set)
            for gram in self.counts[n + 1]:
                left[gram[1:]].add(gram[0])
            self.counts[n] = {gram: len(before) for gram, before in left.items()}

    def p(self, gram: tuple[int, ...]) -> float:
        if not gram:
            return 1 / self.size
        counts = self.counts[len(gram)]
        once = sum(c == 1 for c in counts.values())
        twice = sum(c == 2 for c in counts.values())
        d = once / (once + 2 * twice) if once and twice else 0.75
        here = {g: c for g, c in counts.items() if g[:-1] == gram[:-1]}
        if not here:
            return self.p(gram[1:])
        total = sum(here.values())
        return max(counts.get(gram, 0) - d, 0) / total + d * len(here) / total * self.p(gram[1:])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 4), max_size=6), min_size=1, max_size=6),
    st.lists(st.integers(1, 4), max_size=6),
    st.integers(1, 4),
)
def test_equals_the_slow_twin(corpus: list[list[int]], asked: list[int], order: int) -> None:
    rows = [[*row, 0] for row in corpus]
    fast, slow = fit_kneser_ney(rows, size=5, order=order), _Slow(rows, 5, order)
    windows = fast.windows([[*asked, 0]])
    expected = [slow.p(tuple(w)) for w in windows.tolist()]
    np.testing.assert_allclose(np.exp(fast.log_probs(windows)), expected, rtol=1e-9)


def test_log_prob_is_the_chain_of_distributions() -> None:
    model = NgramLM.fit(CORPUS, least=1)
    chain = [([], "the"), (["the"], "red"), (["the", "red"], "mug"), (["the", "red", "mug"], END)]
    expected = sum(math.log(model.distribution(h)[w]) for h, w in chain)
    assert math.isclose(model.log_prob("The red  MUG"), expected, rel_tol=1e-12)
    assert math.isclose(model.perplexity("the red mug"), math.exp(-expected / 4), rel_tol=1e-12)


def test_an_unknown_word_costs_its_place_and_its_spelling() -> None:
    model = NgramLM.fit(CORPUS, least=2)
    place = math.log(model.distribution(["the"])[UNKNOWN])
    end = math.log(model.distribution(["the", "zebra"])[END])
    known = math.log(model.distribution([])["the"])
    spelled = model.log_prob("the zebra") - known - place - end
    assert spelled < math.log(1 / 26)
    # Letters that the catalogue's rare words have are cheaper than others of equal number.
    assert model.log_prob("the wit") > model.log_prob("the qzx") > model.log_prob("the 红红红")


def test_words_out_of_order_are_stranger() -> None:
    rng, draw = random.Random(0), np.random.default_rng(0)
    makers, kinds, sizes = ("acme", "bolt", "core"), ("red", "soft", "dry"), ("small", "large")
    texts = [
        f"{draw.choice(makers)} {draw.choice(kinds)} cream for {draw.choice(sizes)} hands"
        for _ in range(200)
    ]
    model = NgramLM.fit(texts[:150])
    ratios = []
    for text in texts[150:]:
        words = text.split()
        while words == text.split():
            rng.shuffle(words)
        ratios.append(model.perplexity_ratio(text, [" ".join(words)])[0])
    assert min(ratios) > 1.0
    typo = [t.replace("cream", "crearn") for t in texts[150:]]
    assert model.perplexity_ratio(texts[150:], typo).min() > 2.0
    assert (model.perplexity_ratio(texts, texts) == 1.0).all()


@pytest.mark.parametrize(
    "text",
    ["", " ", "红色 口红", "🎉🎉", "שלום עולם", "x" * 10_000, "w " * 5_000, "\ud800", "</s>"],
)
def test_any_text_has_a_probability(text: str) -> None:
    for corpus in (CORPUS, ("",), ("红色 口红", "红色 lamp"), (text,)):
        model = NgramLM.fit(corpus)
        assert -math.inf < model.log_prob(text) < 0
        assert 1 < model.perplexity(text) < math.inf
        assert np.isfinite(model.perplexity_ratio([text, "a"], ["a", text])).all()


def test_marks_in_a_text_are_words_and_no_marks() -> None:
    model = NgramLM.fit(CORPUS)
    assert model.log_prob("<unk>") < model.log_prob("the") - 5
    assert model.log_prob("</s>") < model.log_prob("the") - 5


def test_an_empty_batch_and_bad_requests() -> None:
    model = NgramLM.fit(CORPUS)
    assert model.perplexities([]).shape == model.perplexity_ratio("a", []).shape == (0,)
    with pytest.raises(ValueError, match="1 texts before, 2 after"):
        model.perplexity_ratio(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="order is 4"):
        NgramLM.fit(CORPUS, order=4)
    assert NgramLM.fit([]).log_prob("a") < 0


def test_ten_thousand_texts_take_seconds() -> None:
    draw = np.random.default_rng(0)
    words = [f"w{n}" for n in draw.zipf(1.5, 120_000) % 5000]
    texts = [" ".join(words[i : i + 12]) for i in range(0, 120_000, 12)]
    began = time.process_time()
    model = NgramLM.fit(texts)
    assert np.isfinite(model.perplexities(texts)).all()
    assert time.process_time() - began < 6.0
