"""Hostile bytes over bare sockets against a real `hardrank serve`. (Requests made from the
OpenAPI description, in the same process: test_app_faults.)"""

import os
import socket
import time
from collections.abc import Iterator

import pytest

from hardrank.models import Tfidf
from hardrank.testing.hostile import Raw, attack, exchange
from hardrank.testing.process import Process
from hardrank.testing.service import toy_bundle

_REQUESTS = int(os.environ.get("HARDRANK_FUZZ", "300"))
"""All 10,000: HARDRANK_FUZZ=10000, or benchmarks/serve_faults.py."""
_GROWTH = 100.0
"""MB by which the process may grow."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("fuzz")
    bundle = toy_bundle(folder / "bundles" / "live", Tfidf())
    store = f"sqlite:///{folder / 'shop.db'}"
    more = {"arrival": 1.0, "refusals": 10**6, "key_seconds": 60.0}
    with Process(bundle, store, folder, **more) as made:
        yield made.start()


def _answers(process: Process) -> None:
    reply = process.ask("read", "POST", "/v1/recommend", {"user_id": "u1", "k": 5})
    assert reply.status == 200 and len(reply.json()["items"]) == 5


def _key(process: Process) -> str:
    return f"Host: x\r\nAuthorization: Bearer {process.keys['read']}\r\n"


@pytest.mark.timeout(3_000)
def test_hostile_requests_do_no_harm(process: Process) -> None:
    attack(process, 100, seed=1)  # what it needs once, it has now
    before = process.memory()
    found = attack(process, _REQUESTS)
    assert found.bad == []
    assert process.alive and process.memory() - before < _GROWTH
    assert found.codes[200] and found.codes[422] and found.codes[401] and found.codes[403]
    _answers(process)
    assert "Traceback" not in process.log.read_text()
    assert '"event":"fault"' not in process.log.read_text()


def _slowly(process: Process, first: bytes, drip: bytes) -> tuple[float, bytes]:
    """Seconds until the service had enough, and what it said."""
    began, said = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", process.port), timeout=0.2) as s:
        s.sendall(first)
        while time.monotonic() - began < 15:
            try:
                part = s.recv(4_096)
                if not part:
                    break
                said += part
            except TimeoutError:
                try:
                    s.sendall(drip)
                except OSError:
                    break
            except OSError:
                break
    return time.monotonic() - began, said


@pytest.mark.slow
def test_a_head_that_does_not_end_is_ended(process: Process) -> None:
    """Slowloris: a header line now and then keeps a connection for ever."""
    for first in (b"", b"GET /v1/hea", b"GET /v1/health HTTP/1.1\r\nHost: x\r\n"):
        took, said = _slowly(process, first, b"X-a: b\r\n" if first.endswith(b"\n") else b"x")
        assert took < 4 and said.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400")), (first, said)


@pytest.mark.slow
def test_a_body_that_does_not_end_is_ended(process: Process) -> None:
    head = f"POST /v1/recommend HTTP/1.1\r\n{_key(process)}Content-Length: 900\r\n\r\n"
    took, said = _slowly(process, head.encode(), b"x")
    assert took < 4 and said.startswith(b"HTTP/1.1 408") and b"took too long" in said


@pytest.mark.slow
def test_a_second_request_has_its_own_time(process: Process) -> None:
    """A connection that is kept alive is not cut in a request that arrives in time."""
    request = f"GET /v1/health HTTP/1.1\r\n{_key(process)}\r\n".encode()
    with socket.create_connection(("127.0.0.1", process.port), timeout=5) as s:
        for _ in range(3):
            s.sendall(request[:20])
            time.sleep(0.6)
            s.sendall(request[20:])
            answer = b""
            while not answer.endswith(b"}"):  # head and body may come one after the other
                answer += s.recv(4_096)
            assert answer.startswith(b"HTTP/1.1 200")


def test_a_head_without_a_bound_is_refused(process: Process) -> None:
    """One header of many megabytes, and many small ones, before any of them is kept whole."""
    for piece in (b"y" * 1_000_000, b"X: y\r\n" * 200_000):
        content = b"GET /v1/health HTTP/1.1\r\nX: " + piece * 20
        before = process.memory()
        answer = exchange(process.port, Raw(content))
        assert answer is not None and answer[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 400", b"")
        assert process.memory() - before < 30
    _answers(process)


def test_pipelined_requests_are_all_answered_in_order(process: Process) -> None:
    key = _key(process)
    ask = f"GET /v1/health HTTP/1.1\r\n{key}\r\nGET /metrics HTTP/1.1\r\n{key}\r\n" * 3
    with socket.create_connection(("127.0.0.1", process.port), timeout=5) as s:
        s.sendall(ask.encode())
        got = b""
        while got.count(b"HTTP/1.1") < 6:
            got += s.recv(65_536)
    assert [int(x[:3]) for x in got.split(b"HTTP/1.1 ")[1:]] == [200, 403] * 3


def test_a_smuggled_request_is_not_answered(process: Process) -> None:
    """Two lengths: who stands before us might believe the other one."""
    inner = f"GET /metrics HTTP/1.1\r\n{_key(process)}\r\n"
    for double in ("Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"):
        head = f"POST /v1/recommend HTTP/1.1\r\n{_key(process)}Content-Length: {len(inner)}\r\n"
        answer = exchange(process.port, Raw(f"{head}{double}\r\n{inner}".encode()))
        assert answer is not None and answer.startswith(b"HTTP/1.1 400")
        assert answer.count(b"HTTP/1.1") == 1


def test_a_web_socket_is_not_opened(process: Process) -> None:
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    head = f"GET /v1/health HTTP/1.1\r\n{_key(process)}{upgrade}Sec-WebSocket-Key: x\r\n\r\n"
    answer = exchange(process.port, Raw(head.encode()))
    assert answer is not None and not answer.startswith(b"HTTP/1.1 101")


def test_a_client_that_goes_away_is_no_fault(process: Process) -> None:
    before = process.log.read_text().count("fault")
    head = f"POST /v1/recommend HTTP/1.1\r\n{_key(process)}Content-Length: 900\r\n\r\n"
    for _ in range(3):
        exchange(process.port, Raw(head.encode(), whole=False))
    time.sleep(0.2)
    _answers(process)
    assert process.log.read_text().count("fault") == before
