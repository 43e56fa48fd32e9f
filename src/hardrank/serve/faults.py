"""From what a database driver raises to what the service says."""

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError

from hardrank.serve.errors import StoreCorrupted, StoreError, StoreFull, StoreUnavailable

__all__ = ["fault"]

_NO_ROOM = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,  # a file-size limit or a quota
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR)
_AWAY = ("08", "40", "53", "57", "55P03", "25006")
"""SQLSTATE: connection, deadlock, resources, operator, lock, a standby (Appendix A of the
manual of PostgreSQL)."""


def fault(error: DBAPIError | TimeoutError, name: str, *, again: bool = True) -> StoreError:
    """The error to raise; messages carry no parameter of a statement.

    `again`: whether the same transaction may be tried again if the database was away.
    """
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"{name}: all connections are in use; try again", again=again)
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _lite(cause, name, again=again)
    state = getattr(cause, "sqlstate", None) or ""
    return _postgres(error, state, name, again=again)


def _lite(cause: sqlite3.Error, name: str, *, again: bool) -> StoreError:
    code = getattr(cause, "sqlite_errorcode", 0)
    if code in _NO_ROOM:
        return StoreFull(f"{name}: the disk takes no more; nothing of this was kept; free space")
    if code & 0xFF in _DAMAGED:
        return StoreCorrupted(f"{name}: not a database or damaged; restore a backup")
    if code & 0xFF in _BUSY:
        return StoreUnavailable(f"{name}: busy ({cause}); try again", again=again)
    if code & 0xFF == sqlite3.SQLITE_CANTOPEN:
        return StoreError(f"{name}: cannot be opened; does its folder exist, may we write there?")
    return StoreError(f"{name}: {_first_line(cause)}")


def _postgres(error: DBAPIError, state: str, name: str, *, again: bool) -> StoreError:
    if state == "53100":
        return StoreFull(f"{name}: the disk takes no more; nothing of this was kept; free space")
    if state.startswith("XX"):
        return StoreCorrupted(f"{name}: damaged ({state}); restore a backup")
    lost = isinstance(error, OperationalError | InterfaceError) and not state
    if error.connection_invalidated or lost or state.startswith(_AWAY):
        said = f"SQLSTATE {state}" if state else _first_line(error.orig)
        return StoreUnavailable(f"{name}: does not answer ({said}); try again", again=again)
    return StoreError(f"{name}: {_first_line(error.orig)}")


def _first_line(cause: BaseException | None) -> str:
    return str(cause).partition("\n")[0]
