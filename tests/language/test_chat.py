"""Rewriting by a language model: a local stub server with every fault, and a tiny local model."""

import email.utils
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hardrank.errors import DataError, Unsupported
from hardrank.language.answers import Answers
from hardrank.language.chat import AnyWriter, Endpoint, LocalLM, Writer
from hardrank.language.chat_http import Session

Reply = tuple[int, dict[str, str], bytes]
ODD = ["", "红色口红", "🎉🎉", "שלום עולם", "x" * 10_000, "\ud800", 'a "quoted"\nline\t\x00']


def good(text: Any) -> Reply:
    body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    return 200, {}, json.dumps(body).encode()


def echo(prompt: str, _: int) -> Reply:
    return good(f"rewritten: {prompt}")


class Stub:
    """A chat server whose answer to the n-th request of a prompt is what a test says."""

    def __init__(self) -> None:
        self.answer: Callable[[str, int], Reply] = echo
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.busy = self.busiest = 0
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["messages"][-1]["content"]
                with stub._lock:
                    stub.busy += 1
                    stub.busiest = max(stub.busiest, stub.busy)
                    tries = sum(s["messages"][-1]["content"] == prompt for s in stub.seen)
                    stub.seen.append(body)
                    stub.headers.append(dict(self.headers))
                    stub.paths.append(self.path)
                    stub.times.append(time.monotonic())
                status, headers, content = stub.answer(prompt, tries)
                with stub._lock:
                    stub.busy -= 1
                try:
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(content)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    stub.hung_up += 1

            def log_message(self, *_: Any) -> None: ...

        self.hung_up = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stub]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HARDRANK_CACHE", str(tmp_path / "cache"))
    made = Stub()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def endpoint(stub: Stub, **changes: Any) -> Endpoint:
    plain = {"url": stub.url, "model": "m", "wait": 0.01, "per_minute": 60_000, "tries": 3}
    return Endpoint(**{**plain, **changes})


def test_what_is_sent_and_what_comes_back(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "hush\n")
    writer: Writer = endpoint(stub, key="MY_KEY", seed=7, max_tokens=99)
    assert writer.complete(["one", "two", "one"]) == [
        "rewritten: one", "rewritten: two", "rewritten: one",
    ]  # fmt: skip
    assert sorted(b["messages"][0]["content"] for b in stub.seen) == ["one", "two"]
    first = stub.seen[0]["messages"][0]["content"]
    assert stub.seen[0] == {
        "model": "m", "messages": [{"role": "user", "content": first}],
        "temperature": 0, "seed": 7, "max_tokens": 99,
    }  # fmt: skip
    assert {h["Authorization"] for h in stub.headers} == {"Bearer hush"}
    assert set(stub.paths) == {"/v1/chat/completions"}
    assert writer.complete([]) == []


def test_any_text_goes_there_and_back(stub: Stub) -> None:
    legal = [t.replace("\ud800", "?") for t in ODD]
    assert endpoint(stub).complete(ODD) == [f"rewritten: {t}" for t in legal]


def test_no_key_is_sent_unless_named_and_a_missing_one_is_said(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not for this one")
    endpoint(stub).complete(["one"])
    assert "Authorization" not in stub.headers[0]
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(Unsupported, match="set the environment variable MY_KEY"):
        endpoint(stub, key="MY_KEY").complete(["two"])
    assert len(stub.seen) == 1


def test_answers_are_kept_for_another_process(stub: Stub, tmp_path: Path) -> None:
    spec = endpoint(stub)
    first = Session(spec, tmp_path).complete(["one", "two"])
    again = Session(spec, tmp_path)
    assert again.complete(["two", "one"]) == first[::-1]
    assert len(stub.seen) == 2
    # Whatever an answer depends on is part of its key; how it is asked for is not.
    Session(endpoint(stub, tries=9, timeout=3.0), tmp_path).complete(["one"])
    assert len(stub.seen) == 2
    for change in ({"model": "other"}, {"seed": 1}, {"max_tokens": 5}):
        before = len(stub.seen)
        Session(endpoint(stub, **change), tmp_path).complete(["one"])
        assert len(stub.seen) == before + 1
    forgetful = endpoint(stub, keep=False)
    Session(forgetful, tmp_path / "none").complete(["one"])
    assert not (tmp_path / "none").exists()


def test_a_resumed_run_asks_only_for_what_it_lacks(stub: Stub, tmp_path: Path) -> None:
    stub.answer = lambda p, n: (401, {}, b"no") if p == "bad" else echo(p, n)
    with pytest.raises(Unsupported):
        Session(endpoint(stub, concurrency=1), tmp_path).complete(["a", "b", "bad", "c"])
    assert [b["messages"][0]["content"] for b in stub.seen] == ["a", "b", "bad"]
    stub.answer = echo
    Session(endpoint(stub), tmp_path).complete(["a", "b", "bad", "c"])
    assert sorted(b["messages"][0]["content"] for b in stub.seen[3:]) == ["bad", "c"]


def test_errors_of_the_server_are_tried_again_with_growing_waits(stub: Stub) -> None:
    stub.answer = lambda p, n: (500 + n, {}, b"oops") if n < 3 else echo(p, n)
    assert endpoint(stub, tries=4, wait=0.05).complete(["one"]) == ["rewritten: one"]
    gaps = [b - a for a, b in zip(stub.times, stub.times[1:], strict=False)]
    assert len(gaps) == 3
    assert all(gap >= least for gap, least in zip(gaps, (0.05, 0.1, 0.2), strict=True))


def test_errors_that_stay_are_told_with_a_remedy(stub: Stub) -> None:
    stub.answer = lambda p, n: (503, {}, b"down")
    with pytest.raises(Unsupported, match="status 503 after 3 tries; check that the server runs"):
        endpoint(stub).complete(["one"])
    assert len(stub.seen) == 3
    with pytest.raises(Unsupported, match="status 503 at the only try"):
        endpoint(stub, tries=1).complete(["one"])


def test_retry_after_is_honoured_as_seconds_and_as_a_date(stub: Stub) -> None:
    stub.answer = lambda p, n: (429, {"Retry-After": "0.3"}, b"") if n == 0 else echo(p, n)
    endpoint(stub).complete(["one"])
    assert stub.times[1] - stub.times[0] >= 0.3
    date = email.utils.formatdate(time.time() + 2, usegmt=True)
    stub.answer = lambda p, n: (429, {"Retry-After": date}, b"") if n == 0 else echo(p, n)
    endpoint(stub).complete(["two"])
    assert stub.times[3] - stub.times[2] >= 0.5
    stub.answer = lambda p, n: (429, {"Retry-After": "some day"}, b"") if n == 0 else echo(p, n)
    assert endpoint(stub).complete(["three"]) == ["rewritten: three"]


def test_a_server_that_asks_for_too_long_is_given_up(stub: Stub) -> None:
    stub.answer = lambda p, n: (429, {"Retry-After": "3600"}, b"")
    with pytest.raises(Unsupported, match=r"wait 3600 s, longer than the patience of 120 s.*later"):
        endpoint(stub).complete(["one"])
    assert len(stub.seen) == 1


def test_slow_answers_run_out_of_time_and_are_asked_again(stub: Stub) -> None:
    def slow(prompt: str, tries: int) -> Reply:
        time.sleep(0.6 if tries == 0 else 0.0)
        return echo(prompt, tries)

    stub.answer = slow
    assert endpoint(stub, timeout=0.2).complete(["one"]) == ["rewritten: one"]
    assert len(stub.seen) == 2
    with pytest.raises(Unsupported, match=r"no answer \(timed out\) at the only try"):
        endpoint(stub, timeout=0.2, tries=1).complete(["two"])
    time.sleep(0.6)  # the slow one still has to hang up


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ((200, {}, b"{oops"), r"no JSON \('\{oops'\)"),
        ((200, {}, b"\xff\xfe"), "no JSON"),
        ((200, {}, b'{"choices": []}'), r"without choices \(\{'choices': \[\]\}\)"),
        ((200, {}, b"[]"), "without choices"),
        ((200, {}, b'{"error": "x"}'), "without choices"),
        (good(None), r"no text \(None\)"),
        (good([{"type": "text"}]), "no text"),
        ((200, {}, b" " * (8 * 2**20 + 1)), "more than 8 MB"),
    ],
)
def test_answers_that_are_none(stub: Stub, reply: Reply, says: str) -> None:
    stub.answer = lambda p, n: reply if n == 0 else echo(p, n)
    assert endpoint(stub).complete(["one"]) == ["rewritten: one"]
    stub.answer = lambda p, n: reply
    with pytest.raises(DataError, match=f"{says}.*after 2 tries; check that it speaks"):
        endpoint(stub, tries=2).complete(["two"])


def test_a_reply_cut_short_is_asked_again(stub: Stub) -> None:
    whole = echo("one", 0)[2]
    cut = (200, {"Content-Length": str(len(whole))}, whole[:-9])
    stub.answer = lambda p, n: cut if n == 0 else echo(p, n)
    assert endpoint(stub, timeout=0.5).complete(["one"]) == ["rewritten: one"]
    assert len(stub.seen) == 2


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "check the key in MY_KEY"), (403, "check the key"), (404, r"end in /v1\) and model")],
)
def test_refusals_are_not_tried_again_and_tell_no_secret(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, status: int, says: str
) -> None:
    monkeypatch.setenv("MY_KEY", "hush-hush")
    stub.answer = lambda p, n: (status, {}, b"said the server")
    with pytest.raises(Unsupported, match=f"status {status} \\(said the server\\); .*{says}") as e:
        endpoint(stub, key="MY_KEY").complete(["one"])
    assert len(stub.seen) == 1
    assert "hush" not in str(e.value) and "hush" not in repr(endpoint(stub, key="MY_KEY"))


def test_a_redirect_is_refused(stub: Stub) -> None:
    stub.answer = lambda p, n: (302, {"Location": f"{stub.url}/elsewhere"}, b"")
    with pytest.raises(Unsupported, match=r"redirects to .*/elsewhere"):
        endpoint(stub).complete(["one"])
    assert len(stub.seen) == 1


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    spec = Endpoint(url="http://127.0.0.1:9/v1", model="m", wait=0.0, tries=2, keep=False)
    with pytest.raises(Unsupported, match=r"no answer \(.*refused.*\) after 2 tries"):
        Session(spec, tmp_path).complete(["one"])


def test_requests_are_paced_and_run_side_by_side(stub: Stub) -> None:
    endpoint(stub, per_minute=1200, concurrency=2).complete([str(n) for n in range(6)])
    gaps = [b - a for a, b in zip(stub.times, stub.times[1:], strict=False)]
    assert stub.times[-1] - stub.times[0] >= 5 * 0.05 - 0.03 and len(gaps) == 5

    def slow(prompt: str, tries: int) -> Reply:
        time.sleep(0.15)
        return echo(prompt, tries)

    stub.answer, stub.busiest = slow, 0
    endpoint(stub, concurrency=3).complete([f"b{n}" for n in range(9)])
    assert 2 <= stub.busiest <= 3


def test_kept_answers_survive_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    kept = Answers(path)
    kept.put("k1", "one\n红\u2028🎉")
    kept.put("k1", "another")
    with path.open("ab") as file:
        file.write(b'{"key": "k2", "ans')  # killed here
    with pytest.warns(UserWarning, match=r"a\.jsonl, line 2: no answer"):
        again = Answers(path)
    assert again.get("k1") == "one\n红\u2028🎉" and again.get("k2") is None
    again.put("k2", "two")
    with pytest.warns(UserWarning, match="line 2"):
        third = Answers(path)
    assert (third.get("k1"), third.get("k2")) == ("one\n红\u2028🎉", "two")


def test_a_disk_that_refuses_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = Answers(tmp_path / "file" / "a.jsonl")
    with pytest.warns(UserWarning, match="answer not kept"):
        kept.put("k", "one")
    assert kept.get("k") == "one"


def test_specs_are_values_that_toml_can_spell() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(AnyWriter)
    made = adapter.validate_python({"kind": "endpoint", "url": "http://h:1/v1", "model": "m"})
    assert made == Endpoint(url="http://h:1/v1", model="m") and hash(made)
    assert adapter.validate_python({"kind": "local-lm", "folder": "f"}) == LocalLM(folder="f")
    for bad in (
        {"url": "file:///etc/passwd"}, {"url": "ftp://h"}, {"tries": 0}, {"timeout": 0.0},
        {"concurrency": 65}, {"key": "sk-not-a-name"}, {"temperature": 1.0},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            adapter.validate_python({"kind": "endpoint", "url": "http://h", "model": "m", **bad})


# A local model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, save_tokenizer: Callable[..., None]) -> Path:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    place = tmp_path_factory.mktemp("gpt2")
    config = GPT2Config(
        vocab_size=20,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=24,
        bos_token_id=3,
        eos_token_id=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = GPT2LMHeadModel(config)
    for parameter in model.parameters():
        parameter.data.mul_(4.0)
    model.generation_config.do_sample = True  # a folder may ask for it; greedy is greedy
    model.save_pretrained(place)
    save_tokenizer(place, marks=False)
    return place


def test_greedy_answers_are_those_of_a_loop_by_hand(folder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("the sky is")["input_ids"]
    start = len(ids)
    with torch.no_grad():
        for _ in range(6):
            following = int(model(torch.tensor([ids])).logits[0, -1].argmax())
            if following == 3:
                break
            ids.append(following)
    writer: Writer = LocalLM(folder=str(folder), max_tokens=6)
    expected = tokenizer.decode(ids[start:], skip_special_tokens=True).strip()
    assert writer.complete(["the sky is"]) == [expected]


def test_a_batch_answers_as_one_by_one(folder: Path) -> None:
    prompts = ["the sky is", "snow", "the grass is green and the snow is", *ODD, "snow"]
    one = LocalLM(folder=str(folder), max_tokens=6, batch_size=1).complete(prompts)
    assert LocalLM(folder=str(folder), max_tokens=6, batch_size=4).complete(prompts) == one
    assert one[1] == one[-1] and LocalLM(folder=str(folder)).complete([]) == []


def test_an_answer_never_leaves_the_model_without_room(folder: Path) -> None:
    writer = LocalLM(folder=str(folder), max_tokens=200)
    assert len(writer.complete(["the sky is " * 100])) == 1


def test_what_is_no_causal_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no language model at"):
        LocalLM(folder=str(tmp_path / "absent")).complete(["one"])
    with pytest.raises(DataError, match=r"no config\.json"):
        LocalLM(folder=str(tmp_path)).complete(["one"])
