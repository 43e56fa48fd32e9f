"""The thesaurus: answers of a file that a person can read, the real one, and bad rows."""

import gzip
import time
from pathlib import Path

import pytest

from hardrank.errors import DataError, Unsupported
from hardrank.language.wordnet import Thesaurus, find_wordnet

HEAD = "synset\tpos\tmembers\thypernyms\n"
ROWS = """\
1-s\ts\tblue|azure|sky blue\t
2-s\ts\tblue|sad\t
3-a\ta\tazure|blue|cerulean\t
4-n\tn\tlotion|cream\t5-n
5-n\tn\tsubstance\t
6-v\tv\tpaint|coat|make up\t7-v
7-v\tv\tcover\t
8-n\tn\tParis|City of Light\t
9-n\tn\tcoat|sad\t5-n
10-n\tn\tlife|being\t
11-v\tv\tcream|beat\t
"""


@pytest.fixture
def small(tmp_path: Path) -> Thesaurus:
    return Thesaurus.load(_file(tmp_path, ROWS))


def _file(folder: Path, rows: str) -> Path:
    path = folder / "synsets.tsv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(HEAD + rows)
    return path


def test_synonyms_by_shared_sets_then_senses_then_order(small: Thesaurus) -> None:
    # azure shares two sets; sad has two senses, cerulean one; the two words come last.
    assert small.synonyms("blue") == ("azure", "sad", "cerulean", "sky blue")
    assert small.synonyms("sad", "n") == ("coat",)
    assert small.synonyms("sad", "a") == ("blue",)
    assert small.synonyms("sad", "v") == ()


def test_case_marks_and_inflection_are_kept(small: Thesaurus) -> None:
    assert small.synonyms("(Blue),")[0] == "(Azure),"
    assert small.synonyms("BLUE")[0] == "AZURE"
    assert small.synonyms("Lotions!") == ("Creams!",)
    assert small.synonyms("painted") == ("coated", "made up")
    assert small.synonyms("painting") == ("coating", "making up")
    assert small.synonyms("lives") == ("beings",)
    assert small.synonyms("paris") == ("City of Light",)
    assert small.synonyms("city of light") == ("Paris",)


def test_a_form_of_a_noun_and_of_a_verb(small: Thesaurus) -> None:
    assert small.synonyms("creams") == ("lotions", "beats")
    assert small.synonyms("creams", "v") == ("beats",)


def test_hypernyms(small: Thesaurus) -> None:
    assert small.hypernyms("Lotions") == ("Substances",)
    assert small.hypernyms("coat") == ("cover", "substance") or small.hypernyms("coat") == (
        "substance",
        "cover",
    )
    assert small.hypernyms("coat", "v") == ("cover",)
    assert small.hypernyms("painted") == ("covered",)
    assert small.hypernyms("blue") == ()


@pytest.mark.parametrize("word", ["", "红", "🎉", "שלום", "x" * 10_000, "\ud800", "...", " "])
def test_what_is_no_word_has_no_answer(small: Thesaurus, word: str) -> None:
    assert small.synonyms(word) == () == small.hypernyms(word)
    assert word not in small


def test_the_word_itself_is_no_answer(small: Thesaurus) -> None:
    for word in ("blue", "Blue", "lotions", "sad"):
        assert word.lower() not in {s.lower() for s in small.synonyms(word)}
        assert word in small


def test_loaded_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    path = _file(tmp_path, ROWS)
    first = Thesaurus.load(path)
    assert Thesaurus.load(str(path)) is first
    time.sleep(0.02)
    _file(tmp_path, "1-n\tn\tone|two\t\n")
    assert Thesaurus.load(path).synonyms("one") == ("two",)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("1-n\tx\ta\t\n", "line 2, field 'pos': is 'x'"),
        ("1-n\tn\ta\t\n2-n\tn\ta||b\t\n", "line 3, field 'members'"),
        ("1-n\tn\ta\t9-n\n", "line 2, field 'hypernyms': '9-n'"),
        ("1-n\tn\ta\n", "line 2: has 3 fields, not 4"),
        ("1-n\tn\ta\t\n1-n\tn\tb\t\n", "line 3, field 'synset': '1-n' stands in line 2 too"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, rows: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        Thesaurus.load(_file(tmp_path, rows))
    assert "synsets.tsv.gz" in str(caught.value)


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.tsv"
    path.write_text("word,meaning\n")
    with pytest.raises(DataError, match="line 1: the columns are word,meaning; they must be"):
        Thesaurus.load(path)
    path = tmp_path / "empty.tsv"
    path.write_text("")
    with pytest.raises(DataError, match="is empty"):
        Thesaurus.load(path)
    whole = _file(tmp_path, ROWS).read_bytes()
    cut = tmp_path / "cut.tsv.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cannot be read.*download it again"):
        Thesaurus.load(cut)
    wild = tmp_path / "wild.tsv"
    wild.write_bytes(HEAD.encode() + b"1-n\tn\t\xff\xfe\t\n")
    with pytest.raises(DataError, match="cannot be read"):
        Thesaurus.load(wild)
    with pytest.raises(Unsupported, match=r"no WordNet at .*en-word\.net"):
        Thesaurus.load(tmp_path / "absent.tsv.gz")


LMF = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.3.dtd">
<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">
 <Lexicon id="oewn" label="t" language="en" email="e" license="l" version="1">
  <LexicalEntry id="e-cream-n"><Lemma writtenForm="cream" partOfSpeech="n"/>
   <Sense id="s1" synset="oewn-4-n"/></LexicalEntry>
  <LexicalEntry id="e-lotion-n"><Lemma writtenForm="lotion" partOfSpeech="n"/>
   <Sense id="s2" synset="oewn-4-n"/></LexicalEntry>
  <LexicalEntry id="e-substance-n"><Lemma writtenForm="substance" partOfSpeech="n"/>
   <Sense id="s3" synset="oewn-5-n"/></LexicalEntry>
  <LexicalEntry id="e-balm-n"><Lemma writtenForm="balm" partOfSpeech="n"/>
   <Sense id="s4" synset="oewn-4-n"/></LexicalEntry>
  <Synset id="oewn-4-n" ili="i1" partOfSpeech="n" members="e-lotion-n e-cream-n e-balm-n">
   <Definition>d</Definition>
   <SynsetRelation relType="hypernym" target="oewn-5-n"/>
   <SynsetRelation relType="similar" target="oewn-9-n"/></Synset>
  <Synset id="oewn-5-n" ili="i2" partOfSpeech="n"><Definition>d</Definition></Synset>
 </Lexicon>
</LexicalResource>
"""


def test_the_published_xml_is_read(tmp_path: Path) -> None:
    path = tmp_path / "oewn.xml.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(LMF)
    found = Thesaurus.load(path)
    assert found.synonyms("lotion") == ("cream", "balm")
    assert found.hypernyms("creams") == ("substances",)
    for broken in (LMF[:900], "<a></a>", LMF.replace("writtenForm", "form")):
        bad = tmp_path / f"bad{len(broken)}.xml"
        bad.write_text(broken)
        with pytest.raises(DataError, match="WN-LMF"):
            Thesaurus.load(bad)


def test_find_wordnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDRANK_DATA", str(tmp_path))
    with pytest.raises(Unsupported, match=r"en-word\.net"):
        find_wordnet()
    folder = tmp_path / "open-english-wordnet"
    folder.mkdir()
    (folder / "oewn.xml.gz").touch()
    assert find_wordnet().name == "oewn.xml.gz"
    path = _file(folder, ROWS)
    assert find_wordnet() == path
    monkeypatch.delenv("HARDRANK_DATA")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    with pytest.raises(Unsupported):
        find_wordnet()
    (tmp_path / "shared").mkdir()
    folder.rename(tmp_path / "shared" / "moving")
    (tmp_path / "shared" / "data").mkdir()
    (tmp_path / "shared" / "moving").rename(tmp_path / "shared" / "data" / folder.name)
    assert find_wordnet().name == "synsets.tsv.gz"


def test_the_real_wordnet(data_folder: Path) -> None:
    path = data_folder / "open-english-wordnet" / "synsets.tsv.gz"
    if not path.is_file():
        pytest.skip("no Open English WordNet in the data folder")
    began = time.process_time()
    found = Thesaurus.load(path)
    assert time.process_time() - began < 2.0
    assert len(found.synsets) == 107_525
    assert "Bluish" in found.synonyms("Blue")
    assert {"gloomy", "bluish", "depressed"} <= set(found.synonyms("blue", "a"))
    assert "spectacles" in found.synonyms("glasses")
    assert "wash" in found.hypernyms("shampoo", "n") or "cleaner" in found.hypernyms("shampoo", "n")
    assert all(" " not in s for s in found.synonyms("nail")[:5])
