"""Throughput of `/v1/recommend` beside an empty FastAPI handler with the same payload.

All are served by uvicorn with the same settings, one process each; one client at a time keeps
as many connections busy as told, on the same machine. Every round gives each arm its turn, so
that a busy minute hits all, and ratios are medians over rounds. Arms: `recommend` as it is
shipped, `anew` with no answer given twice (every request is ranked by the model), `mixed` as
shipped with every tenth request an event that is written, and `empty`, which parses the same
request and sends an answer of the same length. Beside the rates stands what each request costs
the server in CPU time, on the event loop's thread and on all others.

python benchmarks/serve.py --seconds 600 --others 100
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import RESULTS, write_result, write_table

AIM = 0.6
OURS = ("recommend", "anew", "mixed")
ARMS = ("empty", *OURS)
_ROUND = 5.0
"""Seconds that an arm other than `recommend` runs at a time."""
_EVERY = 10
"""Of the requests of `mixed`, one in so many is an event."""


@dataclass
class _Arm:
    """One server, and what became of the requests to it."""

    port: int
    pid: int
    requests: Iterator[bytes]
    seconds: float
    """Of each turn."""
    took: "array[float]" = field(default_factory=lambda: array("f"))
    """Seconds of each request."""
    rates: list[float] = field(default_factory=list)
    """Requests a second, by round."""
    errors: int = 0
    wall: float = 0.0
    cpu: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Seconds of the event loop's thread, and of all other threads."""
    client: float = 0.0


def main() -> None:
    args = _arguments()
    if args.empty is not None:
        _serve_empty(*args.empty)
        return
    if args.join:
        _join(args)
        return
    rounds = max(1, round(args.others / _ROUND))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        bundle, users = _bundle(Path(folder), args.items, args.users), args.users
        arms = dict[str, _Arm]()
        for name in OURS:
            port, key = _free_port(), _key(Path(folder), name)
            pid = running.enter_context(_ours(bundle, Path(folder), port, name))
            asked = [_request(key, f"u{n}") for n in range(users)]
            answer = asyncio.run(_one(port, asked[0]))
            asyncio.run(_warm(port, asked))
            stream = _with_events(key, asked) if name == "mixed" else itertools.cycle(asked)
            seconds = args.seconds if name == "recommend" else args.others
            arms[name] = _Arm(port, pid, stream, seconds / rounds)
        port = _free_port()
        pid = running.enter_context(_empty(port, len(answer)))
        asyncio.run(_one(port, asked[0]))
        arms["empty"] = _Arm(port, pid, itertools.cycle(asked), args.others / rounds)
        for _ in range(rounds):
            for name in ARMS:
                _turn(arms[name], args.connections)
    _report(arms, args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="of the arm 'recommend'")
    parser.add_argument("--others", type=float, default=100.0, help="seconds of each other arm")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=2_000, help="who ask, one after another")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--faults", action="store_true", help="run serve_faults.py, too")
    parser.add_argument("--merge", type=Path, help="JSON list of faults, measured before")
    parser.add_argument(
        "--join", action="store_true",
        help="measure nothing: put index.json and --merge into the result that is kept",
    )  # fmt: skip
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


def _key(folder: Path, arm: str) -> str:
    """Of an admin: `mixed` writes events."""
    from hardrank.serve.store import Store

    with Store.open(folder / f"{arm}.db") as store:
        return store.add_key("benchmark", "admin")


@contextlib.contextmanager
def _ours(bundle: Path, folder: Path, port: int, arm: str) -> Iterator[int]:
    """The process id."""
    kept = "0" if arm == "anew" else "10000"
    limits = {"RATE": "1e9", "BURST": "1000000000", "REMEMBERED": kept}
    more = {f"HARDRANK_SERVE_{name}": value for name, value in limits.items()}
    command = [sys.executable, "-m", "hardrank.cli.main", "serve", str(bundle), "--port",
               str(port), "--store", f"sqlite:///{folder / arm}.db"]  # fmt: skip
    with _process(command, more) as pid:
        _wait(port)
        yield pid


@contextlib.contextmanager
def _empty(port: int, size: int) -> Iterator[int]:
    with _process([sys.executable, __file__, "--empty", str(port), str(size)], {}) as pid:
        yield pid


@contextlib.contextmanager
def _process(command: list[str], more: dict[str, str]) -> Iterator[int]:
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env={**os.environ, **threads, **more})
    try:
        yield process.pid
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
    return _post(key, "/v1/recommend", {"user_id": user, "k": 10})


def _post(key: str, path: str, said: dict[str, Any]) -> bytes:
    body = json.dumps(said).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _with_events(key: str, asked: list[bytes]) -> Iterator[bytes]:
    """Every tenth request tells what a user did; that user's next list counts it."""
    for n in itertools.count():
        if n % _EVERY:
            yield asked[n % len(asked)]
            continue
        event = {"event_id": f"e{n}", "user_id": f"u{n // 7 % len(asked)}",
                 "item_id": f"i{n // 3 % 1000}", "time": int(time.time())}  # fmt: skip
        yield _post(key, "/v1/events", {"events": [event]})


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


async def _warm(port: int, requests: list[bytes]) -> None:
    """Every user asks once, so that histories are read from the store before, not within."""
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


def _turn(arm: _Arm, connections: int) -> None:
    import uvloop

    before, spent, begun = _cpu(arm.pid), time.process_time(), time.perf_counter()
    took, errors = uvloop.run(_load(arm.port, arm.requests, arm.seconds, connections))
    wall = time.perf_counter() - begun
    arm.client += time.process_time() - spent
    arm.cpu = [a + y - x for a, x, y in zip(arm.cpu, before, _cpu(arm.pid), strict=True)]
    arm.took.extend(took)
    arm.errors += errors
    arm.wall += wall
    arm.rates.append(len(took) / wall)


def _cpu(pid: int) -> tuple[float, float]:
    """CPU seconds of a process: its first thread, where the event loop runs, and the others."""
    first = _ticks(Path(f"/proc/{pid}/task/{pid}/stat"))
    tick = os.sysconf("SC_CLK_TCK")
    return first / tick, (_ticks(Path(f"/proc/{pid}/stat")) - first) / tick


def _ticks(stat: Path) -> int:
    words = stat.read_text().rsplit(")", 1)[1].split()
    return int(words[11]) + int(words[12])


def _report(arms: dict[str, _Arm], args: argparse.Namespace) -> None:
    figures: dict[str, Any] = {name: _figures(arm) for name, arm in arms.items()}
    ratios = {name: _ratio(arms[name], arms["empty"]) for name in OURS}
    cpu = {name: figures["empty"]["cpu_us"] / figures[name]["cpu_us"] for name in OURS}
    if args.trial:
        print(json.dumps({"ratios": ratios, "cpu_ratios": cpu, **figures}, indent=1))
        return
    ours, errors = figures["recommend"], sum(figures[name]["errors"] for name in ARMS)
    write_result(
        "serve",
        claim=f"/v1/recommend over {args.items:,} items for {ours['seconds']:,.0f} s at "
        f"{ours['requests_per_second']:,.0f} requests a second, {ratios['recommend']:.0%} of an "
        f"empty FastAPI handler ({ratios['anew']:.0%} where every request is ranked anew, "
        f"{ratios['mixed']:.0%} with a tenth of the requests events that are written), p99 "
        f"{ours['p99_ms']} ms, {errors} errors",
        command=f"python benchmarks/serve.py --seconds {args.seconds:g} --others {args.others:g} "
        f"--items {args.items} --users {args.users} --connections {args.connections}",
        ratio=ratios["recommend"],
        ratio_means="requests a second, the service over an empty FastAPI handler",
        ratios={
            **{f"ratio_{name}": ratios[name] for name in OURS[1:]},
            **{f"cpu_ratio_{name}": cpu[name] for name in OURS},
        },
        aim=AIM,
        figures=_summary(figures) | _besides(args),
        method="uvicorn with uvloop and httptools, one process an arm, one thread of BLAS; the "
        f"client on the same machine keeps {args.connections} connections busy; in each round "
        f"every arm has a turn ({_ROUND:g} s, `recommend` longer), and a ratio is the median "
        f"over rounds; cpu ratios compare the server's CPU time a request; {args.users} users "
        "ask in turn for 10 items, each once before the start; `anew` remembers no answers; one "
        f"in {_EVERY} requests of `mixed` is an event on the disk; the empty handler parses the "
        "same request and sends as many bytes",
    )


def _summary(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures of the service as it is shipped first."""
    ours = figures["recommend"]
    errors = sum(figures[name]["errors"] for name in ARMS)
    short = {"errors": errors, "p50_ms": ours["p50_ms"], "p99_ms": ours["p99_ms"]}
    return {**short, "duration_s": ours["seconds"], **figures}


def _join(args: argparse.Namespace) -> None:
    """The load, the index and the faults are measured one after another, not at once."""
    kept = json.loads((RESULTS / "serve.json").read_text(encoding="utf-8"))
    kept["figures"] = _summary(kept["figures"]) | _besides(args)
    text = json.dumps(kept, indent=1, ensure_ascii=False, allow_nan=False)
    (RESULTS / "serve.json").write_text(text + "\n", encoding="utf-8")
    write_table()


def _figures(arm: _Arm) -> dict[str, float]:
    """Rates, times, and microseconds of CPU for each request."""
    import numpy as np

    n, seconds = len(arm.took), np.frombuffer(arm.took, dtype=np.float32)
    p50, p99 = (float(np.percentile(seconds, q)) * 1000 for q in (50, 99))
    loop, others, client = (round(1e6 * s / n, 1) for s in (*arm.cpu, arm.client))
    return {
        "requests_per_second": round(n / arm.wall, 1), "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2), "errors": arm.errors, "requests": n,
        "seconds": round(arm.wall, 1), "cpu_us": round(loop + others, 1),
        "cpu_us_event_loop": loop, "cpu_us_other_threads": others, "cpu_us_client": client,
    }  # fmt: skip


def _ratio(arm: _Arm, empty: _Arm) -> float:
    import numpy as np

    return float(np.median([a / b for a, b in zip(arm.rates, empty.rates, strict=True)]))


def _besides(args: argparse.Namespace) -> dict[str, Any]:
    """What other scripts found: recall of the index, and answers under faults."""
    out = dict[str, Any]()
    index = RESULTS / "index.json"
    if index.exists():
        found = json.loads(index.read_text(encoding="utf-8"))["figures"]
        out["recall"] = found["index"]["recall_at_10"]
        out["index"] = {"items": found["items"], **found["index"]}
    if args.merge is not None:
        out["faults"] = json.loads(args.merge.read_text(encoding="utf-8"))
    elif args.faults:
        from serve_faults import fault_rows

        out["faults"] = fault_rows()
    return out


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


if __name__ == "__main__":
    main()
