"""Attacks that write whole titles: copies, additions, sales talk, and a writer's versions."""

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hardrank.attacks import AppendTitle, Clickbait, Copycat, KeywordStuffing, LlmRewrite
from hardrank.attacks.champion import bestsellers
from hardrank.attacks.text.clickbait import PHRASES
from hardrank.attacks.text.llm_rewrite import read_title
from hardrank.data import Patch, RewriteItem
from hardrank.errors import Unsupported
from hardrank.language.chat import Endpoint, LocalLM
from hardrank.testing import AttackContract, WordTaste, World, dataset, planted_world
from hardrank.threats import Budget, Demote, Match, Promote, ThreatModel, mount
from hardrank.types import spec
from hardrank.wording import split

WORLD = planted_world()


def play(attack: Any, world: World = WORLD, *, goal: Any = None, knowledge: Any = "scores",
         **limits: Any) -> Match:  # fmt: skip
    threat = ThreatModel(goal=goal or Promote(k=2), knowledge=knowledge, budget=Budget(**limits))
    return mount(attack, threat, world.victim, world.data, panel=world.panel, target=world.target)


def rewrite(text: str) -> Patch:
    return Patch((RewriteItem("f", text),))


class PlantedWriter:
    """Writes what it is told, answer by answer, and remembers the prompts."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers, self.prompts = answers, list[str]()

    def complete(self, prompts: Sequence[str]) -> list[str]:
        start = len(self.prompts)
        self.prompts += prompts
        return [self.answers[(start + n) % len(self.answers)] for n in range(len(prompts))]


class Mixer:
    """Answers a prompt by that prompt alone: the last version shown and a bestseller's words."""

    def complete(self, prompts: Sequence[str]) -> list[str]:
        return [self._answer(p) for p in prompts]

    def _answer(self, prompt: str) -> str:
        sells, _, rest = prompt.partition("Versions tried")
        titles = [line[2:] for line in sells.splitlines() if line.startswith("- ")]
        best = rest.split("\n\n")[0].splitlines()[-1].partition(": ")[2]
        return f"Title: {best} {titles[0] if titles else ''}"


@spec
class Mixed(LlmRewrite):
    def author(self) -> Mixer:
        return Mixer()


class TestKeptWords(AttackContract):
    attack: ClassVar[Any] = Copycat(candidates=10, keep="own-words")
    cases: ClassVar[int] = 200


class TestFewStuffed(AttackContract):
    attack: ClassVar[Any] = KeywordStuffing(vocabulary=6, chunk=3, words=4, positions=("end",))
    cases: ClassVar[int] = 200


class TestChineseFirst(AttackContract):
    attack: ClassVar[Any] = Clickbait(languages=("zh",), phrases=3)
    cases: ClassVar[int] = 200


class TestRewriting(AttackContract):
    attack: ClassVar[Any] = Mixed(rounds=2, candidates=3, examples=2)
    cases: ClassVar[int] = 300


def test_a_copy_keeps_the_words_that_are_only_ones_own() -> None:
    match = play(Copycat(keep="own-words"), whole_text=True)
    assert match.patch == rewrite("moon river plain dusty")
    assert (match.queries, match.words) == (5, 2)
    world = replace(WORLD, target="d")  # 'velvet river': river is in the copied title already
    threat = ThreatModel(goal=Promote(k=1), budget=Budget(whole_text=True))
    match = mount(Copycat(keep="own-words"), threat, world.victim, world.data,
                  panel=world.panel, target="d")  # fmt: skip
    assert match.patch.rewrites()["d"].text == "moon river velvet"


def test_a_copy_by_ranks_is_the_copy_by_scores() -> None:
    patches = [play(Copycat(), knowledge=k, whole_text=True).patch for k in ("ranks", "scores")]
    assert patches == [rewrite("moon river")] * 2


def test_more_users_count_before_a_little_more_for_all() -> None:
    """'sun sun' brings one of three users all the way, 'fog' all three half of it; the soft
    exposure of three halves is more, yet one shopper sees the item and nobody sees a half."""
    data = dataset(["star", "sun sun", "fog", "dust"], [[1], [2], [2]])
    taste = np.array([[10, 6, 9.9, 0], [10, 0, 9.9, 0], [10, 0, 9.9, 0]], dtype=np.float32)
    victim = WordTaste(items=data.items, words=("star", "sun", "fog", "dust"), taste=taste)
    panel = data.histories()
    world = World(data=data, victim=victim, panel=panel, target="d")
    match = play(Copycat(candidates=3), world, goal=Promote(k=1), whole_text=True)
    # 'star' only ties with the item it copies, and ties count against the copy
    assert match.patch.rewrites()["d"].text == "sun sun"


def test_bestsellers_are_distinct_other_titles_by_sales() -> None:
    titles = ["b", "a", "b", None, "", "own", "c"]
    counts = np.array([1, 5, 9, 7, 8, 9, 1])
    assert bestsellers(titles, counts, "own", 10) == ["b", "a", "c"]
    assert bestsellers(titles, counts, "own", 2) == ["b", "a"]


def test_a_title_is_added_where_it_does_most() -> None:
    """5 titles at 2 places; the order of words means nothing to this victim."""
    match = play(AppendTitle(), whole_text=True)
    assert match.patch == rewrite("moon river plain dusty")
    assert (match.queries, match.words) == (10, 2)
    end = play(AppendTitle(positions=("end",)), whole_text=True)
    assert end.patch == rewrite("plain dusty moon river")
    assert end.queries == 5


def test_only_the_beginning_of_a_title_fits_the_budget() -> None:
    """With one word: silver, moon, copper, velvet, dusty."""
    match = play(AppendTitle(positions=("end",)), words=1)
    assert match.patch == rewrite("plain dusty moon")
    assert (match.queries, match.words) == (5, 1)
    assert not play(AppendTitle(), words=1, characters=2).patch


def test_chinese_titles_are_cut_by_characters() -> None:
    """Two words of 月光丝绸面膜 are its first two characters."""
    data = dataset(["月光丝绸面膜", "灰尘", "灯"], [[0], [0]])
    taste = np.ones((2, 1), dtype=np.float32)
    victim = WordTaste(items=data.items, words=("月光",), taste=taste)
    world = World(data=data, victim=victim, panel=data.histories(), target="b")
    match = play(AppendTitle(), world, goal=Promote(k=1), words=2)
    assert match.patch.rewrites()["b"].text == "月光 灰尘"
    assert (match.queries, match.words) == (4, 2)


def test_stuffing_adds_whole_chunks_while_they_gain() -> None:
    """Words by sales: lantern, river, silver 3; dusty, kettle, moon 2; copper, plain, velvet 1.
    Chunks of two: 'lantern silver', 'river moon', 'kettle copper'... The best first, then on
    until nothing gains: whatever anybody likes is in."""
    match = play(KeywordStuffing(chunk=2, positions=("end",)), words=10)
    words = split(match.patch.rewrites()["f"].text)
    assert words[:2] == ["plain", "dusty"]
    assert {"moon", "velvet", "river", "silver", "lantern"} <= set(words)
    assert match.words == len(words) - 2
    two = play(KeywordStuffing(chunk=2, positions=("end",)), words=2)
    assert two.patch == rewrite("plain dusty river moon")
    one = play(KeywordStuffing(chunk=5, positions=("front",)), words=1)
    assert one.patch == rewrite("moon plain dusty")
    assert play(KeywordStuffing(words=3), whole_text=True).words <= 3


def test_a_chunk_that_does_not_fit_is_halved() -> None:
    """Eleven characters hold ' river moon' and no chunk of four."""
    match = play(KeywordStuffing(chunk=4, positions=("end",)), characters=11)
    assert match.patch == rewrite("plain dusty river moon")


def test_the_phrase_that_shoppers_believe_is_put_in_front() -> None:
    """The victim likes 'Set' most, then 'Original': 34 queries for the first phrase, 33 for
    the second; none of the rest is worth anything."""
    words = ("Set", "Original", "dust")
    data = dataset(["dust dust", "Set", "Original"], [[1], [2]])
    taste = np.array([[3, 2, 0], [3, 2, 0]], dtype=np.float32)
    victim = WordTaste(items=data.items, words=words, taste=taste)
    world = World(data=data, victim=victim, panel=data.histories(), target="a")
    match = play(Clickbait(phrases=3), world, goal=Promote(k=1), words=9)
    assert match.patch.rewrites()["a"].text == "Original Gift Set dust dust"
    assert (match.queries, match.words) == (34 + 33 + 32, 3)
    assert play(Clickbait(), world, goal=Promote(k=1), words=9).queries == 34 + 33
    assert play(Clickbait(phrases=1), world, goal=Promote(k=1), words=9).queries == 34
    done = play(Clickbait(), world, goal=Promote(k=1, until=0.4), words=4)
    assert done.patch.rewrites()["a"].text == "Gift Set dust dust"


def test_phrases_are_many_short_and_tried_in_the_own_script_first() -> None:
    every = [p for phrases in PHRASES.values() for p in phrases]
    assert len(every) == len(set(every)) == 34 and len(PHRASES["zh"]) >= 8
    assert max(len(split(p)) for p in PHRASES["en"]) <= 5
    assert Clickbait()._ordered("红色口红")[0] in PHRASES["zh"]
    assert Clickbait()._ordered("red lipstick")[0] in PHRASES["en"]
    assert Clickbait(languages=("en", "en"))._ordered("红") == list(PHRASES["en"])


def test_rewriting_without_a_writer_says_what_to_do() -> None:
    with pytest.raises(Unsupported, match=r'writer = \{ kind = "endpoint"'):
        play(LlmRewrite(), whole_text=True)


def planted(writer: Any, **changes: Any) -> Any:
    @spec
    class Told(LlmRewrite):
        def author(self) -> Any:
            return writer

    return Told(**changes)


def _tried(prompt: str) -> list[str]:
    lines = prompt.partition("best one last:\n")[2].split("\n\n")[0].splitlines()
    return [line.partition(": ")[2] for line in lines]


def test_a_writer_is_told_how_its_versions_did() -> None:
    """The second round shows the first one's best, last, and finds a better one."""
    writer = PlantedWriter(["dusty kettle", '"velvet river"', "1. moon river", "moon moon moon"])
    match = play(planted(writer, rounds=2, candidates=2), whole_text=True)
    assert match.patch == rewrite("moon moon moon")
    assert (match.queries, len(writer.prompts)) == (4, 4)
    first, second = (_tried(writer.prompts[n]) for n in (0, 2))
    assert first == ["plain dusty"] and second[-1] == "velvet river"
    assert len(set(writer.prompts)) == 4, "equal prompts would get equal answers"


def test_a_writer_that_demotes_is_asked_for_fewer() -> None:
    writer = PlantedWriter(["moon river", "dusty dusty dusty"])
    world = replace(WORLD, target="b")
    goal = Demote(k=2)
    match = play(planted(writer, rounds=1, candidates=2), world, goal=goal, whole_text=True)
    assert match.patch.rewrites()["b"].text == "dusty dusty dusty"
    assert "fewer shoppers" in writer.prompts[0]


def test_answers_that_are_no_titles_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    writer = PlantedWriter(["", "I'm sorry, I cannot help.", "Sure:\n- velvet river", "x " * 61])
    with caplog.at_level(logging.WARNING, "hardrank"):
        match = play(planted(writer, rounds=1, candidates=4), whole_text=True)
    assert match.patch == rewrite("velvet river")
    assert match.queries == 1
    assert "3 answers for 'f' were no titles" in caplog.text


def test_a_writer_cannot_overspend() -> None:
    writer = PlantedWriter([f"moon {'river ' * n}".strip() for n in range(40)])
    match = play(planted(writer, rounds=9, candidates=8), whole_text=True, queries=11)
    assert match.queries == 11
    assert len(writer.prompts) == 16, "no prompt is sent when no query is left"
    writer = PlantedWriter(["moon river", "moon plain dusty", "moon velvet plain dusty"])
    match = play(planted(writer, rounds=1, candidates=3), words=1)
    assert match.patch == rewrite("moon plain dusty")
    assert match.queries == 1, "what the budget forbids is not asked for"
    assert "at most 1 words" in writer.prompts[0]


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Moon River Lamp", "Moon River Lamp"),
        ("Title: Moon River Lamp\nIt sells better.", "Moon River Lamp"),
        ('Here is one:\n\n```\n"Moon River Lamp"\n```', "Moon River Lamp"),
        ("**New title: Moon Lamp**", "Moon Lamp"),
        ("2. Moon Lamp", "Moon Lamp"),
        ("7 Piece Moon Set", "7 Piece Moon Set"),
        ("标题：月光面膜", "月光面膜"),
        ("🌙 Moon 🌙", "🌙 Moon 🌙"),
        ("מנורת ירח", "מנורת ירח"),
        ("", None),
        ("   \n\n", None),
        ('""', None),
        ("Sorry, that is not possible", None),
        ("moon\x07lamp", None),
        ("moon\ud800", None),
        ("x" * 501, None),
    ],
)
def test_what_is_a_title(answer: str, title: str | None) -> None:
    assert read_title(answer) == title


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A chat server that answers each prompt with the planted best title."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"choices": [{"message": {"content": "moon river"}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HARDRANK_CACHE", str(tmp_path))
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}/v1"
    made.shutdown()
    made.server_close()
    thread.join()


def test_rewriting_by_an_endpoint(server: str) -> None:
    writer = Endpoint(url=server, model="stub", per_minute=60_000)
    match = play(LlmRewrite(writer=writer, rounds=2, candidates=2), whole_text=True)
    assert match.patch == rewrite("moon river")
    assert match.queries == 1, "the same version is not asked for twice"
    assert "writer=endpoint(" in match.attack


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 of one layer that knows the planted words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("gpt2")
    known = ["[PAD]", "[UNK]", "[END]", *WORLD.victim.words]
    made = Tokenizer(models.WordLevel({w: n for n, w in enumerate(known)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", eos_token="[END]"
    ).save_pretrained(place)
    config = GPT2Config(
        vocab_size=len(known), n_embd=16, n_layer=1, n_head=2, n_positions=256, bos_token_id=2,
        eos_token_id=2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config)
    for parameter in model.parameters():
        parameter.data.mul_(4.0)
    model.save_pretrained(place)
    return place


def test_rewriting_by_a_local_model(folder: Path) -> None:
    """It knows nothing of titles; what it writes is observed, and only a gain is kept."""
    attack = LlmRewrite(writer=LocalLM(folder=str(folder), max_tokens=4), rounds=2, candidates=3)
    match = play(attack, whole_text=True)
    again = play(attack, whole_text=True)
    assert match.patch == again.patch and 0 < match.queries <= 6
    if match.patch:
        assert set(split(match.patch.rewrites()["f"].text)) <= {*WORLD.victim.words, "[UNK]"}
