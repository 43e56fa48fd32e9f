"""Statements that both databases know and SQLAlchemy spells for each by itself."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["chunks", "fresh", "insert", "known", "replaced"]

T = TypeVar("T")

CHUNK = 500
"""Ids in one question: old SQLite takes 999 parameters."""


def insert(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that knows ON CONFLICT."""
    lite = connection.dialect.name == "sqlite"
    return sqlite.insert(table) if lite else postgresql.insert(table)


def fresh(connection: Connection, table: Table, key: str, rows: list[dict[str, Any]]) -> set[str]:
    """Insert the rows whose `key` is new; the keys that were."""
    statement = insert(connection, table).on_conflict_do_nothing(index_elements=[key])
    return set(connection.execute(statement.returning(table.c[key]), rows).scalars())


def known(
    connection: Connection, tables: Iterable[Table], key: str, values: Iterable[str]
) -> set[str]:
    """Those of the values that stand in the column `key` of one of the tables."""
    found, asked = set[str](), sorted(values)
    for table in tables:
        for some in chunks(asked):
            query = select(table.c[key]).where(table.c[key].in_(some))
            found |= set(connection.execute(query).scalars())
    return found


def replaced(connection: Connection, table: Table, *rows: dict[str, Any]) -> None:
    """Insert rows, or write them over those with the same primary key."""
    statement = insert(connection, table)
    keys = [column.name for column in table.primary_key]
    others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=others), list(rows)
    )


def chunks(values: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
