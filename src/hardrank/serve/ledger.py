"""Events and reviews: each kept once, whoever sends it how often."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from hardrank.serve.database import LEDGER
from hardrank.serve.erasure import Erasure
from hardrank.serve.records import (
    EventIn,
    EventRow,
    ReviewIn,
    checked_id,
    checked_number,
    checked_text,
    checked_time,
)
from hardrank.serve.tables import events, reviews
from hardrank.serve.writing import fresh

__all__ = ["Ledger"]


class Ledger(Erasure):
    """What users did and wrote."""

    def add_events(self, added: Sequence[EventIn]) -> list[bool]:
        """Keep events; all on the disk when this returns, or none when it raises.

        True where the event was kept now; False where its id was known (the first one stands,
        also within a call) or its user was erased (see `erased`). Either way it may be
        acknowledged: sending it again changes nothing. Raises `DataError`, `StoreError`.
        """
        return self._add([_event(event, self._now()) for event in added], "event_id")

    def add_reviews(self, added: Sequence[ReviewIn]) -> list[bool]:
        """As `add_events`, for reviews."""
        return self._add([_review(review, self._now()) for review in added], "review_id")

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

    def reviews_of(self, item_id: str, limit: int = 1000) -> list[ReviewIn]:
        """Reviews of an item, newest first."""
        query = (
            select(reviews)
            .where(reviews.c.item_id == checked_id(item_id, "item_id"))
            .order_by(reviews.c.sequence.desc())
            .limit(limit)
        )
        rows = self.database.read(lambda c: c.execute(query).all())
        return [ReviewIn(r.review_id, r.user_id, r.item_id, r.text, r.time, r.rating) for r in rows]

    def events_per_item(self) -> dict[str, int]:
        """Number of events of each item that has any."""
        query = select(events.c.item_id, func.count()).group_by(events.c.item_id)
        return {
            str(item): int(count)
            for item, count in self.database.read(lambda c: c.execute(query).all())
        }

    def _add(self, rows: list[dict[str, str | int | float | None]], key: str) -> list[bool]:
        if not rows:
            return []
        table = events if key == "event_id" else reviews

        def work(connection: Connection) -> list[bool]:
            self.database.line_up(connection, LEDGER)
            gone = self._erased(connection, {str(row["user_id"]) for row in rows})
            kept = [row for row in rows if row["user_id"] not in gone]
            new = fresh(connection, table, key, kept) if kept else set()
            return [_taken(new, str(row[key])) for row in rows]

        return self.database.write(work, again=True)


def _taken(new: set[str], key: str) -> bool:
    """Whether `key` is in the set; it is counted once."""
    found = key in new
    new.discard(key)
    return found


def _event(event: EventIn, now: int) -> dict[str, str | int | float | None]:
    return {
        "event_id": checked_id(event.event_id, "event_id"),
        "user_id": checked_id(event.user_id, "user_id"),
        "item_id": checked_id(event.item_id, "item_id"),
        "time": checked_time(event.time, "time"),
        "kind": checked_id(event.kind, "kind"),
        "weight": checked_number(event.weight, "weight"),
        "received": now,
    }


def _review(review: ReviewIn, now: int) -> dict[str, str | int | float | None]:
    rating = review.rating
    return {
        "review_id": checked_id(review.review_id, "review_id"),
        "user_id": checked_id(review.user_id, "user_id"),
        "item_id": checked_id(review.item_id, "item_id"),
        "text": checked_text(review.text, "text"),
        "rating": None if rating is None else checked_number(rating, "rating"),
        "time": checked_time(review.time, "time"),
        "received": now,
    }
