"""Generators of fake reviews (S1-08): rules, polarity, repeatability, and what each one does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.attacks.reviews import (
    REVIEW_ATTACKS,
    EvasiveReviews,
    LanguageModelReviews,
    RewrittenReviews,
    TemplateReviews,
)
from hardrank.attacks.reviews.appeal import Appeal
from hardrank.attacks.reviews.parts import cut, keywords, read_review, sentences
from hardrank.attacks.reviews.rewritten_reviews import _swap, _vary
from hardrank.attacks.reviews.sampling import WordSampler
from hardrank.data import AddReview
from hardrank.errors import Unsupported
from hardrank.language.wordnet import Thesaurus
from hardrank.testing.reviews import WORDS, reviewed_log
from hardrank.threats.model import Budget, Demote, Promote, ThreatModel
from hardrank.threats.reviews import ReviewAttack, ReviewView, play_reviews
from hardrank.wording import split

DATA = reviewed_log()
TARGET = "i28"  # group 1, hardly known
ATTACKS: list[Any] = [
    LanguageModelReviews(), RewrittenReviews(synonyms=0), TemplateReviews(), EvasiveReviews(),
]  # fmt: skip


def _threat(goal: Any, reviews: int = 6, words: int = 25) -> ThreatModel:
    return ThreatModel(goal=goal, surface="reviews", budget=Budget(reviews=reviews, words=words))


def _written(attack: Any, goal: Any, data: Any = DATA, **budget: int) -> list[AddReview]:
    match = play_reviews(attack, _threat(goal, **budget), data, target=TARGET)
    return [e for e in match.patch.edits if isinstance(e, AddReview)]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.kind)
@pytest.mark.parametrize("goal", [Promote(), Demote()], ids=lambda g: g.kind)
def test_a_generator_keeps_the_rules_and_writes_its_opinion(attack: Any, goal: Any) -> None:
    assert isinstance(attack, ReviewAttack) and type(attack) in REVIEW_ATTACKS
    made = _written(attack, goal)
    assert len(made) == 6
    allowed = {4.0, 5.0} if isinstance(goal, Promote) else {1.0, 2.0}
    assert {e.rating for e in made} <= allowed
    words = " ".join(e.text for e in made).lower()
    assert ("great" in words or "love" in words) == isinstance(goal, Promote)
    assert len({e.text for e in made}) > 1
    own = set(keywords(str(DATA.items["title"][DATA.item_rows[TARGET]])))
    assert all(own & set(keywords(e.text)) for e in made), "each speaks of the target"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.kind)
def test_same_seed_same_reviews(attack: Any) -> None:
    first = play_reviews(attack, _threat(Promote()), DATA, target=TARGET, seed=1)
    again = play_reviews(attack, _threat(Promote()), DATA, target=TARGET, seed=1)
    other = play_reviews(attack, _threat(Promote()), DATA, target=TARGET, seed=2)
    assert first.patch == again.patch != other.patch


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.kind)
def test_a_budget_of_nothing_is_nothing(attack: Any) -> None:
    assert _written(attack, Promote(), reviews=0) == []
    assert _written(attack, Promote(), words=0) == []


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.kind)
def test_reviews_without_stars_do_not_tell_praise_from_blame(attack: Any) -> None:
    assert DATA.reviews is not None
    bare = replace(DATA, reviews=DATA.reviews.drop("rating"))
    with pytest.raises(Unsupported, match="told apart by stars"):
        _written(attack, Promote(), bare)
    made = _written(TemplateReviews(borrowed=0), Promote(), bare)
    assert len(made) == 6 and {e.rating for e in made} == {None}


def test_a_campaign_writes_of_late() -> None:
    assert DATA.reviews is not None
    first, last = DATA.reviews["time"].min(), DATA.reviews["time"].max()
    times = [e.time for e in _written(TemplateReviews(), Promote(), reviews=20)]
    assert times == sorted(times)  # type: ignore[type-var]
    assert min(times) >= last - 0.1 * (last - first) - 1  # type: ignore[operator, type-var]


def test_swapped_words_are_the_targets() -> None:
    rng = np.random.default_rng(0)
    text = "The Crimson velvet one; crimson!"
    assert _swap(text, ["crimson", "velvet"], ["cobalt"], rng) == "The Cobalt cobalt one; cobalt!"
    assert _swap("No such word.", ["crimson"], ["cobalt", "x"], rng) == "Cobalt x. No such word."
    assert _swap("It is cobalt.", ["crimson"], ["cobalt"], rng) == "It is cobalt."
    assert _swap(text, ["crimson"], [], rng) == text


def test_rewritten_reviews_speak_no_more_of_their_source() -> None:
    made = _written(RewrittenReviews(synonyms=0), Promote(), reviews=30)
    titles = set(keywords(str(DATA.items["title"][DATA.item_rows[TARGET]])))
    assert titles & set(WORDS[1])
    source = [e.text for e in made if set(keywords(e.text)) & {"crimson", "emerald"}]
    assert len(source) < len(made), "words of the source's title are gone"


def test_synonyms_come_from_wordnet(data_folder: Path) -> None:
    words = Thesaurus.load(data_folder / "open-english-wordnet" / "synsets.tsv.gz")
    text = "A beautiful, solid guitar that sounds great and not bad."
    said = _vary(text, words, 1.0, {"solid"}, np.random.default_rng(0))
    assert len(split(said)) == len(split(text)) and said != text
    for old, new in zip(split(text), split(said), strict=True):
        known = {s for pos in ("a", "r") for s in words.synonyms(old, pos)}
        assert new == old or new in known
    assert "solid" in split(said) and split(said)[1].endswith(",") and "not bad." in said
    assert _vary(text, words, 0.0, set(), np.random.default_rng(0)) == text


def test_a_pull_brings_the_targets_words() -> None:
    """Equal odds of two words; the pulled one is then eleven times as likely."""
    sampler = WordSampler.fit(["a x", "a y"] * 50, least=1, order=2)
    rows = {w: n for n, w in enumerate(sampler.words)}
    weights = np.ones(len(sampler.words))
    weights[rows["x"]] = 11
    rng = np.random.default_rng(0)
    drawn = [sampler.draw([rows["a"]], rng, weights) for _ in range(5000)]
    assert drawn.count(rows["x"]) / drawn.count(rows["y"]) == pytest.approx(11, rel=0.25)


def test_sampled_words_have_the_models_probabilities() -> None:
    """Ancestral sampling against the probabilities of `KneserNey.log_probs`."""
    sampler = WordSampler.fit(["a b a c", "a b b c a", "c a b", "b c c a"], least=1)
    size, rng = sampler.model.size, np.random.default_rng(0)
    rows = {w: n for n, w in enumerate(sampler.words)}
    context = [rows["a"], rows["b"]]
    grams = np.array([[*context, n] for n in range(size)])
    wanted = np.exp(sampler.model.log_probs(grams))
    wanted[1] = 0  # the unknown word is drawn again
    drawn = np.bincount([sampler.draw(context, rng) for _ in range(20_000)], minlength=size)
    np.testing.assert_allclose(drawn / 20_000, wanted / wanted.sum(), atol=0.012)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["ab", "c.", "d!", "e"]), max_size=30), st.integers(1, 20))
def test_a_cut_text_is_a_beginning(words: list[str], most: int) -> None:
    text = " ".join(words)
    kept = split(cut(text, most))
    assert kept == words[: len(kept)] and len(kept) <= most
    assert len(kept) > min(most, len(words)) // 2 or not words


def test_sentences_and_answers_are_read() -> None:
    assert sentences("One two!  Three\nfour. five") == ["One two!", "Three four."]
    assert read_review('Review: "Great\nstrings here."') == "Great strings here."
    assert read_review("```\nok") is None


class _Echo:
    """A writer that answers every prompt alike."""

    def __init__(self, answer: str) -> None:
        self.answer, self.prompts = answer, []  # type: ignore[var-annotated]

    def complete(self, prompts: Any) -> list[str]:
        self.prompts += prompts
        return [self.answer] * len(prompts)


@pytest.mark.parametrize("attack", [LanguageModelReviews(), RewrittenReviews()])
def test_a_writer_is_asked_about_the_target(attack: Any) -> None:
    writer = _Echo("Review: fine words indeed")
    object.__setattr__(attack, "writer", writer)
    made = _written(attack, Promote())
    assert {e.text for e in made} == {"fine words indeed"}
    title = str(DATA.items["title"][DATA.item_rows[TARGET]])
    assert len(writer.prompts) == 6 and all(title in p for p in writer.prompts)
    writer.answer = "no"
    assert _written(attack, Promote()) == []


class _Marks:
    """A detector that suspects exclamation marks, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score(self, texts: Any) -> Any:
        self.asked += texts
        return np.array([t.count("!") for t in texts], dtype=np.float32)


@pytest.mark.parametrize("goal", [Promote(), Demote()], ids=lambda g: g.kind)
def test_an_adaptive_writer_publishes_what_is_least_suspicious(goal: Any) -> None:
    """S1-08: of the candidates that the detector was asked about, those with the lowest scores."""
    attack = EvasiveReviews(base=TemplateReviews(), candidates=10)
    known = _Marks()
    match = play_reviews(attack, _threat(goal), DATA, target=TARGET, detector=known)
    made = [e for e in match.patch.edits if isinstance(e, AddReview)]
    assert len(made) == 6 and 20 <= len(known.asked) == len(set(known.asked)) <= 30
    scores = sorted(t.count("!") for t in known.asked)
    assert sorted(e.text.count("!") for e in made) == scores[:6]
    again = play_reviews(attack, _threat(goal), DATA, target=TARGET, detector=_Marks())
    assert again.patch == match.patch
    assert {e.rating for e in made} <= ({4.0, 5.0} if isinstance(goal, Promote) else {1.0, 2.0})


def test_an_adaptive_writer_asks_about_those_alone_that_gain() -> None:
    everyone, likely = _Marks(), _Marks()
    for known, share in ((everyone, 1.0), (likely, 0.2)):
        attack = EvasiveReviews(base=TemplateReviews(), candidates=10, gaining=share)
        view = ReviewView(DATA, DATA.item_rows[TARGET], detector=known)
        attack(view, Promote(), Budget(reviews=6, words=25), np.random.default_rng(0))
    assert DATA.reviews is not None
    guess = Appeal.fit(DATA.reviews["text"].to_list())
    best = sorted(guess(everyone.asked), reverse=True)[: len(likely.asked)]
    assert sorted(guess(likely.asked), reverse=True) == best
    assert len(likely.asked) == round(0.2 * len(everyone.asked))


def test_without_a_detector_an_adaptive_writer_is_its_base() -> None:
    view = ReviewView(DATA, DATA.item_rows[TARGET])
    budget = Budget(reviews=4, words=25)
    plain, adaptive = (
        attack(view, Promote(), budget, np.random.default_rng(0))
        for attack in (TemplateReviews(), EvasiveReviews(base=TemplateReviews()))
    )
    assert plain == adaptive and len(plain) == 4


def test_what_is_not_judged_is_not_suspected() -> None:
    class Half(_Marks):
        def score(self, texts: Any) -> Any:
            out = super().score(texts)
            out[:3] = np.nan
            return out

    known = Half()
    attack = EvasiveReviews(base=TemplateReviews(), candidates=10)
    match = play_reviews(attack, _threat(Promote(), reviews=3), DATA, target=TARGET, detector=known)
    made = [e.text for e in match.patch.edits if isinstance(e, AddReview)]
    assert made == known.asked[:3]


def test_appeal_is_the_cosine_with_the_mean_of_all_reviews() -> None:
    appeal = Appeal.fit(["red red", "red blue"])
    rare, often = 1 + np.log(3 / 2), 1.0
    norm = np.hypot(rare, often)
    pull = np.array([1 + often / norm, rare / norm])
    pull /= np.linalg.norm(pull)
    np.testing.assert_allclose(appeal(["Red!", "blue", "blue red", "green", ""]),
                               [pull[0], pull[1], (pull @ [often, rare]) / norm, 0, 0])  # fmt: skip
