"""What one process learned is heard by the others on the same store."""

from contextlib import ExitStack
from pathlib import Path

from hardrank.models import Tfidf
from hardrank.serve.histories import Histories
from hardrank.serve.service import Service
from hardrank.testing.service import Served, served, toy_bundle

_ASKED = {"user_id": "u1", "k": 60}


def _service(shop: Served) -> Service:
    service: Service = shop.app.state.service
    return service


def _ids(shop: Served) -> list[str]:
    answer = shop.ask("read", "POST", "/v1/recommend", json=_ASKED).json()
    return [item["item_id"] for item in answer["items"]]


def _listen(shop: Served) -> None:
    """As the thread of the monitors does every second."""
    _service(shop).watching.look_at_events()


def test_who_is_not_heard_of_is_believed_for_longer() -> None:
    now = [0.0]
    histories = Histories(30.0, lambda: now[0])
    for user in ("told", "quiet"):
        histories.keep(user, ("i1",), fresh=False, turn=histories.turn(user))
    now[0] = 29.0
    histories.forget("told")
    histories.heard()
    now[0] = 58.0
    assert histories.get("told") is None and histories.get("quiet") is not None
    now[0] = 60.0  # nobody asked the store for 31 seconds
    assert histories.get("quiet") is None


def test_events_and_erasures_of_another_process_are_heard(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "bundle", Tfidf())
    with ExitStack() as both:
        first, second = (
            both.enter_context(served(bundle, tmp_path / "s.db", history_seconds=1e6))
            for _ in range(2)
        )
        for shop in (first, second):
            _listen(shop)
        whole = _ids(second)
        event = {"event_id": "e1", "user_id": "u1", "item_id": whole[0], "time": 1}
        first.ask("ingest", "POST", "/v1/events", json={"events": [event]})
        _listen(second)
        assert whole[0] not in _ids(second), "it is seen now"
        past = _service(second).live.engine
        assert past is not None and past.bundled_history("u1")
        first.ask("admin", "DELETE", "/v1/users/u1")
        _listen(second)
        assert not past.bundled_history("u1")
        assert set(_ids(second)) > set(whole), "what u1 had seen in the bundle's log, too"
