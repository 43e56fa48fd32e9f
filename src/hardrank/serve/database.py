"""Connections, transactions and faults of SQLite and PostgreSQL behind one door."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, TimeoutError

from hardrank.errors import ConfigError, MissingExtra
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.faults import fault

__all__ = ["CATALOGUE", "LEDGER", "SCHEMA", "Database"]

T = TypeVar("T")

LEDGER, CATALOGUE, SCHEMA = 0x68720001, 0x68720002, 0x68720003
"""Advisory locks of PostgreSQL, one for each kind of write that must take turns."""
CONNECTIONS = 16
STATEMENT_LIMIT, LOCK_LIMIT = 60_000, 10_000
"""Milliseconds until PostgreSQL gives up on one statement, and on waiting for its turn."""
SCRUB_LIMIT = 3_600_000
"""The same for a VACUUM."""

_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)


class Database:
    """Runs functions of a connection, each in one transaction of its own.

    Such a function may run more than once (a fault ends the attempt and the next starts
    anew), so it changes nothing but the database.
    """

    def __init__(self, url: str | Path, *, patience: float = 1.0) -> None:
        """`patience`: seconds for which a call keeps trying a database that is away."""
        self.url = _url(url)
        self.lite = self.url.get_backend_name() == "sqlite"
        self.patience = patience
        self.name = self.url.render_as_string(hide_password=True)
        self.engine = _engine(self.url, patience)
        self._turn = threading.Lock()
        event.listen(self.engine, "connect", _prepare_lite if self.lite else _prepare_postgres)
        if self.lite:
            event.listen(self.engine, "begin", _begin_lite)

    def read(self, work: Callable[[Connection], T], *, patience: float | None = None) -> T:
        """What `work` returns of one consistent look. Raises `StoreError`."""
        return self._run(work, "read", again=True, patience=patience)

    def write(self, work: Callable[[Connection], T], *, again: bool = False) -> T:
        """All that `work` writes, or nothing. Raises `StoreError`.

        `again`: running it twice does no harm, so it is repeated even where the connection
        broke in the commit and nobody knows whether that succeeded.
        """
        return self._run(work, "write", again=again, patience=None)

    def line_up(self, connection: Connection, lock: int) -> None:
        """Wait for those who write the same kind of thing; on SQLite all writers did.

        Commits then come in the order of sequence numbers, so that whoever read up to a
        number has missed none below it; and two bulk writes cannot wait for each other.
        """
        if not self.lite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})

    def take_time(self, connection: Connection) -> None:
        """Lift the limits of this transaction."""
        if not self.lite:
            for limit in ("statement_timeout", "lock_timeout"):
                connection.execute(text(f"SET LOCAL {limit} = 0"))

    def outside(self, *statements: str) -> list[Any]:
        """First row of each statement that no transaction may surround (VACUUM)."""
        with self._turns("write"), self._faults(), self.engine.connect() as plain:
            connection = plain.execution_options(mode="outside")
            if not self.lite:
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql(f"SET statement_timeout = {SCRUB_LIMIT}")
            found = [connection.exec_driver_sql(statement) for statement in statements]
            if not self.lite:
                connection.exec_driver_sql(f"SET statement_timeout = {STATEMENT_LIMIT}")
            return [result.first() if result.returns_rows else None for result in found]

    def close(self) -> None:
        self.engine.dispose()

    def _run(
        self, work: Callable[[Connection], T], mode: str, *, again: bool, patience: float | None
    ) -> T:
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        pause = 0.05
        while True:
            try:
                return self._once(work, mode, again=again)
            except StoreUnavailable as error:
                if not error.again or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause *= 2

    def _once(self, work: Callable[[Connection], T], mode: str, *, again: bool) -> T:
        with self._turns(mode), self._faults(), self.engine.connect() as plain:
            connection = plain.execution_options(mode=mode)
            with connection.begin() as transaction:
                result = work(connection)
                with self._faults(again=again), _or_dropped(connection):
                    transaction.commit()
            return result

    @contextlib.contextmanager
    def _faults(self, *, again: bool = True) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, TimeoutError) as error:
            raise fault(error, self.name, again=again) from error

    @contextlib.contextmanager
    def _turns(self, mode: str) -> Iterator[None]:
        """Threads that write SQLite wait in line: its own waiting is a lottery."""
        if not self.lite or mode == "read":
            yield
            return
        if not self._turn.acquire(timeout=max(self.patience, 5.0)):
            raise StoreUnavailable(f"{self.name}: other writers take too long; try again")
        try:
            yield
        finally:
            self._turn.release()


@contextlib.contextmanager
def _or_dropped(connection: Connection) -> Iterator[None]:
    """A commit that failed may leave its transaction open, and its lock held, for whoever
    gets the connection next: so nobody gets it."""
    try:
        yield
    except BaseException:
        connection.invalidate()
        raise


def _url(given: str | Path) -> URL:
    """Raises `ConfigError`. A plain path is a SQLite file."""
    if isinstance(given, Path) or "://" not in given:
        return URL.create("sqlite", database=str(given))
    try:
        url = make_url(given)
    except ArgumentError as error:
        raise ConfigError("store", ["url: cannot be read; write it as sqlite:///FILE"]) from error
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigError("store", ["url: a store in memory would lose acknowledged events"])
    if backend in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigError("store", [f"url: '{backend}' is not one of sqlite, postgresql"])
    return url


def _engine(url: URL, patience: float) -> Engine:
    lite = url.get_backend_name() == "sqlite"
    arguments: dict[str, Any] = {"timeout": 5.0} if lite else {"connect_timeout": 5}
    try:
        return create_engine(
            url,
            connect_args=arguments,
            hide_parameters=True,  # they are people's data, and errors are logged
            max_overflow=0,
            pool_pre_ping=True,
            pool_size=CONNECTIONS,
            pool_timeout=max(patience, 5.0),
        )
    except NoSuchModuleError as error:
        raise ConfigError("store", [f"url: unknown driver '{url.drivername}'"]) from error
    except ModuleNotFoundError as error:
        raise MissingExtra("psycopg", "serve") from error


def _prepare_lite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # `_begin_lite` says when a transaction begins
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a commit is on the disk before it is acknowledged
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _prepare_postgres(connection: Any, record: object) -> None:
    connection.execute(_DURABLE)
    connection.execute(f"SET statement_timeout = {STATEMENT_LIMIT}")
    connection.execute(f"SET lock_timeout = {LOCK_LIMIT}")
    connection.commit()


def _begin_lite(connection: Connection) -> None:
    """Who will write takes the lock at once: one who reads first may be refused later."""
    mode = connection.get_execution_options().get("mode")
    if mode != "outside":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if mode == "write" else "BEGIN")
