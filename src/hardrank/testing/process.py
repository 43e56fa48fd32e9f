"""`hardrank serve` as a process of its own, and clients that keep it busy."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

__all__ = ["ROLES", "Caller", "Process", "Reader", "Reply", "Writer", "until"]

ROLES = ("read", "ingest", "review", "admin")
_PATIENCE = 30.0
"""Seconds after which an answer that did not come is counted as one that never comes."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Process:
    """One service on a free port. Its keys are made beforehand; its log is a file."""

    def __init__(self, bundle: Path, store: str, folder: Path, **settings: object) -> None:
        """store: address of the database. settings: as in `Settings`."""
        from hardrank.serve.store import Store

        self.log, self.bundle, self.store = folder / "service.log", bundle, store
        with Store.open(store) as opened:
            self.keys = {role: opened.add_key(role, role) for role in ROLES}  # type: ignore[arg-type]
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = int(s.getsockname()[1])
        chosen = {"store": store, "rate": 1e6, "burst": 10**6, **settings}
        named = {f"HARDRANK_SERVE_{name.upper()}": str(value) for name, value in chosen.items()}
        self._around = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **named}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True, arguments: tuple[str, ...] = ()) -> Self:
        """Starts it (again) on the same port and store; with `wait`, the model answers."""
        command = [sys.executable, "-m", "hardrank.cli.main", "serve", str(self.bundle)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port), *arguments], env=self._around, stderr=log
            )
        if wait:
            until(self.ready, 240.0)
        return self

    def ready(self) -> bool:
        with suppress(OSError, http.client.HTTPException):
            return self.ask(None, "GET", "/v1/health/ready").status == 200
        return False

    @property
    def id(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """kill -9: it cannot finish anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def memory(self) -> float:
        """MB that it holds in memory."""
        said = Path(f"/proc/{self.id}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", said)
        assert found is not None
        return int(found[1]) / 1024

    def ask(self, role: str | None, method: str, path: str, body: Any = None) -> Reply:
        """One request on a connection of its own."""
        with closing(Caller(self, role)) as caller:
            return caller.ask(method, path, body)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


class Caller:
    """One connection, kept alive; after a fault the next request opens a new one."""

    def __init__(self, process: Process, role: str | None = None) -> None:
        self._made = http.client.HTTPConnection("127.0.0.1", process.port, timeout=_PATIENCE)
        key = {} if role is None else {"Authorization": f"Bearer {process.keys[role]}"}
        self._headers = {"Content-Type": "application/json", **key}

    def close(self) -> None:
        self._made.close()

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        """body: bytes as they are, anything else as JSON. Raises what sockets raise."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            self._made.request(method, path, content, self._headers)
            answer = self._made.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, headers, answer.read())
        except BaseException:
            self._made.close()
            raise


@dataclass
class _Client:
    """A thread that asks without end and notes what came of it."""

    process: Process
    name: str
    codes: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Requests without an answer: refused or cut connections."""
    role: ClassVar[str]
    bad: list[str] = field(default_factory=list)
    """Answers against the contract."""
    slowest: float = 0.0

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def requests(self) -> int:
        return self.codes.total() + self.broken

    def end(self) -> None:
        self._ended.set()
        self._thread.join(2 * _PATIENCE)
        assert not self._thread.is_alive(), f"{self.name} hangs"

    def _ask(self, caller: Caller, method: str, path: str, body: Any) -> Reply | None:
        """None where no answer came."""
        began = time.monotonic()
        try:
            reply = caller.ask(method, path, body)
        except TimeoutError:
            self.bad.append(f"{path}: no answer within {_PATIENCE:g} s")
            return None
        except (OSError, http.client.HTTPException):
            self.broken += 1
            self._ended.wait(0.02)
            return None
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.codes[reply.status] += 1
        return reply

    def _run(self) -> None:
        with closing(Caller(self.process, self.role)) as caller:
            self._work(caller)

    def _work(self, caller: Caller) -> None:
        raise NotImplementedError


@dataclass
class Reader(_Client):
    """Asks for lists of known users; anything but a whole 200 is against the contract."""

    users: int = 10
    role = "read"

    def _work(self, caller: Caller) -> None:
        n = 0
        while not self._ended.is_set():
            n += 1
            body = {"user_id": f"u{n % self.users}", "k": 5, "exclude": [f"x{self.name}{n}"]}
            reply = self._ask(caller, "POST", "/v1/recommend", body)
            if reply is not None and (reply.status != 200 or len(reply.json()["items"]) != 5):
                self.bad.append(f"recommend: {reply.status} {reply.body[:80]!r}")


@dataclass
class Writer(_Client):
    """Sends events, `bulk` at a time, or versions of one item (`bulk` 0), and sends the same
    again until it is acknowledged. A 503 must name a time to wait."""

    bulk: int = 1
    user: str | None = None
    """Whose events; None for a few of its own."""
    acknowledged: list[str] = field(default_factory=list)
    version: int = 0
    """Last version of the item that was acknowledged."""

    @property
    def done(self) -> int:
        return len(self.acknowledged) + self.version

    role = "ingest"

    def _work(self, caller: Caller) -> None:
        n = 0
        while not self._ended.is_set():
            n += 1
            send = self._events if self.bulk else self._item
            while not self._ended.is_set() and not send(caller, n):
                self._ended.wait(0.01)

    def _events(self, caller: Caller, n: int) -> bool:
        ids = [f"{self.name}-{n}-{m}" for m in range(self.bulk)]
        events = [
            {"event_id": id, "user_id": self.user or f"{self.name}-{m % 3}", "item_id": f"i{m}",
             "time": int(time.time())} for m, id in enumerate(ids)
        ]  # fmt: skip
        reply = self._ask(caller, "POST", "/v1/events", {"events": events})
        if reply is None or not self._taken(reply):
            return False
        self.acknowledged += ids
        return True

    def _item(self, caller: Caller, n: int) -> bool:
        body = {"fields": {"title": f"version {n}"}}
        reply = self._ask(caller, "PUT", f"/v1/items/{self.name}", body)
        if reply is None or not self._taken(reply):
            return False
        self.version = n
        return True

    def _taken(self, reply: Reply) -> bool:
        if reply.status != 200 and (reply.status != 503 or "retry-after" not in reply.headers):
            self.bad.append(f"write: {reply.status} {reply.body[:80]!r}")
        return reply.status == 200


def until(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Seconds until it held. Raises `TimeoutError`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"waited {seconds:g} s in vain")
        time.sleep(0.02)
    return time.monotonic() - began
