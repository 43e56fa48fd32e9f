"""Throughput of `/v1/recommend` beside an empty FastAPI handler with the same payload.

Both are served by uvicorn with the same settings, one process each; one client at a time
keeps as many connections busy as told, on the same machine. The two take turns, so that a
busy minute hits both. Three arms: `recommend` as it is shipped, `anew` with no answer given
twice (every request is ranked by the model), and `empty`, which parses the same request and
sends an answer of the same length.

python benchmarks/serve.py --seconds 600
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import write_result

AIM = 0.6
ARMS = ("empty", "recommend", "anew")
_ROUND = 5.0
"""Seconds that an arm runs at a time."""


def main() -> None:
    args = _arguments()
    if args.empty is not None:
        _serve_empty(*args.empty)
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        bundle = _bundle(Path(folder), args.items, args.users)
        key, ports = _key(Path(folder)), {arm: _free_port() for arm in ARMS}
        for arm in ("recommend", "anew"):
            running.enter_context(_ours(bundle, Path(folder), ports[arm], anew=arm == "anew"))
        requests = [_request(key, f"u{n}") for n in range(args.users)]
        answer = asyncio.run(_one(ports["recommend"], requests[0]))
        running.enter_context(_empty(ports["empty"], len(answer)))
        asyncio.run(_one(ports["empty"], requests[0]))
        asyncio.run(_warm((ports["recommend"], ports["anew"]), requests))
        found = _turns(ports, requests, args.seconds, args.connections)
    _report(found, args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="of each arm")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=2_000, help="who ask, one after another")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--trial", action="store_true", help="print, write nothing")
    parser.add_argument("--empty", nargs=2, type=int, metavar=("PORT", "BYTES"), help="internal")
    return parser.parse_args()


def _bundle(folder: Path, items: int, users: int) -> Path:
    from hardrank.bundle import save_bundle
    from hardrank.context import RunContext
    from hardrank.models import Sasrec
    from hardrank.testing.logs import taste_log
    from hardrank.training import Training

    data = taste_log(users=users, items=items, events=20)
    spec = Sasrec(training=Training(epochs=1))
    save_bundle(folder / "bundle", spec, spec.fit(data, RunContext()), data, {"synthetic": True})
    return folder / "bundle"


def _key(folder: Path) -> str:
    from hardrank.serve.store import Store

    with Store.open(folder / "store.db") as store:
        return store.add_key("benchmark", "read")


@contextlib.contextmanager
def _ours(bundle: Path, folder: Path, port: int, *, anew: bool) -> Iterator[None]:
    limits = {"RATE": "1e9", "BURST": "1000000000", "REMEMBERED": "0" if anew else "10000"}
    more = {f"HARDRANK_SERVE_{name}": value for name, value in limits.items()}
    command = [sys.executable, "-m", "hardrank.cli.main", "serve", str(bundle), "--port",
               str(port), "--store", f"sqlite:///{folder / 'store.db'}"]  # fmt: skip
    with _process(command, more):
        _wait(port)
        yield


@contextlib.contextmanager
def _empty(port: int, size: int) -> Iterator[None]:
    with _process([sys.executable, __file__, "--empty", str(port), str(size)], {}):
        yield


@contextlib.contextmanager
def _process(command: list[str], more: dict[str, str]) -> Iterator[None]:
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env={**os.environ, **threads, **more})
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _serve_empty(port: int, size: int) -> None:
    """The same request, parsed and checked; an answer of the same length, made beforehand."""
    import uvicorn
    from fastapi import FastAPI

    from hardrank.serve.answers import Json
    from hardrank.serve.schemas import RecommendIn

    app, content = FastAPI(), b'"' + b"x" * (size - 2) + b'"'

    @app.post("/v1/recommend")
    async def empty(asked: RecommendIn) -> Json:
        return Json(content)

    uvicorn.run(
        app, port=port, loop="uvloop", http="httptools", log_level="error", access_log=False,
        server_header=False, date_header=False,
    )  # fmt: skip


def _request(key: str, user: str) -> bytes:
    body = json.dumps({"user_id": user, "k": 10}).encode()
    head = (
        f"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last is whole."""

    def __init__(self, requests: Iterator[bytes], until: float, done: Any) -> None:
        self._requests, self._until, self._done = requests, until, done
        self._buffer, self._sent = b"", 0.0
        self.seconds: list[float] = []
        self.errors = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, gap, body = self._buffer.partition(b"\r\n\r\n")
        if not gap or len(body) < _length(head):
            return
        self.seconds.append(time.perf_counter() - self._sent)
        self.errors += not head.startswith(b"HTTP/1.1 200")
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self.errors += 1
            self._done.set_result(None)

    def _next(self) -> None:
        if time.perf_counter() >= self._until:
            if not self._done.done():
                self._done.set_result(None)
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


def _length(head: bytes) -> int:
    at = head.lower().index(b"content-length:") + 15
    return int(head[at:].split(b"\r\n", 1)[0])


async def _load(
    port: int, requests: Iterator[bytes], seconds: float, connections: int
) -> tuple[list[float], int]:
    loop, made = asyncio.get_running_loop(), list[_Connection]()
    until = time.perf_counter() + seconds
    ends = [loop.create_future() for _ in range(connections)]
    for end in ends:
        one = _Connection(requests, until, end)
        made.append(one)
        await loop.create_connection(lambda one=one: one, "127.0.0.1", port)
    await asyncio.gather(*ends)
    return [s for one in made for s in one.seconds], sum(one.errors for one in made)


async def _one(port: int, request: bytes) -> bytes:
    """The body of the answer; waits for the server and its model."""
    for _ in range(1200):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))
            writer.close()
            if head.startswith(b"HTTP/1.1 200") and b'"popularity"' not in body:
                return body
        await asyncio.sleep(0.1)
    sys.exit(f"nobody answers at port {port}")


async def _warm(ports: tuple[int, ...], requests: list[bytes]) -> None:
    """Every user asks once, so that histories are read from the store before, not within."""
    for port in ports:
        for request in requests:
            await _one(port, request)


def _wait(port: int) -> None:
    import urllib.error
    import urllib.request

    for _ in range(1200):
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/health/ready").read()
            return
        time.sleep(0.1)
    sys.exit("the service was not ready within two minutes")


def _turns(
    ports: dict[str, int], requests: list[bytes], seconds: float, connections: int
) -> dict[str, dict[str, Any]]:
    import itertools

    import uvloop

    out: dict[str, dict[str, Any]] = {a: {"s": [], "errors": 0, "wall": 0.0} for a in ARMS}
    streams = {arm: itertools.cycle(requests) for arm in ARMS}
    rounds = max(1, round(seconds / _ROUND))
    for _ in range(rounds):
        for arm in ARMS:
            begun = time.perf_counter()
            took, errors = uvloop.run(
                _load(ports[arm], streams[arm], seconds / rounds, connections)
            )
            out[arm]["wall"] += time.perf_counter() - begun
            out[arm]["s"] += took
            out[arm]["errors"] += errors
    return out


def _report(found: dict[str, dict[str, Any]], args: argparse.Namespace) -> None:
    import numpy as np

    figures = {}
    for arm, row in found.items():
        p50, p99 = (float(np.percentile(row["s"], q)) * 1000 for q in (50, 99))
        figures[arm] = {
            "requests_per_second": round(len(row["s"]) / row["wall"], 1),
            "p50_ms": round(p50, 2), "p99_ms": round(p99, 2),
            "errors": row["errors"], "requests": len(row["s"]), "seconds": round(row["wall"], 1),
        }  # fmt: skip
    rates = {arm: row["requests_per_second"] for arm, row in figures.items()}
    ratio, anew = rates["recommend"] / rates["empty"], rates["anew"] / rates["empty"]
    if args.trial:
        print(json.dumps({"ratio": ratio, "ratio_anew": anew, **figures}, indent=1))
        return
    errors = sum(row["errors"] for row in figures.values())
    write_result(
        "serve",
        claim=f"/v1/recommend over {args.items:,} items at {rates['recommend']:,.0f} requests a "
        f"second, {ratio:.0%} of an empty FastAPI handler ({anew:.0%} where every request is "
        f"ranked anew), p99 {figures['recommend']['p99_ms']} ms, {errors} errors",
        command=f"python benchmarks/serve.py --seconds {args.seconds:g} --items {args.items} "
        f"--users {args.users} --connections {args.connections}",
        ratio=ratio,
        ratio_means="requests a second, the service over an empty FastAPI handler",
        ratios={"ratio_anew": anew},
        aim=AIM,
        figures=figures,
        method="uvicorn with uvloop and httptools, one process an arm, one thread of BLAS; the "
        f"client on the same machine keeps {args.connections} connections busy; arms take turns "
        f"of {_ROUND:g} s; {args.users} users ask in turn for 10 items, each once before "
        "the start; `anew` remembers no answers; the empty handler "
        "parses the same request and sends as many bytes",
    )


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


if __name__ == "__main__":
    main()
