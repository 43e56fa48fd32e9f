"""Events that wait for a person: what there is, and what that person decided."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from hardrank.errors import DataError
from hardrank.serve.database import LEDGER
from hardrank.serve.ledger import Ledger
from hardrank.serve.records import Decision, EventRow, HeldGroup, checked_id
from hardrank.serve.tables import events, held
from hardrank.serve.writing import chunks, fresh

__all__ = ["IMPOSSIBLE", "Holding"]

IMPOSSIBLE = 1.0
"""Score of an event that cannot have happened: an unknown item, a wrong clock."""
_TOGETHER = 10_000
_EVENT = ("event_id", "user_id", "item_id", "time", "kind", "weight", "received")


class Holding(Ledger):
    """A flood is hundreds of events, so a person decides on all of an item or of a user."""

    def held_groups(self, by: str = "item", limit: int = 100) -> list[HeldGroup]:
        """What waits, together by `item` or by `user`, most events first."""
        name = _column(by)
        query = (
            select(
                name, func.count().label("events"), func.count(held.c.user_id.distinct()),
                func.count(held.c.item_id.distinct()), func.min(held.c.time),
                func.max(held.c.time), func.max(held.c.score), func.max(held.c.id),
            )
            .where(_waits()).group_by(name)
            .order_by(func.count().desc(), name).limit(limit)
        )  # fmt: skip

        def work(connection: Connection) -> list[HeldGroup]:
            rows: list[Any] = list(connection.execute(query))
            why = _reasons(connection, [row[-1] for row in rows])
            return [
                HeldGroup(name, n, users, items, first, last, score, why[until], until)
                for name, n, users, items, first, last, score, until in rows
            ]

        return self.database.read(work)

    def held_count(self) -> int:
        """Events that wait."""
        query = select(func.count()).select_from(held).where(_waits())
        return int(self.database.read(lambda c: c.execute(query).scalar_one()))

    def decide_held(
        self, action: Decision, who: str, *, by: str, name: str, until: int | None = None
    ) -> list[EventRow]:
        """Admit or reject what waits of the `item` or `user` of that name, up to number
        `until`; the events decided on, 10,000 at most: call again for more.

        Admitted events are kept as if they came now, and rejected ones never; sent again,
        both are known. Raises `DataError`, `StoreError`.
        """
        if action not in ("admit", "reject"):
            raise DataError("must be 'admit' or 'reject'", field="action")
        mine = [_waits(), _column(by) == checked_id(name, f"{by}_id")]
        if until is not None:
            mine.append(held.c.id <= until)

        def work(connection: Connection) -> list[EventRow]:
            self.database.line_up(connection, LEDGER)
            query = select(held).where(*mine).order_by(held.c.id).limit(_TOGETHER)
            rows = [row._asdict() for row in connection.execute(query)]
            if not rows:
                return []
            self._settle_held(connection, rows, action, who)
            # No personal data in the audit log: a user appears as a salted hash.
            subject = name if by == "item" else self._tombstone(connection, name)
            self._note(connection, who, f"{action}-events", subject, {"events": str(len(rows))})
            return [EventRow(0, **{n: row[n] for n in _EVENT}) for row in rows]

        return self.database.write(work)

    def recent_events(self, since: int, limit: int) -> list[EventRow]:
        """Events, held ones too, that came at unix second `since` or later, as they came;
        the latest `limit`. Without those that cannot have happened."""
        kept = select(events).order_by(events.c.sequence.desc()).limit(limit)
        waits = select(held.c.id, *[held.c[n] for n in _EVENT]).where(held.c.score < IMPOSSIBLE)
        asked = (kept, waits.order_by(held.c.id.desc()).limit(limit))
        # `since` is not asked of the database: no index has `received`, these numbers have one.
        both = self.database.read(lambda c: [[EventRow(*r) for r in c.execute(q)] for q in asked])
        rows = [row for newest in both for row in reversed(newest) if row.received >= since]
        return sorted(rows, key=lambda row: row.received)[-limit:]

    def _settle_held(
        self, connection: Connection, rows: list[dict[str, Any]], action: Decision, who: str
    ) -> None:
        done = {"decision": action, "decider": who, "decided": self._now()}
        for some in chunks(rows):
            ids = held.c.id.in_([row["id"] for row in some])
            if action == "reject":
                connection.execute(update(held).where(ids).values(done))
                continue
            fresh(connection, events, "event_id", [{n: row[n] for n in _EVENT} for row in some])
            connection.execute(delete(held).where(ids))


def _waits() -> ColumnElement[bool]:
    return held.c.decision.is_(None)


def _column(by: str) -> Any:
    if by not in ("item", "user"):
        raise DataError("must be 'item' or 'user'", field="by")
    return held.c.item_id if by == "item" else held.c.user_id


def _reasons(connection: Connection, ids: list[int]) -> dict[int, str]:
    query = select(held.c.id, held.c.reason).where(held.c.id.in_(ids))
    return {int(id): str(reason) for id, reason in connection.execute(query)}
