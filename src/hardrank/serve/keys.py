"""API keys: 256 random bits, shown once, kept as a digest; and what each used today.

A key reads `hr_ID_SECRET`. The id finds the row, and the secret's SHA-256 is compared with
the kept one in constant time; 256 random bits need no slow hash and no salt.
"""

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime

from sqlalchemy import Connection, select, update

from hardrank.errors import DataError
from hardrank.serve.errors import NotFound
from hardrank.serve.journal import SECRET_PREFIX, Journal
from hardrank.serve.records import ROLES, KeyRow, Role, checked_id, checked_time
from hardrank.serve.tables import keys, usage
from hardrank.serve.writing import insert

__all__ = ["Keys"]

_SHAPE = re.compile(rf"{SECRET_PREFIX}([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})", re.ASCII)
_NOBODY = "0" * 64


class Keys(Journal):
    """Who may call, and how often."""

    def add_key(
        self, name: str, role: Role, quota: int | None = None, *, who: str = "system"
    ) -> str:
        """A new key; this is the only time anybody sees its secret.

        `quota`: units a day, from 1; None for no limit. Raises `DataError`.
        """
        if role not in ROLES:
            raise DataError(f"must be one of {', '.join(ROLES)}", field="role")
        if quota is not None and checked_time(quota, "quota") < 1:
            raise DataError("must be at least 1, or None for no limit", field="quota")
        id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        row = {"id": id, "name": checked_id(name, "name"), "role": role, "quota": quota}

        def work(connection: Connection) -> None:
            more = {"digest": _digest(secret), "created": self._now(), "revoked": None}
            connection.execute(keys.insert(), {**row, **more})
            self._note(connection, who, "add-key", id, {"role": role})

        self.database.write(work)
        return f"{SECRET_PREFIX}{id}_{secret}"

    def key_of(self, secret: str) -> KeyRow | None:
        """The key, or None for one that is unknown, malformed or revoked.

        A wrong secret takes as long as a right one, known id or not.
        """
        parts = _SHAPE.fullmatch(secret)
        if parts is None:
            return None
        query = select(keys).where(keys.c.id == parts[1])
        row = self.database.read(lambda c: c.execute(query).first())
        right = hmac.compare_digest(_digest(parts[2]), _NOBODY if row is None else row.digest)
        if row is None or not right or row.revoked is not None:
            return None
        return KeyRow(row.id, row.name, row.role, row.quota, row.created, row.revoked)

    def all_keys(self) -> list[KeyRow]:
        """All keys, also revoked ones, oldest first."""
        shown = (keys.c.id, keys.c.name, keys.c.role, keys.c.quota, keys.c.created, keys.c.revoked)
        query = select(*shown).order_by(keys.c.created, keys.c.id)
        return [KeyRow(*row) for row in self.database.read(lambda c: c.execute(query).all())]

    def revoke_key(self, id: str, *, who: str) -> None:
        """Close a key; its id stays for the audit log. Raises `NotFound`."""
        open_one = (keys.c.id == checked_id(id, "id")) & keys.c.revoked.is_(None)

        def work(connection: Connection) -> None:
            change = update(keys).where(open_one).values(revoked=self._now())
            if connection.execute(change).rowcount == 0:
                raise NotFound(f"there is no open key '{id}'")
            self._note(connection, who, "revoke-key", id)

        self.database.write(work)

    def spend(self, id: str, units: int = 1, *, day: str | None = None) -> bool:
        """Count units against a key's quota of the day (UTC, `2026-11-21`; None for today).

        False, and nothing is counted, where they do not fit. Threads and processes that
        spend at once cannot overdraw. Raises `NotFound`.
        """
        if checked_time(units, "units") < 1:
            raise DataError("must be at least 1", field="units")
        date = self.today() if day is None else checked_id(day, "day")

        def work(connection: Connection) -> bool:
            quotas = connection.execute(select(keys.c.quota).where(keys.c.id == id)).all()
            if not quotas:
                raise NotFound(f"there is no key '{id}'")
            return _counted(connection, id, date, units, quotas[0].quota)

        return self.database.write(work)

    def used(self, day: str | None = None) -> dict[str, int]:
        """Units that each key spent on a day (None for today)."""
        query = select(usage.c.key_id, usage.c.used).where(usage.c.day == (day or self.today()))
        rows = self.database.read(lambda c: c.execute(query).all())
        return {str(id): int(count) for id, count in rows}

    def today(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).date().isoformat()


def _counted(connection: Connection, id: str, day: str, units: int, quota: int | None) -> bool:
    if quota is not None and units > quota:
        return False
    total = usage.c.used + units
    statement = (
        insert(connection, usage)
        .values(key_id=id, day=day, used=units)
        .on_conflict_do_update(
            index_elements=["key_id", "day"],
            set_={"used": total},
            where=None if quota is None else total <= quota,
        )
        .returning(usage.c.used)
    )
    return connection.execute(statement).first() is not None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
