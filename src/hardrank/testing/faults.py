"""Faults of a running service, made on purpose, and what became of every request meanwhile.

Each function works on a real process under load and gives one row of the fault table. A row
of a good service has no `errors`, nothing `lost` and nothing `doubled`.
"""

import resource
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardrank.testing.postgres import Postgres
from hardrank.testing.process import Process, Reader, Writer, until

__all__ = [
    "Row", "crashed_database", "erased_meanwhile", "full_disk", "killed", "swapped",
    "tampered_bundle",
]  # fmt: skip

_BROKEN = "broken"


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    did: str
    requests: int
    """Sent while the fault came and went; retries count."""
    errors: int
    """Answers against the contract, and (where the process lived) connections that broke."""
    lost: int
    """Acknowledged events and versions of items that are not there."""
    doubled: int
    """Events that are there twice."""
    recovered_after_s: float
    """Seconds from the end of the fault to the first acknowledged write (or whole answer)."""
    slowest_s: float
    """Longest time to any answer."""
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def killed(process: Process, name: str, times: int = 2) -> Row:
    """kill -9 under writes, single, bulk and of items, all of which are sent again."""
    process.start()
    writers = _writers(process)
    recovered = 0.0
    for _ in range(times):
        _progress(writers, 8)
        process.kill()
        process.start(wait=False)
        recovered = max(recovered, _progress(writers[:-1], 1, 240.0))  # items wait for the model
        _progress(writers, 8, 240.0)
    _end(writers)
    did = f"kill -9 under writes, {times} times, started again on the same store"
    return _row(process, name, did, writers, (), recovered, broken=False)


def crashed_database(process: Process, postgres: Postgres, seconds: float = 6.0) -> Row:
    """PostgreSQL stopped without a shutdown, away for a while, started again."""
    process.start()
    readers = [Reader(process, f"r{n}") for n in range(4)]
    writers = _writers(process)
    try:
        _progress(writers, 5)
        postgres.crash()
        try:
            until(lambda: all(w.codes[503] for w in writers), 60.0)
            time.sleep(seconds)
        finally:
            postgres.start()
        recovered = _progress(writers, 1)
        _progress(writers, 5)
    finally:
        _end([*readers, *writers])
    did = f"PostgreSQL stopped (immediate) under load, {seconds:g} s away, started again"
    return _row(process, "database crashed", did, writers, readers, recovered)


def full_disk(process: Process, database: Path) -> Row:
    """A limit of the file size, which is lifted later: SQLite can write no more. Linux."""
    process.start()
    readers, writers = [Reader(process, "r0")], _writers(process)
    most = resource.RLIM_INFINITY
    try:
        _progress(writers, 5)
        size = max(file.stat().st_size for file in database.parent.glob(f"{database.name}*"))
        resource.prlimit(process.id, resource.RLIMIT_FSIZE, (size + 100_000, most))
        try:
            until(lambda: all(w.codes[503] for w in writers), 120.0)
            time.sleep(1.0)
        finally:
            resource.prlimit(process.id, resource.RLIMIT_FSIZE, (most, most))
        recovered = _progress(writers, 1)
        _progress(writers, 5)
    finally:
        _end([*readers, *writers])
    did = "no room for the store (file-size limit), then room again"
    return _row(process, "disk full", did, writers, readers, recovered)


def swapped(process: Process, bundles: Sequence[str], connections: int = 16) -> Row:
    """Other bundles go online while `connections` ask without a pause."""
    process.start()
    readers = [Reader(process, f"r{n}") for n in range(connections)]
    took, bad = 0.0, list[str]()
    try:
        until(lambda: all(r.codes[200] > 5 for r in readers))
        for name in bundles:
            began = time.monotonic()
            reply = process.ask("admin", "POST", "/v1/bundle", {"bundle": name})
            took = max(took, time.monotonic() - began)
            bad += [f"swap: {reply.status}"] if reply.status != 200 else []
            _answered(readers)
    finally:
        _end(readers)
    did = f"{len(bundles)} swaps while {connections} connections ask"
    return _row(process, "swap", did, (), readers, took, bad=bad)


def tampered_bundle(process: Process, whole: Path) -> Row:
    """One bit of a bundle beside the live one is wrong: refused, and the old one answers."""
    broken = whole.parent / _BROKEN
    shutil.copytree(whole, broken, dirs_exist_ok=True)
    _flip(broken / "items.parquet")
    process.start()
    readers = [Reader(process, f"r{n}") for n in range(4)]
    bad = list[str]()
    try:
        until(lambda: all(r.codes[200] > 5 for r in readers))
        live = process.ask(None, "GET", "/v1/health/ready").json()["bundle"]
        for name in (_BROKEN, "missing", _BROKEN):
            status = process.ask("admin", "POST", "/v1/bundle", {"bundle": name}).status
            bad += [f"swap to {name}: {status}"] if status != 409 else []
        if process.ask(None, "GET", "/v1/health/ready").json()["bundle"] != live:
            bad.append("another bundle answers")
    finally:
        _end(readers)
    did = "swaps to an altered and to a missing bundle, under load: all refused"
    return _row(process, "altered bundle", did, (), readers, 0.0, bad=bad)


def erased_meanwhile(process: Process, bundle: str, user: str) -> Row:
    """A user is erased while their events come in, lists are asked for, and a swap runs."""
    import threading

    process.start()
    writers = [Writer(process, f"e{n}", user=user) for n in range(2)]
    writers.append(Writer(process, "other"))
    readers, bad = [Reader(process, "r0")], list[str]()
    codes = list[int]()
    body = {"bundle": bundle}
    swap = threading.Thread(
        target=lambda: codes.append(process.ask("admin", "POST", "/v1/bundle", body).status)
    )
    try:
        _progress(writers, 5)
        process.ask("read", "POST", "/v1/recommend", {"user_id": user, "k": 5})
        swap.start()
        took = until(lambda: process.ask("admin", "DELETE", f"/v1/users/{user}").status == 200)
        later = [w.done for w in writers[:2]]
        until(lambda: all(w.done > n + 3 for w, n in zip(writers[:2], later, strict=True)))
    finally:
        swap.join(60)
        _end([*readers, *writers])
    bad += [f"swap: {codes}"] if codes != [200] else []
    kept = _kept(process)
    bad += (
        [f"an event of the user is kept: {len(left)}"]
        if (left := [id for id in kept if id.startswith("e")])
        else []
    )
    did = "a user erased while their events come in and a swap runs"
    return _row(process, "erasure", did, writers[2:], readers, took, bad=bad, more=writers[:2])


def _writers(process: Process) -> list[Writer]:
    """Two send single events, one many at a time, one versions of an item."""
    return [
        *(Writer(process, f"s{n}") for n in range(2)),
        Writer(process, "b", bulk=20),
        Writer(process, "item", bulk=0),
    ]


def _progress(writers: Sequence[Writer], steps: int, seconds: float = 60.0) -> float:
    """Seconds until each was acknowledged `steps` writes more."""
    aims = [w.done + steps * max(1, w.bulk) for w in writers]
    return until(lambda: all(w.done >= n for w, n in zip(writers, aims, strict=True)), seconds)


def _answered(readers: Sequence[Reader]) -> None:
    """Each once more, at least."""
    before = [reader.codes[200] for reader in readers]
    until(lambda: all(r.codes[200] > n for r, n in zip(readers, before, strict=True)))


def _end(clients: Sequence[Reader | Writer]) -> None:
    for client in clients:
        client.end()


def _kept(process: Process) -> list[str]:
    """Ids of all events in the store, those that wait for a person too."""
    from sqlalchemy import select

    from hardrank.serve.store import Store
    from hardrank.serve.tables import events, held

    queries = [select(table.c.event_id) for table in (events, held)]
    with Store.open(process.store, patience=5.0) as store:
        found = store.database.read(
            lambda connection: [connection.execute(query).scalars().all() for query in queries]
        )
    return [str(id) for ids in found for id in ids]


def _row(
    process: Process, name: str, did: str, writers: Sequence[Writer], readers: Sequence[Reader],
    recovered: float, *, broken: bool = True, bad: Sequence[str] = (),
    more: Sequence[Writer] = (),
) -> Row:  # fmt: skip
    """broken: whether a cut connection is an error. more: clients whose writes need not last."""
    kept = _kept(process)
    clients = [*writers, *readers, *more]
    lost = sum(len(set(w.acknowledged) - set(kept)) for w in writers)
    lost += sum(not _item_stands(process, w) for w in writers if not w.bulk)
    notes = [*bad, *(said for c in clients for said in c.bad)]
    cut = sum(c.broken for c in clients) if broken else 0
    notes += [f"{cut} connections cut"] if cut else []
    return Row(
        name, did, sum(c.requests for c in clients), len(notes) + max(0, cut - 1), lost,
        len(kept) - len(set(kept)), round(recovered, 2), round(max(c.slowest for c in clients), 2),
        tuple(notes[:20]),
    )  # fmt: skip


def _item_stands(process: Process, writer: Writer) -> bool:
    """The version acknowledged last, or the one that was under way at the end."""
    said = process.ask("ingest", "GET", f"/v1/items/{writer.name}").json()["fields"]["title"]
    return said in (f"version {writer.version}", f"version {writer.version + 1}")


def _flip(file: Path) -> None:
    """One bit, in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
