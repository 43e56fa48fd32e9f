"""A local service that does as it is told, and rankers that a person can check."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from hardrank.victims import Question

Reply = tuple[int, Mapping[str, str], bytes]
Answer = Callable[[dict[str, Any]], Any]


def question(queries: int = 2, candidates: int = 3) -> Question:
    return Question(
        histories=[["a"] * (q + 1) for q in range(queries)],
        users=[f"u{q}" for q in range(queries)],
        items=[{"item_id": f"i{c}", "text": {"title": f"t{c}"}} for c in range(candidates)],
    )


def length_scores(asked: dict[str, Any]) -> dict[str, Any]:
    """Longer titles win, more so for longer histories; no two items score alike."""
    ids = [c["item_id"] for c in asked["candidates"]]
    apart = [int(re.sub(r"\D", "", i) or sum(map(ord, i))) % 1024 / 1024 for i in ids]
    lengths = [len(c["text"]["title"]) for c in asked["candidates"]]
    weights = [1 + len(query["history"]) for query in asked["queries"]]
    rows = [[w * n + a for n, a in zip(lengths, apart, strict=True)] for w in weights]
    return {"scores": rows}


def ranked(scores: dict[str, Any], asked: dict[str, Any], n: int | None = None) -> dict[str, Any]:
    ids = [c["item_id"] for c in asked["candidates"]]
    order = [np.argsort(-np.array(row), kind="stable")[:n].tolist() for row in scores["scores"]]
    return {"ranked": [[ids[c] for c in row] for row in order]}


@dataclass
class Stub:
    """A server in a thread: `answer` what it computes, `faults` what it does instead, first
    come first served (None: nothing wrong)."""

    answer: Answer = length_scores
    contract: dict[str, Any] | None = None
    faults: list[Reply | Callable[[BaseHTTPRequestHandler], None] | None] = field(
        default_factory=list
    )
    bodies: list[bytes] = field(default_factory=list)
    """Of all POST requests, faults included."""
    headers: list[Mapping[str, str]] = field(default_factory=list)
    url: str = ""

    def replied(self, body: bytes) -> Reply:
        content = json.dumps(self.answer(json.loads(body))).encode()
        return 200, {"Content-Type": "application/json"}, content


@contextmanager
def serving() -> Iterator[Stub]:
    made = Stub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if made.contract is None or not self.path.endswith("/contract"):
                self.send(404, {}, b"nothing here")
            else:
                self.send(200, {}, json.dumps(made.contract).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.bodies.append(body)
            made.headers.append(dict(self.headers))
            fault = made.faults.pop(0) if made.faults else None
            if callable(fault):
                fault(self)
            else:
                self.send(*(fault or made.replied(body)))

        def send(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            """A client that hung up is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/rank"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()
