"""Alerts against a real HTTP server."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hardrank.errors import ConfigError
from hardrank.serve.alerts import SIGNATURE, Webhook, signature
from hardrank.serve.monitors import Alarm

SECRET = "s3cret"


def alarm(subject: str = "i7") -> Alarm:
    return Alarm("exposure-surge", subject, 0.3, 0.01, 12.0, f"item '{subject}' – 30 %")


class Receiver:
    """Answers with the codes in `plan`, one after the other, and then 200."""

    def __init__(self) -> None:
        self.plan: list[int] = []
        self.got: list[tuple[bytes, str, int]] = []
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code = outer.plan.pop(0) if outer.plan else 200
                outer.got.append((body, self.headers[SIGNATURE], code))
                outer.hold.wait(10)
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_an_alarm_arrives_whole_and_signed(receiver: Receiver) -> None:
    hook = Webhook(receiver.url, SECRET)
    assert hook.send(alarm())
    hook.close()
    ((body, signed, _),) = receiver.got
    assert json.loads(body) == {
        "kind": "exposure-surge", "subject": "i7", "value": 0.3, "threshold": 0.01,
        "since": 12.0, "message": "item 'i7' – 30 %",
    }  # fmt: skip
    now = int(signed.split(",")[0].removeprefix("t="))
    assert abs(now - time.time()) < 30
    assert signed == signature(SECRET, body, now)
    assert signed != signature("other", body, now) and signed != signature(SECRET, body, now + 1)
    assert (hook.sent, hook.failed, hook.dropped) == (1, 0, 0)


def test_a_failing_receiver_is_tried_again(receiver: Receiver) -> None:
    receiver.plan = [500, 429]
    hook = Webhook(receiver.url, SECRET, pause=0.01)
    hook.send(alarm())
    hook.close()
    assert [code for *_, code in receiver.got] == [500, 429, 200]
    assert hook.sent == 1 and hook.failed == 0


@pytest.mark.parametrize(("plan", "posts"), [([404], 1), ([302], 1), ([500] * 9, 3)])
def test_it_gives_up_and_counts(receiver: Receiver, plan: list[int], posts: int) -> None:
    receiver.plan = list(plan)
    hook = Webhook(receiver.url, SECRET, tries=3, pause=0.01)
    hook.send(alarm())
    hook.close()
    assert len(receiver.got) == posts, "redirects are not followed"
    assert (hook.sent, hook.failed) == (0, 1)


def test_nobody_listening_is_a_failure_and_not_an_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    hook = Webhook(url, SECRET, tries=2, pause=0.01)
    hook.send(alarm())
    hook.close()
    assert hook.failed == 1


def test_a_slow_receiver_never_blocks_who_sends(receiver: Receiver) -> None:
    receiver.hold.clear()
    hook = Webhook(receiver.url, SECRET, limit=5)
    begun = time.perf_counter()
    taken = [hook.send(alarm(f"i{n}")) for n in range(500)]
    assert time.perf_counter() - begun < 1.0
    assert sum(taken) <= 6 and hook.dropped == 500 - sum(taken)
    receiver.hold.set()
    hook.close()
    assert hook.sent == sum(taken)


def test_a_receiver_that_never_answers_is_left(receiver: Receiver) -> None:
    receiver.hold.clear()
    hook = Webhook(receiver.url, SECRET, timeout=0.1, tries=2, pause=0.01)
    hook.send(alarm())
    hook.close()
    assert hook.failed == 1


def test_the_same_alarm_is_said_once_in_a_while(receiver: Receiver) -> None:
    hook = Webhook(receiver.url, SECRET, quiet=0.2)
    assert hook.send(alarm()) and not hook.send(alarm()) and hook.send(alarm("i8"))
    time.sleep(0.25)
    assert hook.send(alarm())
    hook.close()
    assert hook.sent == 3
    assert not hook.send(alarm("i9")), "closed"


def test_what_could_not_be_trusted_is_refused() -> None:
    with pytest.raises(ConfigError, match="url"):
        Webhook("file:///etc/passwd", SECRET)
    with pytest.raises(ConfigError, match="forged"):
        Webhook("http://localhost/", "")
