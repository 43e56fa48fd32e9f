"""Faults of a service: slow, failing, rate-limited, gone, or answering something else."""

import socket
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler

import pytest
from tests.victims.stubs import Stub, question

from hardrank.errors import VictimError
from hardrank.victims.http import HttpPort, Terms
from hardrank.victims.pace import Pace, retry_after


def port(stub: Stub, waits: list[float] | None = None, **more: object) -> HttpPort:
    """Waits are noted, not slept."""
    kept = waits if waits is not None else []
    return HttpPort(url=stub.url, pace=Pace(sleep=kept.append), **more)  # type: ignore[arg-type]


def fails(at: HttpPort) -> str:
    with pytest.raises(VictimError) as caught:
        at.ask(question())
    assert caught.value.exit_code == 4
    at.close()
    return str(caught.value)


def slowly(seconds: float) -> object:
    def fault(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)

    return fault


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte at a time, each well within any time-out of a single read."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    try:
        for _ in range(1000):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        handler.close_connection = True


def cut_short(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"scores": [')
    handler.close_connection = True


def test_a_good_answer(stub: Stub) -> None:
    at = port(stub)
    answers, scores = at.ask(question(2, 3))
    assert answers == "scores" and scores.shape == (2, 3)
    at.ask(question(1, 1))
    assert (at.traffic.requests, at.traffic.retries) == (2, 0)
    at.close()


def test_errors_of_the_server_are_tried_again_with_back_off(stub: Stub) -> None:
    stub.faults = [(500, {}, b"oops"), (503, {}, b""), (502, {}, b"")]
    waits: list[float] = []
    at = port(stub, waits)
    assert at.ask(question())[1].shape == (2, 3)
    assert waits == [0.5, 1.0, 2.0]
    assert (at.traffic.requests, at.traffic.retries) == (4, 3)
    at.close()


def test_giving_up_names_url_tries_and_remedy(stub: Stub) -> None:
    stub.faults = [(500, {}, b"no model loaded")] * 9
    waits: list[float] = []
    said = fails(port(stub, waits, retries=2))
    assert said.startswith(f"{stub.url}: answered 500")
    assert "no model loaded" in said and "asked 3 times" in said and "run again" in said
    assert waits == [0.5, 1.0] and len(stub.bodies) == 3


def test_too_many_requests_waits_as_told(stub: Stub) -> None:
    stub.faults = [(429, {"Retry-After": "7"}, b""), (429, {}, b"")]
    waits: list[float] = []
    at = port(stub, waits)
    at.ask(question())
    assert waits == [7.0, 1.0]
    at.close()


def test_a_wait_that_is_too_long_is_said(stub: Stub) -> None:
    stub.faults = [(429, {"Retry-After": "86400"}, b"")]
    said = fails(port(stub))
    assert "asks to wait 86400 s" in said and "what was answered is kept" in said


def test_retry_after_as_seconds_or_date() -> None:
    now = 1_700_000_000.0
    assert retry_after("12", now) == 12.0
    assert retry_after(formatdate(now + 30, usegmt=True), now) == 30.0
    assert retry_after(formatdate(now - 30, usegmt=True), now) == 0.0
    assert retry_after(None, now) is None
    assert retry_after("soon", now) is None


def test_a_slow_service_is_tried_again_and_then_named(stub: Stub) -> None:
    stub.faults = [slowly(0.6), slowly(0.6)]  # type: ignore[list-item]
    at = port(stub, timeout=0.2)
    said = fails(HttpPort(url=stub.url, timeout=0.2, retries=1, pace=at.pace))
    assert said.startswith(f"{stub.url}: no whole answer within 0.2 s; asked 2 times")


def test_an_answer_that_drips_runs_out_of_time(stub: Stub) -> None:
    stub.faults = [drip]
    begun = time.monotonic()
    assert "no whole answer within 0.3 s" in fails(port(stub, timeout=0.3, retries=0))
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("fault", [hang_up, cut_short])
def test_a_connection_that_breaks_is_tried_again(stub: Stub, fault: object) -> None:
    stub.faults = [fault]  # type: ignore[list-item]
    at = port(stub)
    assert at.ask(question())[0] == "scores"
    assert at.traffic.retries == 1
    at.close()


def test_a_closed_idle_connection_costs_no_try(stub: Stub) -> None:
    at = port(stub, retries=0)
    at.ask(question())
    stub.faults = [hang_up]
    assert at.ask(question())[0] == "scores"
    assert at.traffic.retries == 0
    at.close()


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    waits: list[float] = []
    at = HttpPort(url=f"http://127.0.0.1:{number}/rank", retries=2, pace=Pace(sleep=waits.append))
    said = fails(at)
    assert "refused" in said and "asked 3 times" in said and "check that the service runs" in said
    assert waits == [0.5, 1.0]


def test_what_is_not_json_is_shown(stub: Stub) -> None:
    stub.faults = [(200, {}, b"<html>Welcome to nginx</html>")]
    assert "not JSON: <html>Welcome to nginx</html>" in fails(port(stub))
    assert len(stub.bodies) == 1  # asking again would not help


def test_nan_in_json_is_named(stub: Stub) -> None:
    stub.faults = [(200, {}, b'{"scores": [[1, NaN, 2], [1, 2, Infinity]]}')]
    assert "scores[0][1] (item 'i1') is nan" in fails(port(stub))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ((404, {}, b"no such path"), "answered 404 Not Found: no such path"),
        ((401, {}, b""), "answered 401 Unauthorized"),
        ((422, {}, b'{"detail": "field k"}'), "answered 422 Unprocessable"),
        ((307, {"Location": "/rank/"}, b""), "give the address it leads to: /rank/"),
    ],
)
def test_other_refusals_are_said_at_once(stub: Stub, fault: object, said: str) -> None:
    stub.faults = [fault]  # type: ignore[list-item]
    assert said in fails(port(stub))
    assert len(stub.bodies) == 1


def test_an_endless_answer_is_cut_off(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardrank.victims.http._SMALL", 1000)
    stub.faults = [(200, {}, b" " * 200_000)]
    assert "answered more than" in fails(port(stub))


def test_the_token_is_sent_and_never_shown(stub: Stub) -> None:
    stub.faults = [(403, {}, b"who are you")]
    said = fails(port(stub, token="secret-123"))
    assert stub.headers[0]["Authorization"] == "Bearer secret-123"
    assert "secret" not in said


def test_the_contract_page(stub: Stub) -> None:
    at = port(stub)
    assert at.terms() == Terms()  # there is none
    stub.contract = {"version": 1, "answers": "ranks", "max_queries": 4, "max_candidates": 100}
    assert at.terms() == Terms(answers="ranks", max_queries=4, max_candidates=100)
    for page, said in [
        ({"version": 2}, "speaks version 2"),
        ({"answers": "logits"}, "'answers' is 'logits'"),
        ({"max_queries": 0}, "'max_queries' is 0"),
        ({"max_candidates": True}, "'max_candidates' is True"),
        (["x"], "not a JSON object"),
    ]:
        stub.contract = page  # type: ignore[assignment]
        with pytest.raises(VictimError, match=said):
            at.terms()
    at.close()


def test_requests_keep_their_distance() -> None:
    now, waits = [100.0], []

    def sleep(seconds: float) -> None:
        waits.append(round(seconds, 6))
        now[0] += seconds

    pace = Pace(per_second=4, clock=lambda: now[0], sleep=sleep)
    for _ in range(3):
        pace.await_turn()
    now[0] += 10
    pace.await_turn()
    assert waits == [0.25, 0.25]
