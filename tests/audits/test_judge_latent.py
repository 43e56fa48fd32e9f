"""The latent judge: meaning from company, no victim in it, and sane on any text."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.audits.judge import CharacterJudge
from hardrank.audits.latent_judge import LatentJudge

TOPICS = {
    "seat": (("sofa", "couch"), ("cushion", "leather", "room", "legs", "fabric", "living")),
    "fruit": (("apple", "pear"), ("juice", "sweet", "tree", "ripe", "basket", "garden")),
    "tool": (("hammer", "mallet"), ("nails", "steel", "grip", "wood", "workshop", "heavy")),
}


def planted(texts: int = 60) -> list[str]:
    """Two names for one thing never share a text, but share their company."""
    draw = np.random.default_rng(0)
    out = []
    for _ in range(texts):
        for names, company in TOPICS.values():
            for name in names:
                out.append(" ".join([name, *draw.choice(company, 3, replace=False)]))
    return out


@pytest.fixture(scope="module")
def judge() -> LatentJudge:
    return LatentJudge.fit(planted(), size=3)


def test_a_synonym_is_nearer_than_a_stranger(judge: LatentJudge) -> None:
    """S0-22: similarity of a rewritten text by an encoder that is no victim's."""
    text = "sofa leather cushion room"
    synonym, stranger = judge(text, ["couch leather cushion room", "pear leather cushion room"])
    assert synonym > 0.999 and stranger < 0.96
    # Letters alone cannot see that: this is what the judge is for.
    blind = CharacterJudge.fit(planted())
    flat = blind(text, ["couch leather cushion room", "pear leather cushion room"])
    assert abs(flat[0] - flat[1]) < 0.1
    for (one, other), _ in TOPICS.values():
        strangers = [n for names, _ in TOPICS.values() for n in names if n not in (one, other)]
        near, *far = judge(one, [other, *strangers])
        assert near > 0.9 and near > max(far) + 0.5


def test_equal_is_one_and_nothing_shared_is_near_zero(judge: LatentJudge) -> None:
    texts = ["sofa room", "", "红色", "🎉", "Sofa, ROOM!"]
    assert judge(texts, texts).tolist() == [1.0] * 5
    assert judge("sofa room", ["Room, sofa"])[0] == pytest.approx(1.0)
    assert judge("sofa leather room", ["apple juice tree"])[0] < 0.1
    assert judge("sofa", ["", "🎉", "红色"]).tolist() == [0.0, 0.0, 0.0]


def test_a_misspelling_stays_near_and_noise_does_not(judge: LatentJudge) -> None:
    typo, noise = judge("leather", ["leathre", "qxzqxz"])
    assert typo > 0.8 and noise == 0.0
    typo, noise = judge("sofa leather room", ["sofa leathre room", "sofa qxzqxz room"])
    assert typo > noise + 0.1


def test_unknown_scripts_are_compared_word_by_word(judge: LatentJudge) -> None:
    one, two, none = judge("红 色 口", ["红 色 手", "红 手 手", "מה"])
    # Equal weights: two of three shared; 1 and (1 + ln 2) of one script against three.
    assert one == pytest.approx(2 / 3)
    twice = 1 + np.log(2)
    assert two == pytest.approx(1 / np.sqrt(3 * (1 + twice**2)))
    assert none == 0.0


def test_rare_words_cannot_be_added_unseen() -> None:
    texts = [*planted(), "sofa obscure", "apple recondite"]
    judge = LatentJudge.fit(texts, size=4)
    text = "sofa leather cushion room"
    assert judge(text, [text + " obscure recondite"])[0] < 0.99
    assert (np.diff([judge(text, [text + " zq" * n])[0] for n in range(1, 5)]) < 0).all()


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_two_texts(one: str, other: str) -> None:
    judge = _SMALL
    here, back = judge(one, [other])[0], judge([other], [one])[0]
    assert 0.0 <= here <= 1.0 and here == pytest.approx(back)
    assert judge(one, [one])[0] == 1.0


_SMALL = LatentJudge.fit(["red mug", "blue mug", "红色 口红", ""])


@pytest.mark.parametrize("texts", [[], [""], ["one"], ["one two", "one two"], ["🎉", "מה נשמע"]])
def test_any_catalogue(texts: list[str]) -> None:
    judge = LatentJudge.fit(texts)
    assert judge("one two", ["one two", "three"]).tolist() == [1.0, 0.0]
    assert judge("", []).shape == (0,)
    assert 0.0 <= judge("one", ["x" * 10_000 + " one"])[0] <= 1.0


def test_pairs_must_match(judge: LatentJudge) -> None:
    with pytest.raises(ValueError, match="1 texts before, 2 after"):
        judge(["a"], ["a", "b"])


def test_the_same_texts_give_the_same_judge() -> None:
    texts = planted(20)
    one, two = LatentJudge.fit(texts, size=6), LatentJudge.fit(iter(texts), size=6)
    assert (one.vectors == two.vectors).all() and one.words == two.words
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    LatentJudge.fit(texts, size=3)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_the_truncated_space_is_that_of_the_exact_decomposition() -> None:
    texts = planted(10)
    from collections import Counter

    from hardrank.audits.latent_judge import _table, _term_vectors, _words

    counts = [Counter(_words(t)) for t in texts]
    words = {w: n for n, w in enumerate(sorted({w for c in counts for w in c}))}
    table, _ = _table(counts, words)
    exact, cut = _term_vectors(table, 1000, 0), _term_vectors(table, 5, 0)
    np.testing.assert_allclose(cut @ cut.T, exact[:, :5] @ exact[:, :5].T, atol=1e-8)


def test_thousands_of_pairs_take_seconds() -> None:
    draw = np.random.default_rng(0)
    words = [f"w{n}" for n in draw.zipf(1.4, 60_000) % 3000]
    texts = [" ".join(words[i : i + 12]) for i in range(0, 60_000, 12)]
    began = time.process_time()
    judge = LatentJudge.fit(texts, size=64)
    assert (judge(texts, texts[1:] + texts[:1]) <= 1.0).all()
    assert time.process_time() - began < 15.0
