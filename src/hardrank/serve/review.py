"""The quarantine queue: what waits for a person, and what that person decided."""

import json
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, select, update

from hardrank.errors import DataError
from hardrank.serve.database import CATALOGUE
from hardrank.serve.errors import Conflict, NotFound
from hardrank.serve.records import Decision, ItemState, QuarantineRow, loaded
from hardrank.serve.shelf import Shelf
from hardrank.serve.tables import items, quarantine, versions

__all__ = ["Review"]


class Review(Shelf):
    """Cases are listed oldest first; a decided one stays, with who decided."""

    def quarantine(
        self, limit: int = 100, after: int = 0, *, decided: bool = False
    ) -> list[QuarantineRow]:
        """Cases with an id above `after`: those that wait, or all with `decided`."""
        query = _cases().where(quarantine.c.id > after).order_by(quarantine.c.id).limit(limit)
        if not decided:
            query = query.where(quarantine.c.decision.is_(None))
        return [_case(row) for row in self.database.read(lambda c: c.execute(query).all())]

    def case(self, id: int) -> QuarantineRow:
        """Raises `NotFound`."""
        row = self.database.read(lambda c: c.execute(_cases().where(_is(id))).first())
        if row is None:
            raise NotFound(f"there is no quarantine case {id}")
        return _case(row)

    def decide(self, id: int, action: Decision, who: str) -> ItemState:
        """Let a text stand, or refuse it; the state of the item after that.

        After `reject` that is `live` where an older text still stands. Raises `NotFound`,
        and `Conflict` where the case is closed (decided, or a later text made it idle).
        """
        if action not in ("admit", "reject"):
            raise DataError("must be 'admit' or 'reject'", field="action")

        def work(connection: Connection) -> ItemState:
            self.database.line_up(connection, CATALOGUE)
            row = connection.execute(select(quarantine).where(_is(id))).first()
            if row is None:
                raise NotFound(f"there is no quarantine case {id}")
            if row.decision is not None:
                by = f" by {row.decider}" if row.decider else ""
                raise Conflict(f"quarantine case {id} is closed: {row.decision}{by}")
            change = {"decision": action, "decider": who, "decided": self._now()}
            connection.execute(update(quarantine).where(_is(id)).values(change))
            detail = {"case": str(id), "version": str(row.version)}
            self._note(connection, who, action, row.item_id, detail)
            return self._settle(connection, row.item_id, action)

        return self.database.write(work)

    def _settle(self, connection: Connection, item_id: str, action: Decision) -> ItemState:
        draft = self._drafts(connection, [item_id])[item_id]
        if action == "admit":
            draft.live = draft.waiting
        draft.waiting = None
        draft.state = "rejected" if draft.live is None else "live"
        row = draft.row(self._now(), self._next_change(connection))
        connection.execute(update(items).where(items.c.item_id == item_id).values(row))
        return draft.state


def _is(id: int) -> Any:
    return quarantine.c.id == id


def _cases() -> Select[Any]:
    after, before = versions.alias(), versions.alias()
    mine = after.c.item_id == quarantine.c.item_id
    same = before.c.item_id == quarantine.c.item_id
    return (
        select(quarantine, after, before.c.shown.label("stood"))
        .join(after, and_(mine, after.c.version == quarantine.c.version))
        .outerjoin(before, and_(same, before.c.version == quarantine.c.before))
    )


def _case(row: Row[Any]) -> QuarantineRow:
    spans = tuple((str(f), int(a), int(b)) for f, a, b in json.loads(row.spans))
    return QuarantineRow(
        row.id, row.item_id, None if row.stood is None else loaded(row.stood), loaded(row.asked),
        row.guard, row.score, row.reason, spans, row.written, row.decision, row.decider,
        row.decided,
    )  # fmt: skip
