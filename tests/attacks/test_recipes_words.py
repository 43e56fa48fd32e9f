"""Recipes of whole words: each passes the contract and does what its paper says."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardrank.attacks import BertAttack, FrugalWords, GeneticWords, Pwws, TextFooler
from hardrank.attacks.own_lm import OwnLM
from hardrank.attacks.transformations import MaskedLMReplace, NearWords, Synonyms, neighbours
from hardrank.data import Patch, RewriteItem
from hardrank.errors import Unsupported
from hardrank.language.pretrain import Pretraining, pretrain_masked_lm
from hardrank.testing import AttackContract, planted_world
from hardrank.threats import Budget, Match, Promote, ThreatModel, mount, mount_all

WORLD = planted_world()
SYLLABLES = ("ba", "ko", "mi", "ru", "se", "ta", "lo", "ni")
WORDS = ["".join(three) for three in product(SYLLABLES, repeat=3)]
"""All words of `random_world` but two."""


def play(attack: Any, *, knowledge: Any = "scores", **limits: Any) -> Match:
    threat = ThreatModel(goal=Promote(k=2), knowledge=knowledge, budget=Budget(**limits))
    return mount(attack, threat, WORLD.victim, WORLD.data, panel=WORLD.panel, target="f")


def rewrite(text: str) -> Patch:
    return Patch((RewriteItem("f", text),))


@pytest.fixture(scope="module")
def thesaurus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Any four words of `random_world` that differ in the last two letters mean the same; in
    the planted world dusty is velvet or copper, plain is kettle or silver."""
    rows = [WORDS[n : n + 4] for n in range(0, len(WORDS), 4)]
    rows += [["dusty", "velvet", "copper"], ["plain", "kettle", "silver"]]
    lines = [f"{n}\ta\t{'|'.join(row)}\t" for n, row in enumerate(rows)]
    path = tmp_path_factory.mktemp("wordnet") / "synsets.tsv"
    path.write_text("\n".join(["synset\tpos\tmembers\thypernyms", *lines]) + "\n", "utf-8")
    return str(path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A language model that has seen the words of `random_world`, and learned nothing."""
    options = Pretraining(vocabulary=400, layers=1, size=32, max_tokens=16, steps=2)
    folder = tmp_path_factory.mktemp("lm") / "tiny"
    return str(pretrain_masked_lm(WORDS[:300], folder, options=options))


class _Letters:
    """An encoder that counts syllables: words that share two of three have a cosine of 2/3."""

    def encode(self, texts: Any, *, keep: bool = True) -> Any:
        found = np.array([[t.count(s) + 1e-3 for s in (*SYLLABLES, "dusty")] for t in texts])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Any:
    neighbours._space.cache_clear()
    neighbours._near.cache_clear()
    monkeypatch.setattr(neighbours, "_encoder", lambda name: _Letters())
    yield
    neighbours._space.cache_clear()
    neighbours._near.cache_clear()


class TestPwwsContract(AttackContract):
    @pytest.fixture(autouse=True)
    def _planted(self, thesaurus: str) -> None:
        type(self).attack = Pwws(words=Synonyms(path=thesaurus))


@pytest.mark.usefixtures("letters")
class TestTextFoolerContract(AttackContract):
    attack = TextFooler()


@pytest.mark.usefixtures("letters")
class TestGeneticWordsContract(AttackContract):
    attack = GeneticWords()
    cases = 60


@pytest.mark.slow
class TestBertAttackContract(AttackContract):
    cases = 60

    @pytest.fixture(autouse=True)
    def _planted(self, tiny: str) -> None:
        type(self).attack = BertAttack(words=MaskedLMReplace(model=OwnLM(folder=tiny)))


def test_pwws_puts_in_the_best_synonyms_by_saliency(thesaurus: str) -> None:
    """Best are velvet (+3) for dusty and silver (+1) for plain. 2 queries for saliency, 4 for
    synonyms; 'plain velvet' is known by then, and 'silver velvet' is the seventh."""
    attack = Pwws(words=Synonyms(path=thesaurus))
    one, two = play(attack, words=1), play(attack, words=2)
    assert one.patch == rewrite("plain velvet") and one.queries == 6
    assert two.patch == rewrite("silver velvet") and two.queries == 7


def test_textfooler_takes_the_words_by_importance(thesaurus: str) -> None:
    """2 queries for importance, which puts dusty first; then 2 synonyms of each word."""
    attack = TextFooler(words=Synonyms(path=thesaurus))
    one, two = play(attack, words=1), play(attack, words=2)
    assert one.patch == rewrite("plain velvet") and one.queries == 4
    assert two.patch == rewrite("silver velvet") and two.queries == 6


def test_genetic_words_finds_the_same(thesaurus: str) -> None:
    """Of 9 texts that synonyms make, the best."""
    match = play(GeneticWords(words=Synonyms(path=thesaurus)), words=2)
    assert match.patch == rewrite("silver velvet") and match.queries <= 8


def test_frugal_words_needs_a_fraction_of_the_queries() -> None:
    """What steepest ascent reaches with insertions and replacements together: moon and velvet
    in the places of the two words worth nothing, in less than its 40 queries."""
    match = play(FrugalWords(), words=2)
    assert sorted(match.patch.rewrites()["f"].text.split()) == ["moon", "velvet"]
    assert match.queries < 40


def test_ranks_alone_will_do(thesaurus: str) -> None:
    for attack in (FrugalWords(), Pwws(words=Synonyms(path=thesaurus)),
                   TextFooler(words=Synonyms(path=thesaurus)),
                   GeneticWords(words=Synonyms(path=thesaurus))):  # fmt: skip
        match = play(attack, knowledge="ranks", words=1)
        assert match.patch and match.attack.endswith("[ranks]")


def test_a_missing_resource_is_a_match_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARDRANK_DATA", str(tmp_path))
    away = BertAttack(words=MaskedLMReplace(model=OwnLM(folder=str(tmp_path / "away"))))
    threat = ThreatModel(goal=Promote(k=2), budget=Budget(words=2))
    with pytest.raises(Unsupported):
        play(Pwws(), words=2)
    played = mount_all(
        [Pwws(), away], threat, WORLD.victim, WORLD.data, panel=WORLD.panel, targets=["f"]
    )
    assert [bool(match.patch) for match in played] == [False, False]
    assert "en-word.net" in str(played[0].error)
    assert "no language model" in str(played[1].error)


def test_protected_words_stay_in_recipes() -> None:
    """Row S0-22: by default what keeps the meaning keeps numbers, units and brands."""
    for attack in (Pwws(), BertAttack()):
        assert attack.words.protected
    for recipe in (TextFooler(), GeneticWords()):
        assert isinstance(recipe.words, NearWords) and recipe.words.protected
