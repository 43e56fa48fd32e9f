"""Reviews at the door: kept, known or held, and what a person decides of those that wait."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from hardrank.bundle import add_guards, load_guards
from hardrank.data.labelled import Labelled
from hardrank.errors import DataError
from hardrank.guards import Normaliser, Pipeline, ReviewGuard
from hardrank.guards.base import Verdict
from hardrank.models import Popularity
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.records import ReviewIn
from hardrank.serve.review_door import ReviewDoor
from hardrank.serve.store import Store
from hardrank.serve.swap import Live
from hardrank.testing.service import Served, served, toy_bundle
from hardrank.wording import split

HELD = Verdict("quarantine", "reviews", 0.7, "it reads like the fake reviews learned from")
REAL = tuple(split("the lamp stands on my desk and gives warm light but its cord is short"))
FAKE = tuple(split("amazing best ever product totally changed life buy now perfect wow"))
HONEST = "its light is warm but on my desk the short cord stands and gives"
SPAM = "best product ever buy now amazing perfect totally changed life"


def _guard() -> Pipeline:
    """Guards with one of reviews that learned these two kinds of words."""
    rng = np.random.default_rng(0)
    texts = tuple(" ".join(rng.choice((REAL, FAKE)[n % 2], 8)) for n in range(120))
    known = Labelled(texts=texts, labels=np.arange(120) % 2, names=("real", "fake"))
    return Pipeline((Normaliser(),), reviews=ReviewGuard().fit(known, fake="fake"))


GUARDS = _guard()


def review(n: int, text: str = HONEST, user: str = "u", item: str = "i1") -> ReviewIn:
    return ReviewIn(f"r{n}", user, item, text, 5, 4.0)


def door(store: Store, guards: Pipeline | None = GUARDS, bundled: Any = None) -> ReviewDoor:
    engine = None if bundled is None else SimpleNamespace(guard=bundled)
    return ReviewDoor(store, cast(Live, SimpleNamespace(engine=engine)), guards)


def ids(store: Store, item: str = "i1") -> list[str]:
    return [r.review_id for r in store.reviews_of(item)]


# The store, on both databases


def test_held_reviews_are_durable_and_shown_nowhere(store: Store) -> None:
    sent = [review(1), review(2), review(3, user="v")]
    assert store.take_reviews(sent, [None, HELD, HELD]) == ["kept", "held", "held"]
    assert store.take_reviews(sent, [HELD, None, HELD]) == ["known"] * 3
    assert store.known_reviews([*sent, review(4)]) == [True, True, True, False]
    assert store.add_reviews(sent) == [False] * 3
    assert store.reviews_of("i1") == [review(1)] and store.counts().reviews == 1
    assert [r.review_id for r in store.held_reviews()] == ["r2", "r3"]
    assert store.held_reviews_count() == 2 and store.take_reviews([], []) == []
    first = store.held_reviews(limit=1)[0]
    assert (first.text, first.rating, first.time) == (HONEST, 4.0, 5)
    assert (first.score, first.reason) == (0.7, HELD.reason)
    assert [r.review_id for r in store.held_reviews(after=first.id)] == ["r3"]


def test_the_first_copy_within_a_call_decides(store: Store) -> None:
    twice = [review(1), review(1), review(2), review(2)]
    said = [HELD, None, None, HELD]
    assert store.take_reviews(twice, said) == ["held", "known", "kept", "known"]
    assert ids(store) == ["r2"] and store.held_reviews_count() == 1


def test_admitted_reviews_are_kept_and_rejected_ones_stay_known(store: Store) -> None:
    sent = [review(n, user=f"name-{n}") for n in range(1, 5)]
    store.take_reviews(sent, [HELD] * 4)
    a, b, c, _ = [r.id for r in store.held_reviews()]
    assert store.decide_reviews("admit", "ann", [b, a, 9999]) == [a, b]
    assert store.decide_reviews("reject", "ann", [a, c]) == [c], "what was decided stays so"
    assert ids(store) == ["r2", "r1"] and store.held_reviews_count() == 1
    assert store.take_reviews(sent, [None] * 4) == ["known"] * 4
    log = [(row.who, row.action, row.subject, row.detail) for row in store.audit_log(limit=3)]
    assert log == [
        ("ann", "reject-review", "i1", {"case": str(c)}),
        ("ann", "admit-review", "i1", {"case": str(b)}),
        ("ann", "admit-review", "i1", {"case": str(a)}),
    ], "newest first, and nobody's name"
    with pytest.raises(DataError, match="'admit' or 'reject'"):
        store.decide_reviews(cast(Any, "keep"), "ann", [a])


def test_erasure_takes_held_and_rejected_reviews(store: Store) -> None:
    sent = [review(1), review(2), review(3), review(4, user="v")]
    store.take_reviews(sent, [None, HELD, HELD, HELD])
    store.decide_reviews("reject", "ann", [store.held_reviews()[0].id])
    assert store.erase_user("u").reviews == 3
    assert [r.review_id for r in store.held_reviews()] == ["r4"] and ids(store) == []
    assert store.take_reviews([review(2), review(9)], [None, HELD]) == ["known"] * 2
    assert store.known_reviews([review(9)]) == [True]


# The door


def test_without_a_guard_all_are_kept(store: Store) -> None:
    for n, closed in enumerate((door(store, None), door(store, Pipeline(())))):
        assert closed.take([review(n, SPAM)]) == ["kept"]


def test_fakes_and_copies_are_held(store: Store) -> None:
    """S0-29: a review that reads like a fake one, and one that repeats another."""
    here = door(store)
    sent = [review(1), review(2, SPAM), review(3, HONEST.upper()), review(4, item="i2")]
    assert here.take(sent) == ["kept", "held", "held", "kept"]
    assert here.take(sent) == ["known"] * 4, "what stands is no copy of itself"
    assert [r.reason for r in store.held_reviews()] == [
        "it reads like the fake reviews learned from",
        "100% of the review stands in public ones",
    ]
    assert here.take([review(5)]) == ["held"], "a copy of one that was stored before"
    assert here.take([review(6, item="i3"), review(6, SPAM, item="i3")]) == ["kept", "known"]


def test_the_chosen_guard_goes_before_that_of_the_bundle(store: Store) -> None:
    none = replace(GUARDS, reviews=None)
    assert door(store, None, GUARDS).take([review(1, SPAM)]) == ["held"]
    assert door(store, none, GUARDS).take([review(2, SPAM)]) == ["held"]
    assert door(store, None, none).take([review(3, SPAM)]) == ["kept"]
    assert door(store, None, Normaliser()).take([review(4, SPAM)]) == ["kept"]


def test_what_could_not_be_kept_is_judged_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    here = door(store)
    with monkeypatch.context() as patched:
        patched.setattr(store, "take_reviews", away)
        with pytest.raises(StoreUnavailable):
            here.take([review(1), review(2)])
    assert here.take([review(1), review(2)]) == ["kept", "held"]


# Over HTTP


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Served]:
    toy_bundle(tmp_path / "plain", Popularity())
    GUARDS.save(tmp_path / "guards")
    add_guards(tmp_path / "plain", tmp_path / "guards", tmp_path / "live")
    with served(tmp_path / "live", tmp_path / "s.db") as made:
        yield made


def _sent(*reviews: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "reviews": [
            {"review_id": n, "user_id": u, "item_id": "i1", "text": t, "time": 7}
            for n, u, t in reviews
        ]
    }


def test_a_review_is_held_admitted_and_erased(shop: Served) -> None:
    store: Store = shop.app.state.service.store
    sent = _sent(("a", "u1", HONEST), ("b", "u2", SPAM), ("c", "u3", SPAM))
    answer = shop.ask("ingest", "POST", "/v1/reviews", json=sent)
    assert answer.status_code == 200
    assert {k: v for k, v in answer.json().items() if k != "reviews"} == {
        "added": 1, "known": 0, "held": 2,
    }  # fmt: skip
    assert answer.json()["reviews"][1] == {"review_id": "b", "new": False, "held": True}
    again = shop.ask("ingest", "POST", "/v1/reviews", json=sent).json()
    assert (again["added"], again["known"], again["held"]) == (0, 3, 0)
    seen = shop.ask("review", "GET", "/v1/quarantine/reviews?limit=1").json()
    [row] = seen["rows"]
    assert seen["waiting"] == 2 and seen["after"] == row["id"]
    assert (row["review_id"], row["text"], row["rating"]) == ("b", SPAM, None)
    assert 0.5 < row["score"] <= 1
    path = "/v1/quarantine/reviews"
    done = shop.ask("review", "POST", f"{path}/admit", json={"ids": [row["id"], 77]})
    assert done.json() == {"action": "admit", "ids": [row["id"]]}
    again = shop.ask("review", "POST", f"{path}/reject", json={"ids": [row["id"]]})
    assert again.json() == {"action": "reject", "ids": []}
    assert ids(store) == ["b", "a"]
    assert shop.ask("admin", "DELETE", "/v1/users/u3").json()["removed"]["reviews"] == 1
    assert shop.ask("admin", "DELETE", "/v1/users/u2").json()["removed"]["reviews"] == 1
    empty = shop.ask("review", "GET", path).json()
    assert empty == {"waiting": 0, "rows": [], "after": None} and ids(store) == ["a"]
    text = shop.ask("review", "GET", "/metrics").text
    assert 'hardrank_reviews_total{what="held"} 2.0' in text
    assert 'hardrank_decisions_total{action="admit-reviews"} 1.0' in text


def test_a_swap_takes_the_guard_of_reviews_with_it(shop: Served, tmp_path: Path) -> None:
    def takes(name: str) -> dict[str, Any]:
        sent = _sent((name, "u", SPAM))
        return dict(shop.ask("ingest", "POST", "/v1/reviews", json=sent).json()["reviews"][0])

    assert takes("a") == {"review_id": "a", "new": False, "held": True}
    swap = {"bundle": "plain"}
    assert shop.ask("admin", "POST", "/v1/bundle", json=swap).status_code == 200
    assert takes("b") == {"review_id": "b", "new": True, "held": False}


@pytest.mark.parametrize(
    "change",
    [
        {"text": "a\x00b"}, {"text": None}, {"text": "x" * 10_001}, {"review_id": ""},
        {"time": -1}, {"time": "7"}, {"rating": "good"}, {"rating": 1e9}, {"stars": 5},
    ],
)  # fmt: skip
def test_what_is_not_as_described_is_refused_whole(shop: Served, change: dict[str, Any]) -> None:
    sent = _sent(("a", "u", HONEST), ("b", "u", HONEST))
    sent["reviews"][1] |= change
    answer = shop.ask("ingest", "POST", "/v1/reviews", json=sent)
    assert answer.status_code == 422 and ids(shop.app.state.service.store) == []


def test_requests_have_bounds_and_roles(shop: Served) -> None:
    many = _sent(*[(f"r{n}", "u", "") for n in range(501)])
    for bad in (many, {"reviews": []}, {}):
        assert shop.ask("ingest", "POST", "/v1/reviews", json=bad).status_code == 422
    path = "/v1/quarantine/reviews"
    for asked in ({"ids": []}, {"ids": [0]}, {"ids": ["1"]}, {"ids": [1] * 501}, {}):
        assert shop.ask("review", "POST", f"{path}/admit", json=asked).status_code == 422
    assert shop.ask("review", "POST", f"{path}/keep", json={"ids": [1]}).status_code == 422
    for role in ("read", "ingest"):
        assert shop.ask(role, "GET", path).status_code == 403
        assert shop.ask(role, "POST", f"{path}/admit", json={"ids": [1]}).status_code == 403
    for role in ("read", "review"):
        assert shop.ask(role, "POST", "/v1/reviews", json=_sent(("a", "u", "x"))).status_code == 403


def test_a_bundle_brings_the_guard_back_as_it_was(shop: Served, tmp_path: Path) -> None:
    found = load_guards(tmp_path / "live")
    assert found is not None and found.reviews is not None and GUARDS.reviews is not None
    assert found.reviews.spec == GUARDS.reviews.spec
    texts = [HONEST, SPAM, "warm product"]
    a, b = (g.detector.score(texts) for g in (found.reviews, GUARDS.reviews))
    assert a.tolist() == b.tolist() and found.reviews.threshold == GUARDS.reviews.threshold
