"""The store of the service: all that must outlive the process, in one database.

SQLite needs nothing set up; PostgreSQL serves several processes. Every method is one
transaction (or says otherwise): what it wrote is on the disk when it returns, and nothing of
it stands when it raises. Threads may share a store; processes open one each, after a fork.
"""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from hardrank.errors import MissingExtra

try:
    from sqlalchemy import Connection, func, select, text
except ModuleNotFoundError as missing:
    raise MissingExtra("sqlalchemy", "serve") from missing

from hardrank.serve.database import Database
from hardrank.serve.holding import Holding
from hardrank.serve.keys import Keys
from hardrank.serve.records import Counts
from hardrank.serve.review import Review
from hardrank.serve.reviewing import Reviewing
from hardrank.serve.schema import bring_up
from hardrank.serve.tables import events, items, quarantine, reviews, tombstones

__all__ = ["Store"]


class Store(Holding, Reviewing, Review, Keys):
    """Events, reviews, items, quarantine, keys, settings and audit log of one service.

    Raises everywhere: `StoreUnavailable` when the database is away (after `patience`
    seconds of trying; the next call connects anew by itself), `StoreFull`,
    `StoreCorrupted`, and `DataError` for texts that cannot be stored.
    """

    @classmethod
    def open(
        cls,
        url: str | Path,
        migrate: bool = True,
        *,
        patience: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """`sqlite:///FILE`, a path of a SQLite file, or `postgresql://USER@HOST/NAME`.

        An older schema is upgraded, or with `migrate` off refused (`StoreError`); a newer one
        is always refused (`StoreTooNew`), and nothing is changed. Raises `ConfigError` for a
        URL that is none.
        """
        database = Database(url, patience=patience)
        try:
            bring_up(database, migrate=migrate)
        except BaseException:
            database.close()
            raise
        return cls(database, clock)

    def ping(self) -> None:
        """One quick question. Raises `StoreError` when the database does not answer."""
        self.database.read(lambda c: c.execute(text("SELECT 1")).scalar(), patience=0.0)

    def counts(self) -> Counts:
        """How much there is; reads whole tables, so not for every request."""
        return self.database.read(_counts)

    def close(self) -> None:
        """Let go of all connections. A later call opens new ones."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _counts(connection: Connection) -> Counts:
    open_case = quarantine.c.decision.is_(None)
    queries = (
        select(func.count()).select_from(events),
        select(func.count(events.c.user_id.distinct())),
        select(func.count()).select_from(reviews),
        select(func.count()).select_from(items).where(items.c.state == "live"),
        select(func.count()).select_from(quarantine).where(open_case),
        select(func.count()).select_from(tombstones),
    )
    return Counts(*[int(connection.execute(query).scalar_one()) for query in queries])
