"""Chinese titles: characters that sound alike, look alike, in letters, in the other script."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardrank.attacks import ChineseHomophone
from hardrank.attacks.draft import Draft
from hardrank.attacks.tables.hanzi import read
from hardrank.attacks.transformations import ChineseCharacters
from hardrank.attacks.transformations.chinese_characters import Way
from hardrank.data import Dataset, Patch
from hardrank.errors import DataError
from hardrank.testing import WordTaste, dataset
from hardrank.threats import Budget, Demote, Match, Promote, ThreatModel, mount
from hardrank.wording import split

SHOP: Any = None  # these edits do not look at the shop
PHONE = "\u624b\u673a"  # shou3 ji1, mobile phone


def ways(way: Way, character: str, candidates: int = 99) -> list[str]:
    edit = ChineseCharacters(ways=(way,), candidates=candidates)
    return list(edit(Draft.of(character), 0, SHOP, np.random.default_rng(0)))


def test_the_table_covers_what_shops_write() -> None:
    hanzi = read()
    assert len(hanzi.readings) == 1490
    titles = (
        "\u82f9\u679c\u624b\u673a\u58f3\u900f\u660e\u9632\u6454\u65b0\u6b3e"
        "\u5973\u88c5\u590f\u5b63\u77ed\u8896\u5bbd\u677e\u7eaf\u68c9"
        "\u8fdb\u53e3\u725b\u5976\u9999\u8549\u5473\u996e\u6599\u6574\u7bb1"
    )
    known = [c for c in titles if c in hanzi.readings]
    assert len(known) / len(titles) > 0.9


def test_the_table_is_sound() -> None:
    """Every reading is a syllable with a tone; nothing is its own alternative."""
    hanzi = read()
    for character, readings in hanzi.readings.items():
        assert readings and len(split(character)) == 1
        assert character not in hanzi.homophones(character)
        assert character not in hanzi.glyphs[character]
    for simple, other in hanzi.variants.items():
        assert simple != other and len(other) == 1


def test_homophones_of_one_tone_come_first() -> None:
    """\u624b (shou3): \u9996 and \u5b88 are shou3 too, \u6536 is shou1, \u552e is shou4."""
    found = ways("homophone", "\u624b")
    assert found[:2] == ["\u9996", "\u5b88"]
    assert found.index("\u5b88") < found.index("\u6536") < found.index("\u552e")
    assert ways("homophone", "\u624b", candidates=1) == ["\u9996"]
    assert set(ways("homophone", "\u673a")) >= {"\u9e21", "\u51e0", "\u8bb0"}


def test_a_character_of_two_readings_has_the_homophones_of_both() -> None:
    """\u4e50 is le4 and yue4, \u957f is chang2 and zhang3."""
    found = set(ways("homophone", "\u4e50"))
    assert {"\u52d2", "\u6708"} <= found
    assert ways("pinyin", "\u4e50") == ["le", "yue"]


def test_glyphs_pinyin_and_scripts() -> None:
    assert "\u672b" in ways("glyph", "\u672a") and "\u51e0" in ways("glyph", "\u673a")
    assert ways("pinyin", "\u624b") == ["shou"] and ways("pinyin", "\u7eff") == ["lv"]
    assert ways("script", "\u673a") == ["\u6a5f"] and ways("script", "\u6a5f") == ["\u673a"]
    assert ways("script", "\u624b") == []


def test_traditional_characters_sound_like_simplified_ones() -> None:
    """A title in traditional script is attacked too."""
    assert ways("pinyin", "\u6a5f") == ["ji"]
    assert ways("homophone", "\u6a5f")[0] == "\u51e0"
    assert "\u673a" not in ways("homophone", "\u6a5f")


@pytest.mark.parametrize("way", ["homophone", "glyph", "pinyin", "script"])
def test_other_writing_is_left_alone(way: Way) -> None:
    for word in ("iPhone", "\u30b1", "\u0647\u0627", "\U0001f44d", "", "\U00020000"):
        assert ways(way, word) == []


class Glance(WordTaste):
    """A victim that reads Chinese: its words are those of `hardrank.wording`."""

    def counts(self, texts: Any) -> Any:
        return super().counts([" ".join(split(text or "")) for text in texts])


def shop() -> tuple[Dataset, Glance]:
    """\u624b and \u673a are worth 2 and 3, \u58f3 (case) 1, \u65e7 (old) -4. The target 'a' reads
    \u65e7\u624b\u673a, old phone."""
    titles = [f"\u65e7{PHONE}", f"{PHONE}\u58f3", "\u624b\u58f3", "\u58f3", "\u673a"]
    data = dataset(titles, [[1], [2], [3, 4]])
    words = ("\u624b", "\u673a", "\u58f3", "\u65e7")
    taste = np.tile(np.array([[2, 3, 1, -4]], np.float32), (3, 1))
    return data, Glance(items=data.items, words=words, taste=taste)


def play(attack: Any, goal: Any, **limits: Any) -> Match:
    data, victim = shop()
    model = ThreatModel(goal=goal, budget=Budget(**limits))
    return mount(attack, model, victim, data, panel=data.histories(), target="a")


def test_old_sounds_new_when_promoting() -> None:
    """\u65e7 (jiu4) becomes \u6551 (jiu4) or another of its sound: 3 queries for the order, 4 for
    homophones; the budget of one word is then full."""
    match = play(ChineseHomophone(ways=("homophone",)), Promote(k=1), words=1)
    first = read().homophones("\u65e7")[0]
    assert match.patch.rewrites()["a"].text == f"{first}{PHONE}"
    assert (match.words, match.characters, match.queries) == (1, 1, 7)


def test_a_phone_is_hidden_when_demoting() -> None:
    """\u624b\u673a becomes shouji: two words changed, whatever stands between them."""
    match = play(ChineseHomophone(ways=("pinyin",)), Demote(k=1), words=3)
    assert match.patch.rewrites()["a"].text == "\u65e7shouji"
    assert match.words == 2
    one = play(ChineseHomophone(ways=("glyph",)), Demote(k=1), words=1)
    assert one.patch.rewrites()["a"].text in {f"\u65e7\u624b{g}" for g in read().glyphs["\u673a"]}


def test_the_other_script_is_another_word() -> None:
    match = play(ChineseHomophone(ways=("script",)), Promote(k=1), words=1)
    assert match.patch.rewrites()["a"].text == f"\u820a{PHONE}"


def test_no_budget_no_patch() -> None:
    assert play(ChineseHomophone(), Promote(k=1), words=0).patch == Patch()


def test_a_table_of_your_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text("# mine\n\u65e7\tjiu4\n\n\u9152\tjiu3\t\u6d12\n\u4e5d\tjiu3\n", "utf-8")
    match = play(ChineseHomophone(ways=("homophone",), table=path), Promote(k=1), words=1)
    assert match.patch.rewrites()["a"].text == f"\u9152{PHONE}"
    assert read(path).glyphs["\u9152"] == "\u6d12"


@pytest.mark.parametrize(
    ("line", "why"),
    [("\u65e7\tjiu", "'jiu' is no pinyin"), ("\u65e7\u624b\tjiu4", "not one character"),
     ("\u65e7\t\u65e74", "'\u65e74' is no pinyin"), ("\u65e7\tjiu4,shou9", "'shou9' is no pinyin")],
)  # fmt: skip
def test_a_wrong_table_is_named_with_its_line(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "wrong.tsv"
    path.write_text(f"\u624b\tshou3\n{line}\n", "utf-8")
    with pytest.raises(DataError, match=rf"wrong\.tsv, line 2: {why}.*; write: character TAB"):
        read(path)


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tsv: cannot be read"):
        read(tmp_path / "none.tsv")
    (tmp_path / "gbk.tsv").write_bytes("\u65e7\tjiu4\n".encode("gbk"))
    with pytest.raises(DataError, match=r"gbk\.tsv: cannot be read"):
        read(tmp_path / "gbk.tsv")
