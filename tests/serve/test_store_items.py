"""Items: which text stands, which waits, and what was decided by whom."""

import pytest

from hardrank.errors import DataError
from hardrank.guards.base import Verdict, admit
from hardrank.serve.errors import Conflict, NotFound
from hardrank.serve.store import Store

FINE = admit("unicode", 0.1, "fine")
HOLD = Verdict("quarantine", "shadow", 0.9, "exposure jumps", spans=(("title", 0, 3),))


def mend(text: str) -> Verdict:
    return Verdict("mend", "unicode", 0.4, "confusables", {"title": text})


def test_an_admitted_text_stands(store: Store) -> None:
    assert store.item("i") is None
    assert store.put_item("i", {"title": "Lamp"}, FINE) == "live"
    row = store.item("i")
    assert row is not None
    assert (row.state, row.fields, row.version, row.waiting) == ("live", {"title": "Lamp"}, 1, None)


def test_the_same_text_again_is_no_new_version(store: Store) -> None:
    for _ in range(3):
        assert store.put_item("i", {"title": "Lamp", "brand": "B"}, FINE) == "live"
        assert store.put_item("i", {"brand": "B", "title": "Lamp"}, FINE) == "live"
        assert store.put_item("j", {"title": "Spam"}, HOLD) == "quarantined"
    assert len(store.versions("i")) == len(store.versions("j")) == len(store.quarantine()) == 1


def test_a_mended_text_stands_and_the_one_asked_for_is_kept(store: Store) -> None:
    assert store.put_item("i", {"title": "Lаmp"}, mend("Lamp")) == "live"
    row, [version] = store.item("i"), store.versions("i")
    assert row is not None and row.fields == {"title": "Lamp"}
    assert (version.asked, version.shown) == ({"title": "Lаmp"}, {"title": "Lamp"})
    assert (version.action, version.guard, version.score) == ("mend", "unicode", 0.4)
    assert store.put_item("i", {"title": "Lаmp"}, mend("Lamp")) == "live"
    assert len(store.versions("i")) == 1


def test_a_held_new_item_does_not_stand(store: Store) -> None:
    assert store.put_item("i", {"title": "Spam"}, HOLD) == "quarantined"
    assert list(store.items()) == []
    [held] = store.items(["quarantined"])
    assert (held.fields, held.waiting) == ({"title": "Spam"}, 1)
    [case] = store.quarantine()
    assert (case.item_id, case.before, case.after) == ("i", None, {"title": "Spam"})
    assert (case.guard, case.score, case.reason) == ("shadow", 0.9, "exposure jumps")
    assert (case.spans, case.decision) == ((("title", 0, 3),), None)


def test_a_held_rewrite_leaves_the_old_text_standing(store: Store) -> None:
    store.put_item("i", {"title": "Lamp"}, FINE)
    assert store.put_item("i", {"title": "Spam"}, HOLD) == "quarantined"
    row, [case] = store.item("i"), store.quarantine()
    assert row is not None and (row.state, row.fields, row.waiting) == (
        "live",
        {"title": "Lamp"},
        2,
    )
    assert (case.before, case.after) == ({"title": "Lamp"}, {"title": "Spam"})


def test_before_is_the_text_that_readers_saw(store: Store) -> None:
    store.put_item("i", {"title": "Lаmp"}, mend("Lamp"))
    store.put_item("i", {"title": "Spam"}, HOLD)
    assert store.quarantine()[0].before == {"title": "Lamp"}


def test_admitting_puts_the_text_up(store: Store) -> None:
    store.put_item("i", {"title": "Lamp"}, FINE)
    store.put_item("i", {"title": "Spam"}, HOLD)
    [case] = store.quarantine()
    assert store.decide(case.id, "admit", "ann") == "live"
    row = store.item("i")
    assert row is not None and (row.fields, row.waiting) == ({"title": "Spam"}, None)
    assert store.quarantine() == []
    [closed] = store.quarantine(decided=True)
    assert (closed.decision, closed.decider) == ("admit", "ann")
    [line] = store.audit_log()
    assert (line.who, line.action, line.subject) == ("ann", "admit", "i")
    assert line.detail == {"case": str(case.id), "version": "2"}


@pytest.mark.parametrize("stood", [True, False])
def test_rejecting_leaves_what_stood(store: Store, stood: bool) -> None:
    if stood:
        store.put_item("i", {"title": "Lamp"}, FINE)
    store.put_item("i", {"title": "Spam"}, HOLD)
    state = store.decide(store.quarantine()[0].id, "reject", "ann")
    assert state == ("live" if stood else "rejected")
    assert [row.fields for row in store.items()] == ([{"title": "Lamp"}] if stood else [])


def test_a_case_is_decided_once(store: Store) -> None:
    store.put_item("i", {"title": "Spam"}, HOLD)
    id = store.quarantine()[0].id
    store.decide(id, "reject", "ann")
    with pytest.raises(Conflict, match="closed: reject by ann"):
        store.decide(id, "admit", "bob")
    with pytest.raises(NotFound, match="no quarantine case 999"):
        store.decide(999, "admit", "bob")
    with pytest.raises(NotFound):
        store.case(999)
    with pytest.raises(DataError, match="'admit' or 'reject'"):
        store.decide(id, "perhaps", "bob")  # type: ignore[arg-type]
    assert len(store.audit_log()) == 1 and store.case(id).decider == "ann"


@pytest.mark.parametrize("later", [FINE, HOLD])
def test_a_later_text_closes_the_case_of_an_older(store: Store, later: Verdict) -> None:
    """Or somebody would admit a text that its seller replaced long ago."""
    store.put_item("i", {"title": "Spam"}, HOLD)
    old = store.quarantine()[0].id
    store.put_item("i", {"title": "Lamp"}, later)
    with pytest.raises(Conflict, match="superseded"):
        store.decide(old, "admit", "ann")
    waiting = store.quarantine()
    assert [case.after for case in waiting] == ([{"title": "Lamp"}] if later is HOLD else [])


def test_asking_for_the_standing_text_again_withdraws_the_rewrite(store: Store) -> None:
    for fields, verdict in (("Lamp", FINE), ("Spam", HOLD), ("Lamp", FINE)):
        store.put_item("i", {"title": fields}, verdict)
    row = store.item("i")
    assert store.quarantine() == [] and row is not None and row.fields == {"title": "Lamp"}


def test_deleting_takes_down_and_keeps_the_past(store: Store) -> None:
    store.put_item("i", {"title": "Lamp"}, FINE)
    store.put_item("i", {"title": "Spam"}, HOLD)
    assert store.delete_item("i", who="ann") is True
    assert store.delete_item("i", who="ann") is False
    assert store.delete_item("never") is False
    assert list(store.items()) == [] and store.quarantine() == []
    assert [row.item_id for row in store.items(["deleted"])] == ["i"]
    assert store.put_item("i", {"title": "Back"}, FINE) == "live"
    assert [v.shown["title"] for v in store.versions("i")] == ["Lamp", "Spam", "Back"]
    assert [line.action for line in store.audit_log()] == ["delete-item"]


def test_many_at_once_are_as_one_after_the_other(store: Store) -> None:
    entries = [
        ("a", {"title": "1"}, FINE),
        ("b", {"title": "1"}, HOLD),
        ("a", {"title": "2"}, HOLD),
        ("b", {"title": "2"}, FINE),
        ("a", {"title": "3"}, HOLD),
        ("a", {"title": "3"}, HOLD),
    ]
    states = store.put_items(entries)
    assert states == ["live", "quarantined", "quarantined", "live", "quarantined", "quarantined"]
    assert [(c.item_id, c.before, c.after) for c in store.quarantine()] == [
        ("a", {"title": "1"}, {"title": "3"})
    ]
    closed = [c for c in store.quarantine(decided=True) if c.decision]
    assert [(c.item_id, c.decision) for c in closed] == [("b", "superseded"), ("a", "superseded")]
    assert {row.item_id: row.fields["title"] for row in store.items()} == {"a": "1", "b": "2"}


def test_one_bad_text_keeps_out_the_whole_call(store: Store) -> None:
    with pytest.raises(DataError, match="field 'title'"):
        store.put_items([("a", {"title": "fine"}, FINE), ("b", {"title": "\x00"}, FINE)])
    assert store.item("a") is None
    for fields in ({"": "x"}, {"a\x00": "x"}, {"title": "\ud800"}, {"title": 3}):
        with pytest.raises(DataError):
            store.put_item("a", fields, FINE)  # type: ignore[arg-type]


def test_items_are_paged_in_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardrank.serve.shelf.PAGE", 3)
    names = ["a", "B", "é", "z", "_", "漢", "0", "aa", "A"]
    store.put_items([(name, {"title": name}, FINE) for name in names])
    assert [row.item_id for row in store.items()] == sorted(names)


def test_the_queue_is_paged(store: Store) -> None:
    store.put_items([(f"i{n}", {"title": "x"}, HOLD) for n in range(5)])
    first = store.quarantine(limit=2)
    rest = store.quarantine(limit=10, after=first[-1].id)
    assert [case.item_id for case in first + rest] == [f"i{n}" for n in range(5)]
    assert store.counts().waiting == 5


def test_the_audit_log_is_paged_newest_first(store: Store) -> None:
    for n in range(5):
        store.note("ann", "look", f"s{n}", {"n": str(n)})
    page = store.audit_log(limit=2)
    rest = store.audit_log(before=page[-1].id)
    assert [line.subject for line in page + rest] == ["s4", "s3", "s2", "s1", "s0"]
    assert page[0].detail == {"n": "4"}


def test_live_and_previous_bundle(store: Store) -> None:
    assert store.bundles() == (None, None)
    with pytest.raises(Conflict, match="no previous bundle"):
        store.rollback(who="ann")
    store.promote("one", who="ann")
    with pytest.raises(Conflict):
        store.rollback(who="ann")
    store.promote("two", who="ann")
    store.promote("two", who="ann")
    assert store.bundles() == ("two", "one")
    assert store.rollback(who="bob") == "one"
    assert store.bundles() == ("one", "two")
    log = [(line.who, line.action, line.subject) for line in store.audit_log()]
    assert log == [("bob", "rollback", "one"), ("ann", "promote", "two"), ("ann", "promote", "one")]


def test_settings(store: Store) -> None:
    assert store.setting("mood") is None
    store.set_setting("mood", "good", who="ann")
    store.set_setting("mood", "better", who="ann")
    assert store.setting("mood") == "better"
    with pytest.raises(DataError, match="kept by the store itself"):
        store.set_setting("salt", "0", who="ann")
