"""What may stand in a word's place: synonyms, near words, likely words, bestsellers, nothing."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.attacks import own_lm
from hardrank.attacks.draft import Draft
from hardrank.attacks.own_lm import OwnLM
from hardrank.attacks.parts import Shop
from hardrank.attacks.protected import is_protected
from hardrank.attacks.transformations import (
    DeleteWords,
    MaskedLMInsert,
    MaskedLMReplace,
    NearWords,
    SubstituteWords,
    Synonyms,
    neighbours,
)
from hardrank.errors import Unsupported
from hardrank.language.pretrain import Pretraining

RNG = np.random.default_rng(0)
TINY = Pretraining(vocabulary=80, layers=1, size=32, max_tokens=16, steps=2, batch_size=4)
TITLES = ["Red lamp, 60 W", "blue lamp", "warm red tea", "Acme tea pot", "", "红茶 壶"]


def shop(titles: Any = tuple(TITLES), **columns: Any) -> Shop:
    items = pl.DataFrame({"title": list(titles), **columns})
    return Shop(items, np.arange(len(titles), 0, -1), "title")


def put(transformation: Any, text: str, slot: int, place: Shop | None = None) -> list[str]:
    return list(transformation(Draft.of(text), slot, place or shop(), RNG))


@pytest.fixture
def thesaurus(tmp_path: Path) -> str:
    path = tmp_path / "synsets.tsv"
    rows = ["1\tn\tlamp|lantern|light\t", "2\ta\tred|scarlet\t", "3\tn\ttea|cuppa\t",
            "4\tn\tlight|illumination\t", "5\tn\tsixty|60\t"]  # fmt: skip
    path.write_text("\n".join(["synset\tpos\tmembers\thypernyms", *rows]) + "\n", "utf-8")
    return str(path)


# Synonyms


def test_synonyms_keep_case_marks_and_number(thesaurus: str) -> None:
    words = Synonyms(path=thesaurus)
    assert put(words, "Red lamps, new", 0) == ["Scarlet"]
    assert sorted(put(words, "Red lamps, new", 1)) == ["lanterns,", "lights,"]
    assert put(words, "Red lamps, new", 2) == []
    assert put(words, "", 0) == []


def test_synonyms_are_of_the_word_as_it_stood_at_first(thesaurus: str) -> None:
    """lamp -> light does not lead on to illumination, and back to lamp is no new filling."""
    changed = Draft.of("lamp").put(0, "light")
    assert Synonyms(path=thesaurus)(changed, 0, shop(), RNG) == ["lantern"]


def test_synonyms_read_one_part_of_speech_and_no_more_than_most(thesaurus: str) -> None:
    assert put(Synonyms(path=thesaurus, pos="v"), "lamp", 0) == []
    assert len(put(Synonyms(path=thesaurus, most=1), "lamp", 0)) == 1


def test_without_wordnet_it_says_where_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARDRANK_DATA", str(tmp_path))
    with pytest.raises(Unsupported, match=r"en-word\.net"):
        put(Synonyms(), "lamp", 0)


def test_the_real_wordnet(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDRANK_DATA", str(data_folder))
    assert "Bluish" in put(Synonyms(), "Blue shampoo", 0)


# Protected spans


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Shampoo 12 Fl. Oz by Neem", {1, 2, 3}),
        ("SPF 30 cream, pack of 6", {0, 1, 3, 4, 5}),
        ("Pack of lies", set()),
        ("$3.50 lamp for \u20ac4", {0, 3}),
        ("aspirin 500mg x 20 tablets", {1, 2, 3, 4}),
        ("7th \u0665 \u00bd 5%", {0, 1, 2, 3}),
        ("The Body Shop body lotion", {0, 1, 2}),
        ("Acme\u2122 pot", {0}),
        ("茶 500 克 装", {1, 2}),
        ("", set()),
    ],
)
def test_numbers_units_prices_doses_and_brands_are_protected(text: str, kept: set[int]) -> None:
    """Row S0-22."""
    brands = ["Acme", "the body shop", None, ""]
    place = shop(["", "", "", ""], brand=brands)
    draft = Draft.of(text)
    found = {s for s in range(len(draft.words)) if is_protected(draft, s, place)}
    assert found == kept
    changed = draft.put(0, "9 oz")
    assert {s for s in range(len(draft.words)) if is_protected(changed, s, place)} == kept


def test_a_shop_without_brands_protects_numbers_alone() -> None:
    assert shop().brands == frozenset()
    assert is_protected(Draft.of("Acme 5"), 1, shop())
    assert not is_protected(Draft.of("Acme 5"), 0, shop())


def test_what_is_protected_stays(thesaurus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row S0-22: an option of each transformation that replaces or deletes."""
    place = shop(brand=["Lamp"] + [""] * 5)
    plain = [Synonyms(path=thesaurus), DeleteWords(), SubstituteWords(protected=True)]
    for transformation in plain:
        for slot in (0, 1, 2):
            assert put(transformation, "lamp 60 W", slot, place) == []
    assert put(Synonyms(path=thesaurus, protected=False), "lamp 60 W", 1, place) == ["sixty"]
    assert put(DeleteWords(protected=False), "lamp 60 W", 1, place) == [""]
    assert "blue" in put(SubstituteWords(), "lamp 60 W", 1, place)


# Bestsellers and nothing


def test_bestsellers_take_case_and_marks_and_are_not_said_twice() -> None:
    assert put(SubstituteWords(vocabulary=3), "Lamp, (WARM) cup", 0) == ["Red,", "Tea,"]
    assert put(SubstituteWords(vocabulary=3), "Lamp, (WARM) cup", 1) == ["(RED)", "(TEA)"]
    assert put(SubstituteWords(vocabulary=1), "", 0) == ["lamp"]


def test_the_last_word_is_not_deleted() -> None:
    assert put(DeleteWords(), "red lamp", 0) == [""]
    assert put(DeleteWords(), "red", 0) == []
    assert DeleteWords()(Draft.of("red lamp").put(0, ""), 1, shop(), RNG) == ()
    assert DeleteWords()(Draft.of("red lamp").put(0, ""), 0, shop(), RNG) == ()


# Near words


class _Wheel:
    """An encoder that puts words on a circle, by hand."""

    angles: ClassVar = {"lamp": 0.0, "pot": 0.1, "tea": 0.4, "blue": 1.2, "red": 3.0, "warm": 3.1}

    def encode(self, texts: Any, *, keep: bool = True) -> Any:
        at = np.array([self.angles.get(t, 5.0) for t in texts])
        return np.stack([np.cos(at), np.sin(at)], axis=1).astype(np.float32)


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> Any:
    def clear() -> None:
        neighbours._space.cache_clear()
        neighbours._near.cache_clear()

    clear()
    monkeypatch.setattr(neighbours, "_encoder", lambda name: _Wheel())
    yield
    clear()


@pytest.mark.usefixtures("wheel")
def test_near_words_are_nearest_first_and_near_enough() -> None:
    words = NearWords(least=0.9)
    assert put(words, "Lamp,", 0) == ["Pot,", "Tea,"]  # cosines 0.995 and 0.921
    assert put(NearWords(least=0.99), "Lamp,", 0) == ["Pot,"]
    assert put(NearWords(least=0.9, most=1), "red cup", 0) == ["warm"]
    changed = Draft.of("lamp").put(0, "pot")
    assert words(changed, 0, shop(), RNG) == ["tea"]
    assert put(words, "", 0) == put(words, "60", 0) == put(words, "\U0001f4a1", 0) == []
    assert put(words, "lamp", 0, shop(["", ""])) == []


# Likely words


class _Parrot:
    """Says where it was asked."""

    def fill_many(self, requests: Any, k: int, *, masked: bool = False) -> Any:
        return [[(f"{'_' if masked else ''}{t[a:b]}~{a}", -1.0)] for t, (a, b) in requests]

    def insert_many(self, requests: Any, k: int) -> Any:
        return [[(f"new{n}", -1.0)] for _, n in requests]


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> Any:
    own_lm._expected.cache_clear()
    own_lm._inserted.cache_clear()
    model = _Parrot()
    monkeypatch.setattr(own_lm, "_model", lambda own, shop: model)


@pytest.mark.usefixtures("parrot")
def test_the_language_model_is_asked_about_the_slot() -> None:
    draft = Draft.of(" red  lamp 60").put(0, "deep red")
    words = MaskedLMReplace()
    assert words(draft, 0, shop(), RNG) == ["deep red~1"]
    assert words(draft, 1, shop(), RNG) == ["lamp~11"]
    assert words(draft, 2, shop(), RNG) == ()  # a number is protected
    assert MaskedLMReplace(masked=True)(draft, 1, shop(), RNG) == ["_lamp~11"]
    assert put(words, "", 0) == []


@pytest.mark.usefixtures("parrot")
def test_insertions_stand_before_each_word_and_after_the_last() -> None:
    draft = Draft.of("red lamp pot").put(0, "deep red").put(1, "")
    words = MaskedLMInsert()
    assert [words(draft, slot, shop(), RNG) for slot in range(3)] == [
        ("new0 deep red",), ("new2",), ("new2 pot", "pot new3"),
    ]  # fmt: skip
    assert put(words, "", 0) == ["new0"]


@pytest.mark.slow
def test_a_model_of_the_shops_own_language_is_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARDRANK_CACHE", str(tmp_path))
    own_lm._model.cache_clear()
    replace = MaskedLMReplace(model=OwnLM(training=TINY), most=4)
    first = put(replace, "red lamp", 0)
    assert 1 <= len(first) <= 4 and "red" not in first
    (folder,) = (tmp_path / "masked-lm").iterdir()
    before = (folder / "model.safetensors").stat().st_mtime_ns
    own_lm._model.cache_clear()
    assert put(replace, "red lamp", 0, shop()) == first
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert put(replace, "red lamp", 0, shop(["", " "])) == []  # nothing to learn from
    given_folder = MaskedLMReplace(model=OwnLM(folder=str(folder)), most=4)
    assert put(given_folder, "red lamp", 0) == first
    own_lm._model.cache_clear()


def test_a_missing_language_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no language model"):
        put(MaskedLMReplace(model=OwnLM(folder=str(tmp_path / "none"))), "red lamp", 0)


# All of them


@given(st.text(max_size=40), st.integers(0, 50))
@settings(deadline=None)
def test_a_filling_never_is_what_stands_there(text: str, at: int) -> None:
    """Any script, emoji, right-to-left text: fillings differ from the slot and break nothing."""
    draft, place = Draft.of(text), shop()
    slot = at % len(draft.words)
    for transformation in (SubstituteWords(), DeleteWords()):
        found = transformation(draft, slot, place, RNG)
        assert draft.words[slot] not in found and len(set(found)) == len(found)
        assert all(isinstance(draft.put(slot, f).text, str) for f in found)


def test_long_texts(thesaurus: str) -> None:
    """10,000 characters."""
    text = "lamp \U0001f4a1 شاي " * 900
    assert len(text) > 9_000
    assert len(put(Synonyms(path=thesaurus), text, 3)) == 2
    assert put(DeleteWords(), text, 2699) == [""]
