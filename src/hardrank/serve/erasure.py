"""What is kept of a user beside events, and how all of it goes.

Erasure takes every row of the user and leaves a tombstone: HMAC-SHA256 of the user id under
the random salt of this store. It refuses what a client or a queue sends again later.
Whoever holds the database can test whether a user id that they know was erased; they cannot
list the ids.
"""

import hashlib
import hmac
from collections.abc import Iterable

from sqlalchemy import Connection, delete, func, select

from hardrank.serve.database import LEDGER
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.journal import SCRUB, Journal
from hardrank.serve.records import Erased, checked_id
from hardrank.serve.tables import cached, events, held, held_reviews, reviews, settings, tombstones
from hardrank.serve.writing import chunks, insert, replaced

__all__ = ["Erasure"]


class Erasure(Journal):
    """Cached rows of users, and the right to be forgotten."""

    def remember(self, user_id: str, name: str, value: bytes) -> bool:
        """Keep something computed of a user (such as a vector); it goes with the user.

        False where the user was erased, and nothing is kept.
        """
        row = {"user_id": checked_id(user_id, "user_id"), "name": checked_id(name, "name")}

        def work(connection: Connection) -> bool:
            self.database.line_up(connection, LEDGER)
            if self._erased(connection, [user_id]):
                return False
            replaced(connection, cached, {**row, "value": value, "updated": self._now()})
            return True

        return self.database.write(work, again=True)

    def recall(self, user_id: str, name: str) -> bytes | None:
        """What `remember` kept."""
        mine = cached.c.user_id == checked_id(user_id, "user_id")
        query = select(cached.c.value).where(mine, cached.c.name == checked_id(name, "name"))
        value = self.database.read(lambda c: c.execute(query).scalar())
        return None if value is None else bytes(value)

    def erased(self, user_ids: Iterable[str]) -> set[str]:
        """Those of the users who were erased."""
        asked = sorted({checked_id(user, "user_id") for user in user_ids})
        return self.database.read(lambda c: self._erased(c, asked))

    def erasures(self) -> int:
        """How many users were erased."""
        query = select(func.count()).select_from(tombstones)
        return int(self.database.read(lambda c: c.execute(query).scalar_one()))

    def erase_user(self, user_id: str, *, who: str = "system") -> Erased:
        """Delete all rows of a user, refuse new ones, and scrub the file (see `scrub`).

        When it returns, the rows are gone for good. Raises `StoreUnavailable` where the rows
        are deleted and only the scrubbing could not be done: call it, or `scrub`, again.
        """
        checked_id(user_id, "user_id")

        def work(connection: Connection) -> Erased:
            self.database.line_up(connection, LEDGER)
            found = [
                connection.execute(delete(table).where(table.c.user_id == user_id)).rowcount
                for table in (events, reviews, cached, held, held_reviews)
            ]
            found[1] += found.pop()  # reviews that waited are reviews, and so with events
            found[0] += found.pop()
            self._bury(connection, user_id, who, sum(found))
            return Erased(*found)

        counts = self.database.write(work, again=True)
        self.scrub()
        return counts

    def scrub(self) -> None:
        """Overwrite what deleted rows left in the database files.

        SQLite: the file is written anew and the write-ahead log emptied; takes time and free
        disk in proportion to the file. PostgreSQL: VACUUM; its pages, its log and backups
        keep deleted bytes until they are written over. Raises `StoreUnavailable`.
        """
        if self.database.lite:
            *_, row = self.database.outside("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
            if row[0]:
                raise StoreUnavailable(
                    f"{self.database.name}: readers are in the way of scrubbing; call scrub again"
                )
        else:
            self.database.outside("VACUUM events, reviews, cached, held, held_reviews")
        done = delete(settings).where(settings.c.name == SCRUB)
        self.database.write(lambda c: c.execute(done), again=True)

    def scrub_due(self) -> bool:
        """Whether an erasure ended before its scrubbing."""
        return self.setting(SCRUB) is not None

    def _bury(self, connection: Connection, user_id: str, who: str, rows: int) -> None:
        stone = self._tombstone(connection, user_id)
        row = {"digest": stone, "erased": self._now()}
        statement = insert(connection, tombstones).on_conflict_do_nothing()
        connection.execute(statement, row)
        replaced(connection, settings, {"name": SCRUB, "value": "1"})
        self._note(connection, who, "erase-user", stone, {"rows": str(rows)})

    def _tombstone(self, connection: Connection, user_id: str) -> str:
        return hmac.new(self._salted(connection), user_id.encode(), hashlib.sha256).hexdigest()

    def _erased(self, connection: Connection, user_ids: Iterable[str]) -> set[str]:
        stones = {self._tombstone(connection, user): user for user in user_ids}
        found = set[str]()
        for some in chunks(list(stones)):
            query = select(tombstones.c.digest).where(tombstones.c.digest.in_(some))
            found |= {stones[digest] for digest in connection.execute(query).scalars()}
        return found
