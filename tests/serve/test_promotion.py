"""Which bundle is live, when several people say so at once."""

import threading

import pytest

from hardrank.errors import DataError
from hardrank.serve.errors import Conflict
from hardrank.serve.store import Store


def told(store: Store) -> list[tuple[str, str]]:
    return [(row.action, row.subject) for row in reversed(store.audit_log())]


def test_a_promotion_over_another_bundle_than_expected_changes_nothing(store: Store) -> None:
    store.promote("one", who="ann", expected=None)
    for expected in (None, "zero"):
        with pytest.raises(Conflict, match="went live meanwhile: one"):
            store.promote("two", who="bob", expected=expected, forced={"reason": "so"})
    assert store.bundles() == ("one", None) and told(store) == [("promote", "one")]
    store.promote("two", who="bob", expected="one")
    assert store.bundles() == ("two", "one")


def test_what_is_live_already_is_promoted_again_in_peace(store: Store) -> None:
    """A commit that may have succeeded is repeated; it is no conflict with itself."""
    store.promote("one", who="ann")
    store.promote("one", who="ann", expected=None, forced={"reason": "so"})
    assert told(store) == [("promote", "one")]


def test_the_one_before_the_first_promotion_can_be_gone_back_to(store: Store) -> None:
    with pytest.raises(Conflict, match="meanwhile: none"):
        store.promote("two", who="ann", expected="one", before="one")
    store.promote("two", who="ann", expected=None, before="one", forced={"reason": "so"})
    assert store.bundles() == ("two", "one")
    assert told(store) == [("promote-forced", "two"), ("promote", "one"), ("promote", "two")]
    store.promote("three", who="ann", before="nine")  # the store knows better
    assert store.bundles() == ("three", "two")
    with pytest.raises(DataError):
        store.promote("four", who="ann", before="")


def test_of_many_at_once_one_wins(store_url: str) -> None:
    """S3-21: eight processes' worth of promotions over the same bundle."""
    won, lost = list[str](), list[str]()
    start = threading.Barrier(8)

    def promote(name: str) -> None:
        with Store.open(store_url, patience=20.0) as own:
            start.wait(timeout=30)
            try:
                own.promote(name, who="t", expected="first")
                won.append(name)
            except Conflict:
                lost.append(name)

    with Store.open(store_url) as opened:
        opened.promote("first", who="t")
        threads = [threading.Thread(target=promote, args=(f"b{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1 and len(lost) == 7
        assert opened.bundles() == (won[0], "first")
