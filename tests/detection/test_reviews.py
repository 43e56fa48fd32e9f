"""Detectors of fake reviews: features by hand, convexity, disk, duplicates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from hardrank.data import AddReview, Patch
from hardrank.data.labelled import Labelled
from hardrank.detection.reviews import (
    REVIEW_DETECTORS,
    STYLE,
    CopiedReviews,
    FittedReviewDetector,
    NgramReviews,
    StyleReviews,
)
from hardrank.detection.reviews.features import (
    grams,
    letter_grams,
    style,
    tf_idf,
    vocabulary,
    word_grams,
)
from hardrank.detection.reviews.logistic import fit_logistic
from hardrank.errors import DataError
from hardrank.testing.logs import taste_log
from hardrank.testing.reviews import reviewed_log

TRAINED = [NgramReviews(), StyleReviews()]


def _planted(n: int = 60, seed: int = 0) -> Labelled:
    """Fake texts shout and say `amazing`; the words around are the same."""
    rng = np.random.default_rng(seed)
    words = np.array("room bed night view breakfast staff lobby street".split())  # noqa: SIM905
    texts = []
    for row in range(n):
        said = rng.choice(words, size=12).tolist()
        texts.append(" ".join([*said, "amazing!!!"] if row % 2 else [*said, "fine."]))
    labels = np.arange(n) % 2
    return Labelled(texts=tuple(texts), labels=labels.astype(np.int64), names=("real", "fake"))


def test_style_by_hand() -> None:
    values = dict(zip(STYLE, style(["I LOVE it! We love it."])[0].tolist(), strict=True))
    assert values["log words"] == pytest.approx(np.log(6))
    assert values["words of a sentence"] == 3
    assert values["letters of a word"] == pytest.approx(15 / 6)
    assert values["different words"] == pytest.approx(4 / 6)
    assert values["once-only words"] == pytest.approx(2 / 6)
    assert values["I"] == values["we"] == values["words in capitals"] == pytest.approx(1 / 6)
    assert values["others"] == pytest.approx(2 / 6)
    assert values["exclamation marks"] == pytest.approx(1 / 22)
    assert values["repeated pairs of words"] == pytest.approx(1 / 5)
    assert style([""]).tolist() == [[0.0] * len(STYLE)]


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_a_style(text: str) -> None:
    values = style([text])
    assert values.shape == (1, len(STYLE)) and np.isfinite(values).all()
    assert ((values[0, 5:13] >= 0) & (values[0, 5:13] <= 1)).all()


def test_parts_of_a_text() -> None:
    assert word_grams("Don't go!") == ["don't", "go", "!", "don't go", "go !"]
    assert letter_grams("ab") == [" ab", "ab ", " ab "]
    assert vocabulary(["a b", "a c", "a b"], str.split, least=2, most=9) == ["a", "b"]
    assert vocabulary(["a b", "a c", "a b"], str.split, least=1, most=2) == ["a", "b"]


def test_tf_idf_is_that_of_scikit_learn() -> None:
    texts = ["one two two", "two three", "one four four four", "five"]
    known = vocabulary(texts, str.split, least=1, most=99)
    counts = grams(texts, str.split, {w: n for n, w in enumerate(known)})
    df = np.bincount(counts.indices, minlength=len(known))
    ours = tf_idf(counts, 1 + np.log((1 + len(texts)) / (1 + df))).toarray()
    theirs = TfidfVectorizer(sublinear_tf=True, analyzer=str.split).fit_transform(texts)
    np.testing.assert_allclose(ours, theirs.toarray(), atol=1e-12)


def test_logistic_regression_is_at_its_minimum() -> None:
    """Gradient zero, by differences; classes of other sizes weigh the same."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.random(40) < 0.2
    w, b = fit_logistic(x, y, penalty=0.1)

    def loss(at: np.ndarray) -> float:
        margin = np.where(y, 1, -1) * (x @ at[:3] + at[3])
        each = np.log1p(np.exp(-margin))
        return float(each[y].mean() / 2 + each[~y].mean() / 2 + 0.05 * at[:3] @ at[:3])

    at = np.append(w, b)
    for step in np.eye(4) * 1e-5:
        assert abs(loss(at + step) - loss(at - step)) / 2e-5 < 1e-5
    with pytest.raises(ValueError, match="both classes"):
        fit_logistic(x, np.ones(40, dtype=bool), penalty=0.1)


@pytest.mark.parametrize("spec", TRAINED, ids=lambda s: s.kind)
def test_a_trained_detector_finds_what_is_planted(spec: NgramReviews | StyleReviews) -> None:
    assert type(spec) in REVIEW_DETECTORS
    fitted = spec.fit(_planted(), fake="fake")
    test = _planted(seed=1)
    scores = fitted.score(test.texts)
    assert scores[test.labels == 1].min() > scores[test.labels == 0].max()
    alone = np.concatenate([fitted.score([t]) for t in test.texts])
    np.testing.assert_allclose(alone, scores, rtol=1e-5)
    again = spec.fit(_planted(), fake="fake")
    assert np.array_equal(again.score(test.texts), scores)
    flipped = spec.fit(_planted(), fake="real").score(test.texts)
    assert flipped[test.labels == 0].min() > flipped[test.labels == 1].max()


@pytest.mark.parametrize("spec", TRAINED, ids=lambda s: s.kind)
def test_a_detector_survives_the_disk(spec: NgramReviews | StyleReviews, tmp_path: Path) -> None:
    fitted = spec.fit(_planted(), fake="fake")
    fitted.save(tmp_path / "detector")
    assert sorted(p.name for p in (tmp_path / "detector").iterdir()) == [
        "vocabulary.json", "weights.safetensors",
    ]  # fmt: skip
    texts = (*_planted(seed=2).texts, "", "Ünseen \N{SNOWMAN}")
    loaded = FittedReviewDetector.load(tmp_path / "detector")
    assert np.array_equal(loaded.score(texts), fitted.score(texts))
    with pytest.raises(DataError, match="no detector of reviews"):
        FittedReviewDetector.load(tmp_path)
    (tmp_path / "detector" / "vocabulary.json").write_text('{"words": ["x"]}')
    with pytest.raises(DataError, match=r"lacks the array|features"):
        FittedReviewDetector.load(tmp_path / "detector")


def test_training_needs_both_sides() -> None:
    data = _planted()
    with pytest.raises(DataError, match="no class 'bot'"):
        StyleReviews().fit(data, fake="bot")
    with pytest.raises(DataError, match="both fake and real"):
        StyleReviews().fit(data.take(np.arange(0, 60, 2)), fake="fake")


def test_users_are_judged_by_their_reviews_alone() -> None:
    data = reviewed_log()
    patch = Patch((AddReview("bot", "i1", "amazing!!! amazing!!!", 5.0, 1_600_000_500),))
    after = data.apply(patch)
    silent = replace(after, reviews=after.reviews.filter(pl.col("user") != 0))  # type: ignore[union-attr]
    fitted = StyleReviews().fit(_planted(), fake="fake")
    for detector in (fitted, CopiedReviews()):
        scores = detector(silent)
        assert scores.shape == (silent.n_users,) and np.isnan(scores[0])
        assert not np.isnan(scores[1:]).any()
        order = np.random.default_rng(0).permutation(silent.n_users)
        where = np.argsort(order)
        moved = replace(
            taste_log(),
            users=pl.DataFrame({"user_id": [f"other-{n}" for n in range(silent.n_users)]}),
            items=silent.items, events=silent.events.clear(),
            reviews=silent.reviews.with_columns(  # type: ignore[union-attr]
                user=pl.Series(where[silent.reviews["user"].to_numpy()])  # type: ignore[index]
            ),
        )  # fmt: skip
        np.testing.assert_array_equal(detector(moved), scores[order])
    assert fitted(silent)[-1] == np.nanmax(fitted(silent))
    with pytest.raises(DataError, match="has no reviews"):
        fitted(taste_log())


def test_a_copy_is_found_and_its_source_is_not() -> None:
    """Runs of three words: of `a b c d X` two of three stand in `a b c d`."""
    texts = ["A b, c d x", "a b c d", "a b", "q r s t", "q r s t"]
    table = {"user": [0, 1, 2, 3, 4], "item": [0] * 5, "time": [9, 1, 2, None, 0], "text": texts}
    data = replace(taste_log(), reviews=pl.DataFrame(table))
    found = CopiedReviews(run=3).reviews(data)
    np.testing.assert_allclose(found, [2 / 3, 0, 0, 0, 1])
    bare = replace(data, reviews=pl.DataFrame(table).drop("time"))
    np.testing.assert_allclose(CopiedReviews(run=3).reviews(bare), [0, 1, 0, 0, 1])
    public = CopiedReviews(run=3).against(["a b c d"])
    np.testing.assert_allclose(public.score(["x a b c", "b c", ""]), [1 / 2, 0, 0])
    with pytest.raises(DataError, match="has no reviews"):
        CopiedReviews()(taste_log())
