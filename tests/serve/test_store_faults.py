"""Kills, restarts, full disks and damaged files: nothing acknowledged is lost or doubled."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, OperationalError

from hardrank.serve.errors import (
    StoreCorrupted,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from hardrank.serve.faults import fault
from hardrank.serve.records import EventIn
from hardrank.serve.store import Store

if TYPE_CHECKING:
    from typing import Any

    Postgres = Any

WRITER = """
import sys, threading
from hardrank.serve.records import EventIn
from hardrank.serve.store import Store
store, lock = Store.open(sys.argv[1], patience=20.0), threading.Lock()
def load(who):
    for n in range(100_000):
        batch = [EventIn(f"{who}-{n}-{m}", f"u{m}", "i", n) for m in range(4)]
        store.add_events(batch)
        with lock:
            print(f"{who} {n}", flush=True)
for who in "ab":
    threading.Thread(target=load, args=(who,)).start()
"""
SMALL_DISK = """
import resource, sys
from hardrank.serve.errors import StoreFull
from hardrank.serve.records import EventIn
from hardrank.serve.store import Store
store = Store.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
for n in range(1000):
    try:
        store.add_events([EventIn(f"{n}-{m}", "u" * 200, "i", n) for m in range(50)])
    except StoreFull as error:
        print("full", error)
        break
    print(n, flush=True)
print("reads", len(store.events_since()))
"""


def batch(n: int, size: int = 3, user: str = "u") -> list[EventIn]:
    return [EventIn(f"{n}-{m}", user, "i", n) for m in range(size)]


def ids(store: Store) -> list[str]:
    return [row.event_id for row in store.events_since(limit=10**6)]


def test_kill_9_in_mid_load_loses_and_doubles_nothing(store_url: str) -> None:
    arguments = [sys.executable, "-c", WRITER, store_url]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(12)]
        writer.send_signal(signal.SIGKILL)
        said += writer.stdout.readlines()
    whole = [line.split() for line in said if line.endswith("\n")]
    acknowledged = {f"{who}-{n}-{m}" for who, n in whole for m in range(4)}
    with Store.open(store_url) as store:
        kept = ids(store)
        assert acknowledged <= set(kept)
        assert len(kept) == len(set(kept)) and len(kept) % 4 == 0  # batches are whole
        assert len(kept) <= len(acknowledged) + 2 * 4  # one batch of each thread was under way
        again = [EventIn(id, "u", "i", 0) for id in sorted(acknowledged)]
        assert not any(store.add_events(again))
        assert ids(store) == kept


class Load:
    """A thread that writes without end and notes what was acknowledged and what failed."""

    def __init__(self, store: Store, name: str) -> None:
        self.acknowledged, self.faults = list[str](), list[Exception]()
        self.strange = list[Exception]()
        self._store, self._name = store, name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        n = 0
        while not self._stop.is_set():
            events = [EventIn(f"{self._name}-{n}-{m}", "u", "i", n) for m in range(3)]
            try:
                self._store.add_events(events)
            except StoreUnavailable as error:
                self.faults.append(error)  # and the same events are sent again
            except Exception as error:
                self.strange.append(error)
                return
            else:
                self.acknowledged += [e.event_id for e in events]
                n += 1

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


def until(condition: object, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_postgresql_restarted_in_mid_load(postgres: "Postgres", migrated: str) -> None:
    """Clear errors while it is away; after that the store works again by itself."""
    url = postgres.new_database()
    with Store.open(url, patience=0.2) as store:
        loads = [Load(store, name) for name in "ab"]
        try:
            until(lambda: all(load.acknowledged for load in loads))
            postgres.stop()
            try:
                until(lambda: all(load.faults or load.strange for load in loads))
                with pytest.raises(StoreUnavailable, match="does not answer"):
                    store.ping()
            finally:
                postgres.start()
            before = [len(load.acknowledged) for load in loads]
            until(
                lambda: all(
                    len(load.acknowledged) > n or load.strange
                    for load, n in zip(loads, before, strict=True)
                )
            )
        finally:
            for load in loads:
                load.end()
        store.ping()
        assert [load.strange for load in loads] == [[], []]
        kept = ids(store)
        assert len(kept) == len(set(kept))
        assert {id for load in loads for id in load.acknowledged} <= set(kept)


def test_connections_that_the_server_closed_are_replaced(
    postgres: "Postgres", migrated: str
) -> None:
    """No call fails because the one before left a dead connection in the pool."""
    with Store.open(migrated, patience=0.0) as store:
        for _ in range(3):
            store.ping()
            postgres.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )


def test_a_server_that_never_was_is_unavailable(tmp_path: Path) -> None:
    start, word = time.monotonic(), "-".join(("hidden", "word"))
    with pytest.raises(StoreUnavailable, match="does not answer") as caught:
        Store.open(f"postgresql://me:{word}@/none?host={tmp_path}", patience=0.2)
    assert time.monotonic() - start < 30
    assert "hidden-word" not in "".join(traceback.format_exception(caught.value))


def full_at(store: Store, pages: int) -> None:
    """A disk on which the file may have so many pages of 4 kB."""
    store.database.close()
    event.listen(
        store.database.engine,
        "connect",
        lambda connection, _: connection.execute(f"PRAGMA max_page_count={pages}"),
    )


def test_a_full_disk_keeps_whole_calls_and_says_so(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        full_at(store, 60)
        kept = list[str]()
        with pytest.raises(StoreFull, match="the disk takes no more") as caught:
            for n in range(1000):
                events = batch(n, 50, "secret-person")
                store.add_events(events)
                kept += [e.event_id for e in events]
        assert 0 < len(kept) < 50_000 and ids(store) == kept
        assert "secret-person" not in "".join(traceback.format_exception(caught.value))
        full_at(store, 10_000)
        assert all(store.add_events(events))
        assert ids(store) == kept + [e.event_id for e in events]


def test_a_file_size_limit_is_a_full_disk(migrated_file: Path, tmp_path: Path) -> None:
    shutil.copy(migrated_file, tmp_path / "s.db")
    done = subprocess.run(
        [sys.executable, "-c", SMALL_DISK, str(tmp_path / "s.db")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *acknowledged, full, reads = done.stdout.splitlines()
    assert full.startswith("full") and "the disk takes no more" in full
    assert reads == f"reads {50 * len(acknowledged)}" and acknowledged
    with Store.open(tmp_path / "s.db") as store:
        assert len(ids(store)) == 50 * len(acknowledged)


def test_garbage_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"This is a letter, and no database. " * 200)
    with pytest.raises(StoreCorrupted, match=r"s\.db: not a database or damaged; restore"):
        Store.open(tmp_path / "s.db")


def test_a_damaged_page_is_said_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with Store.open(path) as store:
        for n in range(20):
            store.add_events(batch(n, 50))
        store.scrub()
    content = bytearray(path.read_bytes())
    content[3 * 4096 :] = b"\xa5" * (len(content) - 3 * 4096)
    path.write_bytes(bytes(content))
    with pytest.raises(StoreCorrupted, match="restore a backup"), Store.open(path) as store:
        ids(store)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does its folder exist"):
        Store.open(tmp_path / "none" / "s.db")
    assert not (tmp_path / "none").exists()


def test_a_file_that_somebody_locked_is_unavailable_and_then_not(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db", patience=0.1) as store:
        store.database.close()
        event.listen(
            store.database.engine,
            "connect",
            lambda connection, _: connection.execute("PRAGMA busy_timeout=20"),
        )
        other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="busy"):
            store.add_events(batch(1))
        store.ping()  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        assert store.add_events(batch(1)) == [True] * 3


def test_a_commit_of_unknown_fate_is_repeated_only_where_harmless(store: Store) -> None:
    """A quota spent twice is a fault; an event sent twice is none."""
    key = store.key_of(store.add_key("k", "read"))
    assert key is not None
    tries = list[str]()

    def cut_first(connection: object) -> None:
        tries.append("commit")
        if len(tries) == 1:
            raise OperationalError("COMMIT", {}, psycopg.OperationalError("cut"), False)

    event.listen(store.database.engine, "commit", cut_first)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        store.spend(key.id)
    assert len(tries) == 1
    tries.clear()
    assert store.add_events(batch(1)) == [True] * 3
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", StoreFull),
        ("XX001", StoreCorrupted),
        ("57P01", StoreUnavailable),
        ("53300", StoreUnavailable),
        ("40P01", StoreUnavailable),
        ("08006", StoreUnavailable),
        ("42501", StoreError),
    ],
)
def test_what_postgresql_says_is_understood(state: str, kind: type[StoreError]) -> None:
    said = psycopg.errors.lookup(state)("it went wrong\nDETAIL: Key (user_id)=(ann)")
    error = fault(DBAPIError("SELECT", {}, said), "postgresql://host/db")
    assert type(error) is kind
    assert "postgresql://host/db" in str(error) and "ann" not in str(error)
