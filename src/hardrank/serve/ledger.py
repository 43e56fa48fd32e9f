"""Events: each kept once, whoever sends it how often."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, func, select

from hardrank.serve.database import LEDGER
from hardrank.serve.erasure import Erasure
from hardrank.serve.records import (
    EventIn,
    EventRow,
    Taken,
    checked_id,
    checked_number,
    checked_text,
    checked_time,
)
from hardrank.serve.tables import events, held
from hardrank.serve.writing import fresh, known

if TYPE_CHECKING:
    from hardrank.guards.base import Verdict

__all__ = ["Ledger", "Row", "parted"]

Row = dict[str, Any]
_EVENTS = ((events, held), "event_id")


class Ledger(Erasure):
    """What users did."""

    def add_events(self, added: Sequence[EventIn]) -> list[bool]:
        """Keep events; all on the disk when this returns, or none when it raises.

        True where the event was kept now; False where its id was known (the first one stands,
        also within a call) or its user was erased (see `erased`). Either way it may be
        acknowledged: sending it again changes nothing. Raises `DataError`, `StoreError`.
        """
        return [taken == "kept" for taken in self.take_events(added, [None] * len(added))]

    def take_events(
        self, added: Sequence[EventIn], verdicts: Sequence["Verdict | None"]
    ) -> list[Taken]:
        """As `add_events`; those that a verdict quarantines are held until a person decides:
        no history, count or `events_since` has them before. None admits."""
        rows = [_event(event, self._now()) for event in added]
        apart = parted(rows, verdicts)
        if not rows:
            return []
        return self.database.write(lambda c: self._take(c, rows, apart, *_EVENTS), again=True)

    def known_events(self, asked: Sequence[EventIn]) -> list[bool]:
        """Whether `take_events` would change nothing: kept or held already, or of an erased
        user."""
        users = {checked_id(event.user_id, "user_id") for event in asked}

        def work(connection: Connection) -> list[bool]:
            gone = self._erased(connection, users)
            there = known(connection, *_EVENTS, {event.event_id for event in asked})
            return [e.user_id in gone or e.event_id in there for e in asked]

        return self.database.read(work)

    def history(self, user_id: str, limit: int | None = None) -> list[tuple[str, int]]:
        """(item_id, time) of the user's events, oldest first; the latest `limit` of them."""
        newest = (
            select(events.c.item_id, events.c.time)
            .where(events.c.user_id == checked_id(user_id, "user_id"))
            .order_by(events.c.time.desc(), events.c.sequence.desc())
            .limit(limit)
        )
        rows = self.database.read(lambda c: c.execute(newest).all())
        return [(str(item), int(time)) for item, time in reversed(rows)]

    def events_since(self, sequence: int = 0, limit: int = 10_000) -> list[EventRow]:
        """Events above `sequence`, in order. Nothing appears later below a number once seen."""
        query = (
            select(events)
            .where(events.c.sequence > sequence)
            .order_by(events.c.sequence)
            .limit(limit)
        )
        rows = self.database.read(lambda c: c.execute(query).all())
        return [EventRow(*row) for row in rows]

    def last_event(self) -> int:
        """The largest sequence of an event; 0 where there is none."""
        query = select(func.max(events.c.sequence))
        return int(self.database.read(lambda c: c.execute(query).scalar()) or 0)

    def events_per_item(self) -> dict[str, int]:
        """Number of events of each item that has any."""
        query = select(events.c.item_id, func.count()).group_by(events.c.item_id)
        return {
            str(item): int(count)
            for item, count in self.database.read(lambda c: c.execute(query).all())
        }

    def events_of(self, item_id: str, most: int = 1_000) -> int:
        """Events of an item, counted up to `most`."""
        mine = events.c.item_id == checked_id(item_id, "item_id")
        some = select(events.c.sequence).where(mine).limit(most).subquery()
        query = select(func.count()).select_from(some)
        return int(self.database.read(lambda c: c.execute(query).scalar_one()))

    def _take(
        self, connection: Connection, rows: list[Row], apart: set[int],
        tables: tuple[Table, Table], key: str,
    ) -> list[Taken]:  # fmt: skip
        """apart: places of those that are held; tables: for those kept, and for those held."""
        stand, wait = tables
        self.database.line_up(connection, LEDGER)
        gone = self._erased(connection, {str(row["user_id"]) for row in rows})
        first: dict[str, int] = {}
        for n, row in enumerate(rows):
            if row["user_id"] not in gone:
                first.setdefault(str(row[key]), n)
        for there in known(connection, (wait,), key, first):
            del first[there]
        suspect = [i for i, n in first.items() if n in apart]
        for there in known(connection, (stand,), key, suspect):
            del first[there]
        keep = [rows[n] for n in first.values() if n not in apart]
        hold = [rows[n] for n in first.values() if n in apart]
        kept = fresh(connection, stand, key, keep) if keep else set()
        waiting = fresh(connection, wait, key, hold) if hold else set()
        out: list[Taken] = ["known"] * len(rows)
        for name, n in first.items():
            if name in kept or name in waiting:
                out[n] = "held" if n in apart else "kept"
        return out


def parted(rows: list[Row], verdicts: Sequence["Verdict | None"]) -> set[int]:
    """Places of the rows that are to be held; they get `score` and `reason`."""
    apart = {n: v for n, v in enumerate(verdicts) if v is not None and v.action != "admit"}
    for n, verdict in apart.items():
        rows[n] |= {
            "score": checked_number(float(verdict.score), "score"),
            "reason": checked_text(verdict.reason, "reason"),
        }
    return set(apart)


def _event(event: EventIn, now: int) -> Row:
    return {
        "event_id": checked_id(event.event_id, "event_id"),
        "user_id": checked_id(event.user_id, "user_id"),
        "item_id": checked_id(event.item_id, "item_id"),
        "time": checked_time(event.time, "time"),
        "kind": checked_id(event.kind, "kind"),
        "weight": checked_number(event.weight, "weight"),
        "received": now,
    }
