"""Items, every text they ever had, and which of them stands."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Select, and_, exists, func, or_, select, update

from hardrank.serve.database import CATALOGUE
from hardrank.serve.draft import Draft, Entry, entry_of
from hardrank.serve.journal import Journal
from hardrank.serve.records import ItemRow, ItemState, VersionRow, checked_id, loaded
from hardrank.serve.tables import items, quarantine, versions
from hardrank.serve.writing import chunks, replaced

if TYPE_CHECKING:
    from hardrank.guards.base import Verdict

__all__ = ["Shelf"]

PAGE = 1000
_LAST = select(func.max(items.c.change))


class Shelf(Journal):
    """The catalogue. Texts are never written over: each is a version of its item."""

    def put_item(self, item_id: str, fields: Mapping[str, str], verdict: "Verdict") -> ItemState:
        """Keep a text and do with it as the verdict says: see `put_items`."""
        return self.put_items([(item_id, fields, verdict)])[0]

    def put_items(
        self, entries: Sequence[tuple[str, Mapping[str, str], "Verdict"]]
    ) -> list[ItemState]:
        """Keep texts, in order, all or none.

        `live`: the text stands now (as a guard mended it, if one did). `quarantined`: it
        waits for a decision, and what stood before still stands. A text makes an older one
        that waits idle; the same text again, with the same outcome, changes nothing. Raises
        `DataError`, `StoreError`.
        """
        clean = [entry_of(*entry) for entry in entries]
        return self.database.write(lambda c: self._put(c, clean), again=True)

    def item(self, item_id: str) -> ItemRow | None:
        """The item as it stands, also a deleted one; None if it never was."""
        query = _rows().where(items.c.item_id == checked_id(item_id, "item_id"))
        row = self.database.read(lambda c: c.execute(query).first())
        return None if row is None else _item(row)

    def items(self, states: Iterable[ItemState] = ("live",)) -> Iterator[ItemRow]:
        """Items in any of `states`, by id; read page by page, so not of one moment."""
        wanted, last = sorted(set(states)), ""
        while True:
            query = _rows().where(items.c.state.in_(wanted), items.c.item_id > last)
            page = query.order_by(items.c.item_id).limit(PAGE)
            rows = self.database.read(lambda c, q=page: c.execute(q).all())  # type: ignore[misc]
            yield from map(_item, rows)
            if len(rows) < PAGE:
                return
            last = rows[-1].item_id

    def items_since(self, change: int = 0, limit: int = PAGE) -> list[ItemRow]:
        """Items of any state whose latest `change` is above that, in its order. Nothing appears
        later below a number once seen."""
        query = _rows().where(items.c.change > change).order_by(items.c.change).limit(limit)
        return [_item(row) for row in self.database.read(lambda c: c.execute(query).all())]

    def last_change(self) -> int:
        """The largest `change` of an item; 0 where there is none."""
        return int(self.database.read(lambda c: c.execute(_LAST).scalar()) or 0)

    def number_of_items(self) -> int:
        """Of any state."""
        query = select(func.count()).select_from(items)
        return int(self.database.read(lambda c: c.execute(query).scalar_one()))

    def last_live(self, item_id: str) -> dict[str, str] | None:
        """The latest text that ever stood, also of an item that is deleted; None where none
        did. One that only waited, or was refused, never stood."""
        mine = versions.c.item_id == checked_id(item_id, "item_id")
        case = and_(
            quarantine.c.item_id == versions.c.item_id, quarantine.c.version == versions.c.version
        )
        admitted = exists().where(case, quarantine.c.decision == "admit")
        stood = or_(versions.c.action != "quarantine", admitted)
        query = select(versions.c.shown).where(mine, stood).order_by(versions.c.version.desc())
        found = self.database.read(lambda c: c.execute(query.limit(1)).scalar())
        return None if found is None else loaded(found)

    def standing(self, item_ids: Iterable[str]) -> set[str]:
        """Those of the items that are live."""
        asked, found = sorted({checked_id(name, "item_id") for name in item_ids}), set[str]()

        def work(connection: Connection) -> set[str]:
            for some in chunks(asked):
                mine = items.c.item_id.in_(some)
                query = select(items.c.item_id).where(mine, items.c.state == "live")
                found.update(connection.execute(query).scalars())
            return found

        return self.database.read(work)

    def versions(self, item_id: str) -> list[VersionRow]:
        """All texts of an item, oldest first."""
        mine = versions.c.item_id == checked_id(item_id, "item_id")
        query = select(versions).where(mine).order_by(versions.c.version)
        rows = self.database.read(lambda c: c.execute(query).all())
        return [
            VersionRow(
                r.version, loaded(r.asked), loaded(r.shown), r.action, r.guard, r.score, r.reason,
                r.written,
            )
            for r in rows
        ]  # fmt: skip

    def delete_item(self, item_id: str, *, who: str = "system") -> bool:
        """Take an item down; False if none stood or waited. Its versions stay, so that one
        who deletes and creates again does not come back without a past."""
        checked_id(item_id, "item_id")

        def work(connection: Connection) -> bool:
            self.database.line_up(connection, CATALOGUE)
            draft = self._drafts(connection, [item_id]).get(item_id)
            if draft is None or draft.state == "deleted":
                return False
            idle = draft.withdraw()
            self._supersede(connection, [(item_id, idle)] if idle else [])
            replaced(connection, items, draft.row(self._now(), self._next_change(connection)))
            self._note(connection, who, "delete-item", item_id)
            return True

        return self.database.write(work, again=True)

    def _put(self, connection: Connection, entries: list[Entry]) -> list[ItemState]:
        self.database.line_up(connection, CATALOGUE)
        now = self._now()
        drafts = self._drafts(connection, [entry.item_id for entry in entries])
        states, written, cases, idle = [], [], [], []
        for entry in entries:
            draft = drafts.setdefault(entry.item_id, Draft(entry.item_id, created=now))
            state, changed = draft.take(entry)
            states.append(state)
            if changed:
                written.append(entry.row(draft.latest, now))
                idle += [(entry.item_id, draft.idle)] if draft.idle else []
                cases += [entry.case(draft)] if state == "quarantined" else []
        touched = {str(row["item_id"]) for row in written}
        if written:
            rows = enumerate(sorted(touched), self._next_change(connection))
            replaced(connection, items, *[drafts[name].row(now, n) for n, name in rows])
            connection.execute(versions.insert(), written)
        if cases:
            connection.execute(quarantine.insert(), cases)
        self._supersede(connection, idle)
        return states

    def _next_change(self, connection: Connection) -> int:
        """For who writes items and stands in their line until the commit."""
        return int(connection.execute(_LAST).scalar() or 0) + 1

    def _supersede(self, connection: Connection, idle: list[tuple[str, int]]) -> None:
        for item_id, version in idle:
            case = and_(quarantine.c.item_id == item_id, quarantine.c.version == version)
            change = {"decision": "superseded", "decided": self._now()}
            connection.execute(update(quarantine).where(case).values(change))

    def _drafts(self, connection: Connection, names: Sequence[str]) -> dict[str, Draft]:
        """What is known of items; those that never were are left out."""
        found = dict[str, Draft]()
        for some in chunks(sorted(set(names))):
            for row in connection.execute(_drafted().where(items.c.item_id.in_(some))):
                found[row.item_id] = Draft(*row)
        return found


def _rows() -> Select[Any]:
    """Items with the text that stands, or else their last one."""
    stands = func.coalesce(items.c.live, items.c.latest)
    here = and_(versions.c.item_id == items.c.item_id, versions.c.version == stands)
    return select(items, versions.c.version, versions.c.shown).join(versions, here)


def _drafted() -> Select[Any]:
    stood, waits = versions.alias(), versions.alias()
    live = and_(stood.c.item_id == items.c.item_id, stood.c.version == items.c.live)
    held = and_(waits.c.item_id == items.c.item_id, waits.c.version == items.c.waiting)
    return (
        select(items, stood.c.asked, stood.c.shown, waits.c.asked)
        .outerjoin(stood, live)
        .outerjoin(waits, held)
    )


def _item(row: Row[Any]) -> ItemRow:
    return ItemRow(
        row.item_id, row.state, loaded(row.shown), row.version, row.waiting, row.created,
        row.updated, row.change,
    )  # fmt: skip
