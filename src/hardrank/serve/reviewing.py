"""Reviews: each kept once, or held until a person has decided on it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from hardrank.errors import DataError
from hardrank.serve.database import LEDGER
from hardrank.serve.ledger import Ledger, Row, parted
from hardrank.serve.records import (
    Decision,
    HeldReview,
    ReviewIn,
    Taken,
    checked_id,
    checked_number,
    checked_text,
    checked_time,
)
from hardrank.serve.tables import held_reviews, reviews
from hardrank.serve.writing import chunks, fresh, known

if TYPE_CHECKING:
    from hardrank.guards.base import Verdict

__all__ = ["Reviewing"]

_REVIEWS = ((reviews, held_reviews), "review_id")
_REVIEW = ("review_id", "user_id", "item_id", "text", "rating", "time", "received")


class Reviewing(Ledger):
    """What users wrote."""

    def add_reviews(self, added: Sequence[ReviewIn]) -> list[bool]:
        """As `add_events`, for reviews."""
        return [taken == "kept" for taken in self.take_reviews(added, [None] * len(added))]

    def take_reviews(
        self, added: Sequence[ReviewIn], verdicts: Sequence["Verdict | None"]
    ) -> list[Taken]:
        """As `take_events`, for reviews: `reviews_of` has no held one."""
        rows = [_review(review, self._now()) for review in added]
        apart = parted(rows, verdicts)
        if not rows:
            return []
        return self.database.write(lambda c: self._take(c, rows, apart, *_REVIEWS), again=True)

    def known_reviews(self, asked: Sequence[ReviewIn]) -> list[bool]:
        """As `known_events`, for reviews."""
        users = {checked_id(review.user_id, "user_id") for review in asked}
        ids = {checked_id(review.review_id, "review_id") for review in asked}

        def work(connection: Connection) -> list[bool]:
            gone = self._erased(connection, users)
            there = known(connection, *_REVIEWS, ids)
            return [r.user_id in gone or r.review_id in there for r in asked]

        return self.database.read(work)

    def reviews_of(self, item_id: str, limit: int = 1000) -> list[ReviewIn]:
        """Reviews of an item, newest first, without those that are held."""
        query = (
            select(reviews)
            .where(reviews.c.item_id == checked_id(item_id, "item_id"))
            .order_by(reviews.c.sequence.desc())
            .limit(limit)
        )
        rows = self.database.read(lambda c: c.execute(query).all())
        return [ReviewIn(r.review_id, r.user_id, r.item_id, r.text, r.time, r.rating) for r in rows]

    def held_reviews(self, limit: int = 100, after: int = 0) -> list[HeldReview]:
        """Reviews that wait, oldest first; those with numbers above `after`."""
        columns = [held_reviews.c[name] for name in ("id", *_REVIEW, "score", "reason")]
        query = (
            select(*columns)
            .where(_waits(), held_reviews.c.id > after)
            .order_by(held_reviews.c.id)
            .limit(limit)
        )
        rows = self.database.read(lambda c: c.execute(query).all())
        return [HeldReview(*row) for row in rows]

    def held_reviews_count(self) -> int:
        """Reviews that wait."""
        query = select(func.count()).select_from(held_reviews).where(_waits())
        return int(self.database.read(lambda c: c.execute(query).scalar_one()))

    def decide_reviews(self, action: Decision, who: str, ids: Sequence[int]) -> list[int]:
        """Admit or reject reviews by number; the numbers of those that waited.

        Admitted reviews are kept as if they came now; rejected ones stay known and are never
        shown. Raises `DataError`, `StoreError`.
        """
        if action not in ("admit", "reject"):
            raise DataError("must be 'admit' or 'reject'", field="action")

        def work(connection: Connection) -> list[int]:
            self.database.line_up(connection, LEDGER)
            rows = list[dict[str, Any]]()
            for some in chunks(sorted(set(ids))):
                query = select(held_reviews).where(_waits(), held_reviews.c.id.in_(some))
                rows += [row._asdict() for row in connection.execute(query.order_by("id"))]
            for some_rows in chunks(rows):
                self._settle_reviews(connection, some_rows, action, who)
            return [int(row["id"]) for row in rows]

        return self.database.write(work)

    def _settle_reviews(
        self, connection: Connection, rows: Sequence[dict[str, Any]], action: Decision, who: str
    ) -> None:
        mine = held_reviews.c.id.in_([row["id"] for row in rows])
        if action == "reject":
            done = {"decision": action, "decider": who, "decided": self._now()}
            connection.execute(update(held_reviews).where(mine).values(done))
        else:
            fresh(connection, reviews, "review_id", [{n: r[n] for n in _REVIEW} for r in rows])
            connection.execute(delete(held_reviews).where(mine))
        for row in rows:  # by number: ids of reviews may name users, and the log outlives those
            detail = {"case": str(row["id"])}
            self._note(connection, who, f"{action}-review", row["item_id"], detail)


def _waits() -> ColumnElement[bool]:
    return held_reviews.c.decision.is_(None)


def _review(review: ReviewIn, now: int) -> Row:
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
