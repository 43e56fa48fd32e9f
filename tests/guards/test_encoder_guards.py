"""Guards that read through a sentence encoder, worked out by hand (S1-03, S4-06)."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from hardrank.errors import DataError
from hardrank.guards import (
    READERS,
    EncoderHead,
    Lesson,
    Listing,
    RareWords,
    Shop,
    TextDensity,
    WordReactions,
    fit_pipeline,
    load_pipeline,
)
from hardrank.guards.encoded import LONGEST, Reach, places, rewritten
from hardrank.guards.encoder_head import head_features
from hardrank.guards.lesson import taught
from hardrank.guards.rare_words import FittedRareWords
from hardrank.guards.text_density import Gaussian, KernelAxes
from hardrank.guards.word_reactions import sorted_reactions
from hardrank.testing.guards import GuardContract, planted_lesson
from hardrank.types import Floats

SHOUT = "!!! ALBA PURE RICH MASK 75 ML !!! BUY ###"


class Bag:
    """An encoder of bags of words: the sum of the words' vectors, of length 1."""

    def __init__(self, known: Mapping[str, Sequence[float]] | None = None, size: int = 24) -> None:
        self.known = known
        self.size = size if known is None else len(next(iter(known.values())))

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> Floats:
        out = np.stack([sum(map(self.word, text.split()), np.zeros(self.size)) for text in texts])
        out[np.linalg.norm(out, axis=1) < 1e-9, 0] = 1.0
        unit: Floats = (out / np.linalg.norm(out, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def word(self, word: str) -> np.ndarray:
        if self.known is not None:
            return np.asarray(self.known[word.lower()], dtype=np.float64)
        seed = zlib.crc32(word.lower().encode("utf-8", "replace"))
        return np.random.default_rng(seed).normal(size=self.size)


def read_by(encoder: Bag, patch: pytest.MonkeyPatch) -> None:
    for room in ("encoded", "rare_words"):
        patch.setattr(f"hardrank.guards.{room}.encoder_of", lambda name: encoder)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    read_by(Bag(), monkeypatch)


@pytest.mark.usefixtures("hashed")
class TestEncoderHead(GuardContract):
    spec = EncoderHead()
    bad = Listing("i230", {"title": SHOUT})


@pytest.mark.usefixtures("hashed")
class TestWordReactions(GuardContract):
    spec = WordReactions(trees=40)
    bad = Listing("i230", {"title": SHOUT})


@pytest.mark.usefixtures("hashed")
class TestRareWords(GuardContract):
    spec = RareWords()
    bad = Listing("x", {"title": "velvet krait ouzel vexillum quoin"})


@pytest.mark.usefixtures("hashed")
class TestTextDensity(GuardContract):
    """A text of words that no other has is no outlier: all axes overlook it alike."""

    spec = TextDensity(size=40, false_alarms=0.05)
    bad = Listing("x", {"title": "Alba"})


def test_every_reader_is_held_to_the_contract() -> None:
    here = [made for made in GuardContract.__subclasses__() if made.__module__ == __name__]
    assert {type(made.spec) for made in here} == set(READERS)


# Words and whom a text reaches


def test_words_are_left_out_and_replaced_where_they_stand() -> None:
    one = Listing("a", {"title": "Red  soap, red", "brand": "Alba"})
    where = places(one)
    assert where == [("title", 0, 3), ("title", 5, 10), ("title", 11, 14), ("brand", 0, 4)]
    assert rewritten(one, {where[0]: ""}) == "soap, red . Alba"
    assert rewritten(one, {where[0]: "blue", where[2]: "navy"}) == "blue  soap, navy . Alba"
    assert rewritten(one, {where[3]: ""}) == "Red soap, red"
    assert len(places(Listing("b", {"title": "a " * 500}))) == LONGEST


LINE = {"east": (1.0, 0.0), "north": (0.0, 1.0), "west": (-1.0, 0.0)}


def compass(most: int = 2) -> Reach:
    items = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["east", "north", "west"]})
    shop = Shop(items=items, counts=np.asarray([5, 9, 1]))
    return Reach.of(shop, ["east", "north", "west"], "any", most)


def test_reach_is_the_cosine_above_what_a_query_shows_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of three items two are shown, so the border is the second of the other two: for `north`
    both others have cosine 0; for `east` they have 0 and -1."""
    read_by(Bag(LINE), monkeypatch)
    reach = compass()
    assert reach.names == ("b", "a")
    assert reach.borders == pytest.approx([0.0, -1.0])
    margins = reach.margins(np.asarray([[1.0, 0.0], [0.0, 1.0]]), ["x", "b"])
    assert margins.tolist() == [[0.0, 2.0], [-2.0, 1.0]]
    assert reach.reached(np.asarray([[1.0, 0.0]]), ["x"]).tolist() == [[1, 0]]
    assert reach.score(np.asarray([[1.0, 0.0]]), np.asarray([[1, 0]])).tolist() == [1.0]


# FGWS


COLOURS = {
    "blue": (1.0, 0.0, 0.0, 0.0), "navy": (0.9, 0.1, 0.0, 0.0), "sea": (0.0, 0.0, 1.0, 0.0),
    "azure": (0.95, 0.05, 0.0, 0.0), "mast": (0.0, 0.1, 1.0, 0.0), "1995": (0.0, 0.0, 0.0, 1.0),
}  # fmt: skip


def colours() -> FittedRareWords:
    names = ("blue", "navy", "sea")
    vectors = Bag(COLOURS).encode(names)
    return FittedRareWords(
        spec=RareWords(neighbours=2, least=0.5), words=names, vectors=vectors,
        counts=np.asarray([9.0, 5.0, 2.0]), threshold=0.01,
    )  # fmt: skip


def test_exactly_the_rare_words_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """`azure` has two neighbours, of which `blue` is the more frequent; `mast` has one above
    the least cosine; `1995` has no letter; usual words stay."""
    read_by(Bag(COLOURS), monkeypatch)
    guard = colours()
    assert guard.substitutes(["azure", "Mast", "blue", "Sea", "1995"]) == {
        "azure": "blue", "Mast": "Sea",
    }  # fmt: skip
    asked = [Listing("x", {"title": "navy azure 1995"}), Listing("y", {"title": "blue sea"})]
    assert guard.changes(asked) == [{("title", 5, 10): "blue"}, {}]


def test_marks_and_letters_of_any_kind_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks stand outside the word; capitals of a sharp s are two letters."""
    read_by(Bag(), monkeypatch)
    guard = RareWords().fit(planted_lesson())
    found = guard.substitutes(["+cReam", "+krait+", "STRAßE", "\u0149A", "!!", ""])
    assert set(found) == {"+krait+", "STRAßE", "\u0149A"}
    assert found["+krait+"][0] == found["+krait+"][-1] == "+"


def test_the_score_is_how_far_the_text_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    bag = Bag(COLOURS)
    read_by(bag, monkeypatch)
    guard, shop = colours(), Shop(items=pl.DataFrame({"item_id": ["a"], "title": ["blue"]}))
    asked = [Listing("x", {"title": t}) for t in ("navy azure", "blue sea", "mast")]
    raw = guard.raw(asked, shop)
    before, after = bag.encode(["navy azure", "navy blue"])
    assert raw[0] == pytest.approx(1 - float(before @ after), abs=1e-6)
    assert raw[1] == 0
    assert raw[2] == pytest.approx(1 - 1 / np.sqrt(1.01), abs=1e-6)
    verdict = guard.inspect([Listing("z", {"title": "azure mast"})], shop)[0]
    assert verdict.action == "admit" and verdict.spans == ()
    far = FittedRareWords(
        spec=guard.spec, words=guard.words, vectors=guard.vectors, counts=guard.counts,
        threshold=1e-6,
    ).inspect([Listing("z", {"title": "blue mast"})], shop)[0]  # fmt: skip
    assert far.spans == (("title", 5, 9),) and "'sea'" in far.reason


# RDE


def test_density_is_that_of_a_gaussian() -> None:
    """The closed form, against scipy."""
    mean = np.asarray([1.0, -2.0, 0.5])
    cov = np.asarray([[2.0, 0.3, 0.0], [0.3, 1.0, 0.2], [0.0, 0.2, 0.5]])
    x = np.random.default_rng(0).normal(size=(50, 3)) * 3
    made = Gaussian(mean, np.linalg.inv(cov))
    expected = -multivariate_normal(mean, cov).logpdf(x)
    assert made.surprise(x) == pytest.approx(expected)
    assert made.distances(mean[None]) == pytest.approx([0.0])


def test_outliers_do_not_pull_the_gaussian() -> None:
    rng = np.random.default_rng(0)
    cov = np.asarray([[2.0, 0.6], [0.6, 1.0]])
    x = rng.multivariate_normal([0, 0], cov, size=800)
    x = np.concatenate([x, rng.normal(loc=20, size=(160, 2))])
    made = Gaussian.fit(x, 0.75, 3)
    assert np.abs(x.mean(axis=0)).min() > 3
    assert np.abs(made.mean).max() < 0.2
    assert np.linalg.inv(made.precision) == pytest.approx(cov, abs=0.3)
    again = Gaussian.fit(x, 0.75, 3)
    assert np.array_equal(again.precision, made.precision)


@given(st.integers(0, 10_000), st.floats(0.05, 2.0))
def test_all_axes_keep_the_kernel_distances(seed: int, width: float) -> None:
    """|z_a - z_b|^2 = k(a, a) + k(b, b) - 2 k(a, b) = 2 - 2 exp(-width |a - b|^2)."""
    x = np.random.default_rng(seed).normal(size=(7, 4))
    z = KernelAxes.fit(x, 7, width)(x)
    square = ((x[:, None] - x) ** 2).sum(-1)
    assert ((z[:, None] - z) ** 2).sum(-1) == pytest.approx(
        2 - 2 * np.exp(-width * square), abs=1e-6
    )
    assert z.mean(axis=0) == pytest.approx(0, abs=1e-6)


def test_first_axis_has_the_largest_variance() -> None:
    x = np.random.default_rng(1).normal(size=(60, 5)) * [3, 1, 1, 1, 1]
    spread = KernelAxes.fit(x, 3, 0.01)(x).var(axis=0)
    assert spread.shape == (3,) and (np.diff(spread) <= 0).all()


# WDR


def test_reactions_are_sorted_differences() -> None:
    """Text 0 has three words, of which the two largest changes count; 1 has none; 2 has one."""
    whole, without = np.asarray([1.0, 0.5, 0.2]), np.asarray([0.9, 0.4, 1.5, 0.3])
    found = sorted_reactions(whole, without, np.asarray([0, 0, 0, 2]), 2)
    assert found == pytest.approx(np.asarray([[1, 0.6, 0.1], [0.5, 0, 0], [0.2, -0.1, 0]]))


def test_a_word_that_carries_the_rank_reacts_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """`east north` is at 45 degrees from both queries; margins by hand from cosines."""
    read_by(Bag(LINE), monkeypatch)
    guard = WordReactions(trees=1, words=2).restore(
        {**compass().arrays(), "border": np.asarray([1.0]), **trees_of_nothing()}
    )
    half = np.sqrt(0.5)
    whole = (half - 0.0 + half + 1.0) / 2  # mean of the two margins
    alone = (1.0 + 1.0) / 2  # `east` or `north` alone: (0 - 0 + 1 + 1) / 2 = (1 - 0 + 0 + 1) / 2
    found = guard.features([Listing("x", {"title": "east north"})])
    assert found == pytest.approx(np.asarray([[whole, whole - alone, whole - alone]]), abs=1e-6)
    assert guard.features([Listing("x", {})]).shape == (1, 3)


def trees_of_nothing() -> dict[str, np.ndarray]:
    whole = dict.fromkeys(("left", "right", "feature"), np.zeros((1, 1), np.int32))
    return {f"forest.{k}": v for k, v in {**whole, "threshold": np.zeros((1, 1)),
                                          "value": np.zeros((1, 1))}.items()}  # fmt: skip


# The head


def test_head_reads_the_text_its_change_and_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    read_by(Bag(LINE), monkeypatch)
    reach = compass()
    new, moved = head_features(
        [Listing("x", {"title": "east"}), Listing("x", {"title": "east"}, {"title": "north"})],
        reach, "any",
    )  # fmt: skip
    assert new[:6].tolist() == [1, 0, 0, 0, 0, 0]  # before and words are the text itself
    assert new[6:] == pytest.approx([0, 0, 3 * 2, 3 * 1])  # margins 0 and 2
    assert moved[:4].tolist() == [1, 0, 1, -1]
    assert moved[6] == pytest.approx(3)


def test_every_family_weighs_the_same_with_and_without_its_past() -> None:
    lesson = planted_lesson()
    few = Lesson(shop=lesson.shop, attacked=lesson.attacked[:21], seed=0)  # 11 and 10
    listings, labels, weight = taught(few, 100)
    assert labels.sum() == 42 and not labels[:100].any() and labels[100:].all()
    assert weight[labels].sum() == pytest.approx(weight[~labels].sum()) == 100
    shouting = [n for n, e in enumerate(few.attacked) if e.family == "shouting"]
    mine = [100 + 21 * part + n for n in shouting for part in (0, 1)]
    assert weight[mine].sum() == pytest.approx(50)
    assert [one.before is None for one in listings[100:]] == [False] * 21 + [True] * 21


@pytest.mark.parametrize("made", [EncoderHead(), WordReactions()])
def test_what_learns_from_attacks_needs_some(made: EncoderHead | WordReactions) -> None:
    with pytest.raises(DataError, match="needs attacked listings"):
        made.fit(planted_lesson().without("shouting").without("copying"))


def test_an_encoder_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="no such folder"):
        TextDensity(encoder="/nowhere/at all").fit(planted_lesson())


@pytest.mark.usefixtures("hashed")
@pytest.mark.parametrize("made", READERS)
def test_hostile_texts_are_judged(made: type) -> None:
    lesson = planted_lesson()
    guard = made().fit(lesson)
    texts = (
        "a" * 10**6,
        "alba cream " * 20_000,
        "alba \ud800 cream",
        "\u200b" * 500,
        " \t\n",
        "!?",
    )
    asked = [Listing("new", {"title": text}, {"title": "Alba soft cream"}) for text in texts]
    for verdict in guard.inspect(asked, lesson.shop):
        assert verdict.action in ("admit", "quarantine") and 0 <= verdict.score <= 1


@pytest.mark.usefixtures("hashed")
def test_readers_travel_in_a_pipeline(tmp_path: Path) -> None:
    """A brand that they did not learn is not read; all is as it was after a reload."""
    lesson = planted_lesson()
    guards = fit_pipeline([made() for made in READERS], lesson)
    guards.save(tmp_path / "guards")
    again = load_pipeline(tmp_path / "guards")
    asked = [Listing("i230", {"title": SHOUT}), Listing("new", {"title": lesson.texts[0]})]
    said = guards.inspect(asked, lesson.shop)
    assert said[0].action == "quarantine"
    assert again.inspect(asked, lesson.shop) == said
    with_brand = [Listing(a.item_id, {**a.fields, "brand": "krait"}) for a in asked]
    assert guards.inspect(with_brand, lesson.shop) == said
