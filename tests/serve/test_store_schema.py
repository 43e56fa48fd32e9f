"""Migrations: from nothing and from an older schema, forward only, never half."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from hardrank.errors import ConfigError, MissingExtra
from hardrank.guards.base import admit
from hardrank.serve.database import Database
from hardrank.serve.errors import StoreError, StoreTooNew
from hardrank.serve.records import EventIn
from hardrank.serve.schema import TABLE, settled
from hardrank.serve.store import Store
from hardrank.serve.tables import metadata


def tables(url: str) -> set[str]:
    database = Database(url)
    found = database.read(lambda c: set(inspect(c).get_table_names()))
    database.close()
    return found


def run(url: str, *statements: str) -> None:
    database = Database(url)

    def work(connection: Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    database.write(work)
    database.close()


def older(url: str) -> None:
    """A store as the first migration left it, with rows in it."""
    database = Database(url)
    database.write(lambda c: command.upgrade(settled(c), "0001"))
    database.close()
    run(
        url,
        "INSERT INTO events (event_id, user_id, item_id, time, kind, weight, received) "
        "VALUES ('e', 'u', 'i', 1, 'view', 1.0, 2)",
        "INSERT INTO items VALUES ('i', 'live', 1, 2, 2, 5, 6)",
        """INSERT INTO versions VALUES ('i', 1, '{"t": "a"}', '{"t": "a"}', 'admit', 'g', 0, '', 5),
           ('i', 2, '{"t": "b"}', '{"t": "b"}', 'quarantine', 'g', 0.5, 'r', 6)""",
        "INSERT INTO quarantine (item_id, version, before) VALUES ('i', 2, 1)",
    )


def test_there_are_several_steps_in_one_line() -> None:
    scripts = ScriptDirectory.from_config(settled(None))  # type: ignore[arg-type]
    assert [int(s.revision) for s in scripts.walk_revisions()] == [5, 4, 3, 2, 1]
    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1


def test_migrations_make_the_tables_that_the_code_means(empty_url: str) -> None:
    Store.open(empty_url).close()
    database = Database(empty_url)
    options = {"version_table": TABLE, "compare_type": True, "compare_server_default": True}
    differences = database.read(
        lambda c: compare_metadata(MigrationContext.configure(c, opts=options), metadata)
    )
    database.close()
    assert differences == []


def test_opening_again_changes_nothing(empty_url: str) -> None:
    with Store.open(empty_url) as store:
        store.add_events([EventIn("e", "u", "i", 1)])
        store.erase_user("gone")
    with Store.open(empty_url, migrate=False) as store:
        assert store.history("u") == [("i", 1)] and store.erased(["gone", "u"]) == {"gone"}


def test_an_older_store_keeps_its_rows(empty_url: str) -> None:
    older(empty_url)
    assert "tombstones" not in tables(empty_url)
    with Store.open(empty_url) as store:
        assert store.history("u") == [("i", 1)]
        assert store.last_change() == 0 and store.items_since() == []
        [case] = store.quarantine()
        assert (case.before, case.after, case.spans) == ({"t": "a"}, {"t": "b"}, ())
        assert store.decide(case.id, "admit", "ann") == "live"
        assert store.put_item("i", {"t": "c"}, admit("g")) == "live"
        assert [row.change for row in store.items_since()] == [2]
        assert store.erase_user("u").events == 1


def test_an_older_store_is_left_alone_if_asked(empty_url: str) -> None:
    older(empty_url)
    before = tables(empty_url)
    with pytest.raises(StoreError, match="schema is older"):
        Store.open(empty_url, migrate=False)
    assert tables(empty_url) == before


def test_an_empty_database_is_left_alone_if_asked(empty_url: str) -> None:
    with pytest.raises(StoreError, match="schema is older"):
        Store.open(empty_url, migrate=False)
    assert tables(empty_url) == set()


@pytest.mark.parametrize("migrate", [True, False])
def test_a_newer_store_is_refused(store_url: str, migrate: bool) -> None:
    run(store_url, f"UPDATE {TABLE} SET version_num = '9999'")
    try:
        with pytest.raises(StoreTooNew, match="'9999' is newer than this Hardrank; install"):
            Store.open(store_url, migrate=migrate)
    finally:
        run(store_url, f"UPDATE {TABLE} SET version_num = '0005'")
    Store.open(store_url).close()


@pytest.mark.parametrize("target", ["0001", "base"])
def test_going_back_is_refused(store: Store, target: str) -> None:
    store.add_events([EventIn("e", "u", "i", 1)])
    with pytest.raises(StoreError, match="forward only"):
        store.database.write(lambda c: command.downgrade(settled(c), target))
    assert store.history("u") == [("i", 1)] and store.counts().erased == 0


def test_a_step_that_fails_leaves_nothing(empty_url: str) -> None:
    """A table in the way of the second step undoes the first as well."""
    run(empty_url, "CREATE TABLE tombstones (mine INTEGER)")
    with pytest.raises(StoreError, match="tombstones"):
        Store.open(empty_url)
    assert tables(empty_url) == {"tombstones"}


def test_four_that_open_at_once_migrate_once(empty_url: str) -> None:
    def opened(_: int) -> bool:
        with Store.open(empty_url, patience=10.0) as store:
            return store.setting("salt") is not None

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, range(4))) == [True] * 4


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("mysql://root@host/db", "'mysql' is not one of sqlite, postgresql"),
        ("://", "cannot be read"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Store.open(url)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"psycopg is not installed.*hardrank\[serve\]"):
        Store.open("postgresql://nobody@localhost/none")


def test_a_path_is_a_sqlite_file(tmp_path: Path) -> None:
    for given in (tmp_path / "a.db", str(tmp_path / "a.db"), f"sqlite:///{tmp_path}/a.db"):
        with Store.open(given) as store:
            store.add_events([EventIn("e", "u", "i", 1)])
            assert store.counts().events == 1


def test_a_sqlite_file_is_durable_and_safe_by_default(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.db") as store, store.database.engine.connect() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
        waits = connection.execute(text("PRAGMA busy_timeout")).scalar()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    assert waits == 5000


def test_a_lax_postgresql_is_made_durable(migrated: str) -> None:
    lax = migrated + "&options=-c%20synchronous_commit%3Doff"
    with Store.open(lax) as store, store.database.engine.connect() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
