"""Events and reviews: kept once, in order, under concurrency, whatever their text."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardrank.errors import DataError
from hardrank.serve.records import EventIn, EventRow, ReviewIn
from hardrank.serve.store import Store

QUICK = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
EVENTS = st.builds(
    EventIn,
    event_id=IDS.filter(lambda t: len(t) <= 256),
    user_id=st.sampled_from(["u", "U", "ú", "u\u0301", " u"]),
    item_id=st.sampled_from(["i", "ﬁ", "i "]),
    time=st.integers(0, 2**53 - 1),
    kind=st.sampled_from(["view", "buy"]),
    weight=st.floats(allow_nan=False, allow_infinity=False),
)


def event(n: int, user: str = "u", time: int = 0) -> EventIn:
    return EventIn(f"e{n}", user, f"i{n % 3}", time)


def test_an_event_is_kept_once_and_the_first_stands(store: Store) -> None:
    assert store.add_events([event(1), event(2), event(1)]) == [True, True, False]
    again = EventIn("e1", "somebody", "else", 9, "buy", 2.0)
    assert store.add_events([again, event(3)]) == [False, True]
    assert [row.event_id for row in store.events_since()] == ["e1", "e2", "e3"]
    assert store.history("somebody") == []
    assert store.add_events([]) == []


def test_a_row_comes_back_as_it_went_in(store: Store) -> None:
    store._clock = lambda: 77.9
    store.add_events([EventIn("e", "u", "i", 5, "buy", 0.1)])
    [row] = store.events_since()
    assert row == EventRow(row.sequence, "e", "u", "i", 5, "buy", 0.1, 77)


def test_history_is_by_time_then_arrival(store: Store) -> None:
    times = [5, 3, 5, 1]
    store.add_events([EventIn(f"e{n}", "u", f"i{n}", t) for n, t in enumerate(times)])
    assert store.history("u") == [("i3", 1), ("i1", 3), ("i0", 5), ("i2", 5)]
    assert store.history("u", limit=2) == [("i0", 5), ("i2", 5)]
    assert store.history("nobody") == []


def test_events_since_pages_without_gap_or_repeat(store: Store) -> None:
    store.add_events([event(n) for n in range(25)])
    seen, last = [], 0
    while page := store.events_since(last, limit=10):
        seen += [row.event_id for row in page]
        last = page[-1].sequence
    assert seen == [f"e{n}" for n in range(25)]


def test_a_sequence_number_never_comes_back(store: Store) -> None:
    """Who has read up to a number would miss an event that got a freed one."""
    store.add_events([event(1, "a"), event(2, "b")])
    last = store.events_since()[-1].sequence
    store.erase_user("b")
    store.add_events([event(3, "c")])
    assert [row.event_id for row in store.events_since(last)] == ["e3"]


def test_eight_threads_that_send_the_same_events_keep_each_once(store: Store) -> None:
    sent = [event(n, f"u{n % 5}") for n in range(60)]

    def send(turn: int) -> int:
        mine = sent[turn * 7 % 60 :] + sent[: turn * 7 % 60]  # each in an order of its own
        return sum(sum(store.add_events(mine[a : a + 10])) for a in range(0, 60, 10))

    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(send, range(8)))
    assert sum(kept) == 60
    assert sorted(row.event_id for row in store.events_since()) == sorted(e.event_id for e in sent)


def test_a_follower_misses_nothing_while_others_write(store: Store) -> None:
    """A number that is taken early and committed late must not be passed over."""
    done, seen = threading.Event(), list[str]()

    def follow() -> None:
        last, ended = 0, False
        while not ended:
            ended = done.is_set()
            for row in store.events_since(last):
                seen.append(row.event_id)
                last = row.sequence

    def write(who: int) -> None:
        for n in range(10):
            store.add_events([EventIn(f"{who}-{n}-{m}", "u", "i", n) for m in range(3)])

    follower = threading.Thread(target=follow)
    follower.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    done.set()
    follower.join()
    assert sorted(seen) == sorted(
        f"{w}-{n}-{m}" for w in range(4) for n in range(10) for m in range(3)
    )


@QUICK
@given(batches=st.lists(st.lists(EVENTS, max_size=6), max_size=3))
def test_any_text_is_kept_as_it_is(store: Store, batches: list[list[EventIn]]) -> None:
    """The oracle is a dict: ids are equal where their code points are, and only there."""
    known = {row.event_id for row in store.events_since()}
    last = max((row.sequence for row in store.events_since()), default=0)
    kept = list[EventIn]()
    for batch in batches:
        expected = []
        for one in batch:
            expected.append(one.event_id not in known)
            kept += [one] if one.event_id not in known else []
            known.add(one.event_id)
        assert store.add_events(batch) == expected
    rows = store.events_since(last)
    back = [EventIn(r.event_id, r.user_id, r.item_id, r.time, r.kind, r.weight) for r in rows]
    assert back == kept


@pytest.mark.parametrize("bad", ["a\x00b", "\ud800", "", "x" * 257])
@pytest.mark.parametrize("field", ["event_id", "user_id", "item_id", "kind"])
def test_an_id_that_cannot_be_kept_is_refused_by_name(store: Store, field: str, bad: str) -> None:
    fine = {"event_id": "e", "user_id": "u", "item_id": "i", "kind": "view"}
    broken = EventIn(time=0, **{**fine, field: bad})
    with pytest.raises(DataError, match=f"field '{field}'"):
        store.add_events([event(1), broken])
    assert store.events_since() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("time", -1), ("time", 2**53), ("time", 1.5), ("time", True), ("weight", float("nan")),
     ("weight", float("inf")), ("weight", "1"), ("user_id", 7)],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_refused(store: Store, field: str, value: object) -> None:
    fine: dict[str, object] = {"event_id": "e", "user_id": "u", "item_id": "i", "time": 0}
    with pytest.raises(DataError, match=f"field '{field}'"):
        store.add_events([EventIn(**{**fine, field: value})])  # type: ignore[arg-type]


def test_the_longest_id_of_the_widest_letters_fits(store: Store) -> None:
    wide = "𝔘" * 256
    assert store.add_events([EventIn(wide, wide, wide, 0)]) == [True]
    assert store.history(wide) == [(wide, 0)]


@pytest.mark.parametrize("bad", ["\x00", "\udfff", ""])
def test_a_question_with_such_an_id_is_refused_too(store: Store, bad: str) -> None:
    for ask in (store.history, store.item, store.reviews_of, store.versions, store.erase_user):
        with pytest.raises(DataError):
            ask(bad)


def test_reviews_are_kept_once(store: Store) -> None:
    review = ReviewIn("r1", "u", "i", "Lovely; don't \\ 'DROP' \U0001f600", 4, 5.0)
    assert store.add_reviews([review, review]) == [True, False]
    silent = ReviewIn("r2", "u", "i", "", 5)
    assert store.add_reviews([review, silent]) == [False, True]
    assert store.reviews_of("i") == [silent, review]
    with pytest.raises(DataError, match="rating"):
        store.add_reviews([ReviewIn("r3", "u", "i", "", 5, float("nan"))])


def test_counts(store: Store) -> None:
    store.add_events([event(n, f"u{n % 2}") for n in range(5)])
    counts = store.counts()
    assert (counts.events, counts.users, counts.reviews) == (5, 2, 0)
    assert store.events_per_item() == {"i0": 2, "i1": 2, "i2": 1}


def test_sql_in_an_id_is_text(store: Store) -> None:
    evil = "x'; DROP TABLE events; --"
    assert store.add_events([EventIn(evil, evil, evil, 0)]) == [True]
    assert store.history(evil) == [(evil, 0)]
