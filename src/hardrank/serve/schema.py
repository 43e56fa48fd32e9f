"""Which schema a database has, and how it comes to have ours."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from hardrank.serve.database import SCHEMA, Database
from hardrank.serve.errors import StoreError, StoreTooNew

__all__ = ["TABLE", "bring_up", "settled"]

TABLE = "hardrank_schema"
"""Where a database says which migration it has seen."""


def bring_up(database: Database, *, migrate: bool) -> None:
    """Make the schema ours, in one transaction. Raises `StoreTooNew`, `StoreError`."""

    def work(connection: Connection) -> None:
        database.take_time(connection)
        database.line_up(connection, SCHEMA)
        if _missing(connection, database.name):
            if not migrate:
                raise StoreError(
                    f"{database.name}: its schema is older than this Hardrank needs; back it up "
                    "and open it with migrations on"
                )
            command.upgrade(settled(connection), "head")

    if database.read(lambda c: _missing(c, database.name)):
        database.write(work, again=True)


def settled(connection: Connection) -> Config:
    """Alembic's settings, in code: migrations travel inside the package."""
    config = Config()
    config.set_main_option("script_location", "hardrank.serve:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _missing(connection: Connection, name: str) -> bool:
    """Whether migrations are to be run. Raises `StoreTooNew`."""
    scripts = ScriptDirectory.from_config(settled(connection))
    context = MigrationContext.configure(connection, opts={"version_table": TABLE})
    stands = set(context.get_current_heads())
    unknown = stands - {script.revision for script in scripts.walk_revisions()}
    if unknown:
        raise StoreTooNew(
            f"{name}: its schema '{', '.join(sorted(unknown))}' is newer than this Hardrank; "
            "install the Hardrank that wrote it"
        )
    return stands != set(scripts.get_heads())
