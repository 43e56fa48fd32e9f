"""Erasure of a user, verified in the raw bytes of the file and in every table."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import event, inspect, text

from hardrank.serve.erasure import Erasure
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.records import Erased, EventIn, ReviewIn
from hardrank.serve.store import Store

GONE, STAYS = "user-to-be-forgotten-7f3a", "user-who-stays-19c2"


def filled(store: Store) -> None:
    """Rows of both users mixed, over many pages, with a life before the erasure."""
    for turn in range(4):
        store.add_events(
            [EventIn(f"{u}/{turn}/{n}", u, f"i{n}", n) for n in range(60) for u in (GONE, STAYS)]
        )
    for user in (GONE, STAYS):
        store.add_reviews([ReviewIn(f"{user}/r", user, "i1", f"by {user} " * 900, 1)])
        for turn in range(3):
            store.remember(user, "vector", f"{turn} {user}".encode() * 700)


def everything(store: Store) -> str:
    """All rows of all tables."""
    with store.database.engine.connect() as connection:
        names = inspect(connection).get_table_names()
        assert {"events", "reviews", "cached", "audit", "tombstones"} <= set(names)
        return "\n".join(
            str([bytes(v) if isinstance(v, memoryview) else v for v in row])
            for name in names
            for row in connection.execute(text(f"SELECT * FROM {name}"))
        )


def test_every_row_of_the_user_goes_and_no_other(store: Store) -> None:
    filled(store)
    assert GONE in everything(store)
    assert store.erase_user(GONE, who="ann") == Erased(events=240, reviews=1, cached=1)
    assert GONE not in everything(store)
    assert store.history(GONE) == [] and store.recall(GONE, "vector") is None
    assert len(store.history(STAYS)) == 240 and len(store.reviews_of("i1")) == 1
    assert store.recall(STAYS, "vector") == f"2 {STAYS}".encode() * 700
    assert not store.scrub_due() and store.counts().erased == 1


def test_what_is_sent_again_is_refused(store: Store) -> None:
    filled(store)
    store.erase_user(GONE)
    again = [EventIn("new", GONE, "i", 1), EventIn("kept", STAYS, "i", 1)]
    assert store.add_events(again) == [False, True]
    assert store.add_reviews([ReviewIn("new", GONE, "i", "", 1)]) == [False]
    assert store.remember(GONE, "vector", b"x") is False
    assert store.erased([GONE, STAYS]) == {GONE}
    assert GONE not in everything(store)


def test_erasing_twice_is_as_once(store: Store) -> None:
    filled(store)
    store.erase_user(GONE)
    assert store.erase_user(GONE) == Erased(0, 0, 0)
    assert store.counts().erased == 1


def test_a_user_nobody_saw_is_refused_from_then_on(store: Store) -> None:
    assert store.erase_user("stranger") == Erased(0, 0, 0)
    assert store.add_events([EventIn("e", "stranger", "i", 0)]) == [False]


def test_the_log_and_the_tombstone_do_not_name_the_user(store: Store) -> None:
    store.erase_user(GONE, who="ann")
    [line] = store.audit_log()
    assert (line.who, line.action, line.detail) == ("ann", "erase-user", {"rows": "0"})
    assert len(line.subject) == 64 and GONE not in everything(store)


def test_two_stores_bury_one_user_under_different_stones(tmp_path: Path) -> None:
    stones = set[str]()
    for name in ("a.db", "b.db"):
        with Store.open(tmp_path / name) as store:
            store.erase_user(GONE)
            stones.add(store.audit_log()[0].subject)
    assert len(stones) == 2


def raw(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_no_byte_of_the_user_stays_in_the_file(tmp_path: Path) -> None:
    """Database, write-ahead log and the index of that log."""
    with Store.open(tmp_path / "s.db") as store:
        filled(store)
        before = raw(tmp_path)
        assert GONE.encode() in before and STAYS.encode() in before
        store.erase_user(GONE)
        after = raw(tmp_path)
    assert GONE.encode() not in after and STAYS.encode() in after


def test_a_reader_in_the_way_is_said_and_the_scrubbing_stays_due(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        filled(store)
        store.database.close()
        event.listen(store.database.engine, "connect", _hurry)
        with store.database.engine.connect() as reader, reader.begin():
            reader.execute(text("SELECT count(*) FROM events")).scalar()
            with pytest.raises(StoreUnavailable, match=r"scrub|busy"):
                store.erase_user(GONE)
            assert store.history(GONE) == [] and store.scrub_due()
        store.scrub()
        assert not store.scrub_due() and GONE.encode() not in raw(tmp_path)


def _hurry(connection: object, record: object) -> None:
    connection.execute("PRAGMA busy_timeout=20")  # type: ignore[attr-defined]


def test_a_kill_between_deleting_and_scrubbing_leaves_a_note(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Erasure) -> None:
        raise KeyboardInterrupt

    filled(store)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Erasure, "scrub", killed)
        store.erase_user(GONE)
    assert store.scrub_due() and store.history(GONE) == []
    store.scrub()
    assert not store.scrub_due()


def test_events_that_race_with_the_erasure_do_not_survive_it(store: Store) -> None:
    """Whichever comes first, no row of the user is there when both are through."""
    started = threading.Event()

    def send() -> None:
        for n in range(30):
            store.add_events([EventIn(f"e{n}", GONE, "i", n)])
            started.set()

    sender = threading.Thread(target=send)
    sender.start()
    started.wait(60)
    store.erase_user(GONE)
    sender.join()
    assert store.history(GONE) == [] and GONE not in everything(store)
