"""Who did what, settings, and which bundle is live."""

import time
from collections.abc import Callable, Mapping
from types import EllipsisType

from sqlalchemy import Connection, select

from hardrank.errors import DataError
from hardrank.serve.database import CATALOGUE, Database
from hardrank.serve.errors import Conflict
from hardrank.serve.records import AuditRow, checked_id, checked_text, dumped, loaded
from hardrank.serve.tables import audit, settings
from hardrank.serve.writing import replaced

__all__ = ["SCRUB", "SECRET_PREFIX", "Journal"]

SECRET_PREFIX = "hr_"
"""Of API keys as they are shown: ids have none."""
LIVE, PREVIOUS, SALT, SCRUB = "live-bundle", "previous-bundle", "salt", "scrub-due"


class Journal:
    """The audit log, which only grows, and the settings."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self._clock = clock
        self._salt: bytes | None = None

    def note(
        self, who: str, action: str, subject: str = "", detail: Mapping[str, str] | None = None
    ) -> None:
        """Write one line of the audit log. No personal data in clear, no secret."""
        self.database.write(lambda c: self._note(c, who, action, subject, detail))

    def audit_log(
        self, limit: int = 100, before: int | None = None, *, action: str | None = None
    ) -> list[AuditRow]:
        """Newest first, of one action or of all; `before` is the id of the last row of the page
        before."""
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if action is not None:
            query = query.where(audit.c.action == action)
        if before is not None:
            query = query.where(audit.c.id < before)
        rows = self.database.read(lambda c: c.execute(query).all())
        return [AuditRow(r.id, r.time, r.who, r.action, r.subject, loaded(r.detail)) for r in rows]

    def setting(self, name: str) -> str | None:
        query = select(settings.c.value).where(settings.c.name == checked_id(name, "name"))
        return self.database.read(lambda c: c.execute(query).scalar())

    def set_setting(self, name: str, value: str, *, who: str) -> None:
        checked_id(name, "name"), checked_text(value, "value")
        if name in (LIVE, PREVIOUS, SALT, SCRUB):
            raise DataError(f"'{name}' is kept by the store itself", field="name")

        def work(connection: Connection) -> None:
            replaced(connection, settings, {"name": name, "value": value})
            self._note(connection, who, "set", name, {"value": value})

        self.database.write(work, again=True)

    def bundles(self) -> tuple[str | None, str | None]:
        """Digests of the live bundle and of the one that `rollback` brings back."""
        return self.database.read(_bundles)

    def promote(
        self,
        digest: str,
        *,
        who: str,
        expected: str | EllipsisType | None = ...,
        before: str | None = None,
        forced: Mapping[str, str] | None = None,
    ) -> None:
        """`digest` is live from now on. Promoting the live one again changes nothing.

        expected: what must be live when it happens (None for nothing; `...` for whatever is),
        else `Conflict` is raised and nothing changes. before: what was live though the store
        has never heard of it; it counts only where the store knows no live one. forced: detail
        of a line `promote-forced` that the audit log gets in the same transaction.
        """
        checked_id(digest, "digest")
        if before is not None:
            checked_id(before, "before")

        def work(connection: Connection) -> None:
            self.database.line_up(connection, CATALOGUE)
            live, _ = _bundles(connection)
            if live == digest:
                return
            if expected is not ... and live != expected:
                raise Conflict(f"another bundle went live meanwhile: {(live or 'none')[:12]}")
            if forced is not None:
                self._note(connection, who, "promote-forced", digest, forced)
            if live is None and before is not None and before != digest:
                self._note(connection, who, "promote", before, {"before": ""})
                live = before
            _set_bundles(connection, digest, live)
            self._note(connection, who, "promote", digest, {"before": live or ""})

        self.database.write(work, again=True)

    def rollback(self, *, who: str) -> str:
        """Digest of the previous bundle, which is live from now on; the live one becomes the
        previous one. Raises `Conflict` when there is none."""

        def work(connection: Connection) -> str:
            self.database.line_up(connection, CATALOGUE)
            live, previous = _bundles(connection)
            if previous is None:
                raise Conflict("there is no previous bundle to go back to")
            _set_bundles(connection, previous, live)
            self._note(connection, who, "rollback", previous, {"before": live or ""})
            return previous

        return self.database.write(work)

    def _now(self) -> int:
        return max(0, int(self._clock()))

    def _note(
        self,
        connection: Connection,
        who: str,
        action: str,
        subject: str,
        detail: Mapping[str, str] | None = None,
    ) -> None:
        if SECRET_PREFIX in who:
            raise DataError("is the secret of a key", field="who", remedy="give the key's id")
        checked_id(who, "who"), checked_id(action, "action"), checked_text(subject, "subject")
        row = {"time": self._now(), "who": who, "action": action, "subject": subject}
        connection.execute(audit.insert(), {**row, "detail": dumped(dict(detail or {}))})

    def _salted(self, connection: Connection) -> bytes:
        """The 32 random bytes that the migration gave this store."""
        if self._salt is None:
            query = select(settings.c.value).where(settings.c.name == SALT)
            self._salt = bytes.fromhex(connection.execute(query).scalar_one())
        return self._salt


def _bundles(connection: Connection) -> tuple[str | None, str | None]:
    query = select(settings.c.name, settings.c.value).where(settings.c.name.in_([LIVE, PREVIOUS]))
    found = {str(name): str(value) for name, value in connection.execute(query)}
    return found.get(LIVE), found.get(PREVIOUS)


def _set_bundles(connection: Connection, live: str, previous: str | None) -> None:
    replaced(connection, settings, {"name": LIVE, "value": live})
    if previous is not None:
        replaced(connection, settings, {"name": PREVIOUS, "value": previous})
