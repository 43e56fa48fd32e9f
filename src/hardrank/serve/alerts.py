"""Alarms to a webhook, from a thread of its own."""

import hashlib
import hmac
import http.client
import json
import logging
import queue
import threading
import time
import urllib.error
import urllib.request
from dataclasses import asdict
from typing import Any

from hardrank.errors import ConfigError
from hardrank.serve.monitors import Alarm

__all__ = ["SIGNATURE", "Webhook", "signature"]

SIGNATURE = "X-Hardrank-Signature"
"""Header: `t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>." + body>`."""
_log = logging.getLogger(__name__)


def signature(secret: str, body: bytes, now: int) -> str:
    """Whoever receives it recomputes this, compares in constant time, and refuses a `t` that
    is minutes old: the time is signed, so that an old alert cannot be sent again."""
    digest = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={digest}"


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: alerts go where they were told to, and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Webhook:
    """`send` only puts an alarm in a bounded queue: serving never waits for a network.

    When the queue is full an alarm is dropped and counted, never silently. A failed post is
    tried again after 1, 2, 4, ... `pause`s; an answer that says that the request itself is wrong
    (4xx but 408 and 429) is not. Each distinct (kind, subject) is sent once per `quiet` seconds.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        timeout: float = 5.0,
        tries: int = 5,
        pause: float = 1.0,
        limit: int = 256,
        quiet: float = 600.0,
    ) -> None:
        """timeout: seconds for connecting and for each read. Raises `ConfigError` for a URL
        that is not http(s) and for an empty secret."""
        if not url.startswith(("http://", "https://")):
            raise ConfigError("webhook", ["url: must begin with http:// or https://"])
        if not secret:
            raise ConfigError("webhook", ["secret: missing; unsigned alerts can be forged"])
        self._url, self._secret = url, secret
        self._timeout, self._tries, self._pause = timeout, tries, pause
        self._limit, self._quiet = limit, quiet
        self._queue: queue.Queue[Alarm] = queue.Queue(limit)
        self._last: dict[tuple[str, str], float] = {}
        self._opener = urllib.request.build_opener(_Stay)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self.sent, self.failed, self.dropped = 0, 0, 0
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        self._thread.start()

    def send(self, alarm: Alarm) -> bool:
        """At once. False where it was dropped, or said a short while ago."""
        with self._lock:
            if self._stop.is_set() or self._said(alarm):
                return False
            try:
                self._queue.put_nowait(alarm)
            except queue.Full:
                self.dropped += 1
                return False
            self._last[alarm.kind, alarm.subject] = time.monotonic()
            return True

    def close(self, timeout: float = 10.0) -> None:
        """Send what waits, for at most `timeout` seconds; what is left then is dropped."""
        end = time.monotonic() + timeout
        while self._queue.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.01)
        self._stop.set()
        with self._lock:
            self.dropped += self._queue.qsize()
        self._thread.join(max(0.0, end - time.monotonic()) + self._timeout + 1)

    def _said(self, alarm: Alarm) -> bool:
        now = time.monotonic()
        if len(self._last) > 4 * self._limit:
            self._last = {k: t for k, t in self._last.items() if now - t < self._quiet}
        said = self._last.get((alarm.kind, alarm.subject))
        return said is not None and now - said < self._quiet

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                alarm = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            try:
                self._deliver(alarm)
            finally:
                self._queue.task_done()

    def _deliver(self, alarm: Alarm) -> None:
        body = json.dumps(asdict(alarm), sort_keys=True, ensure_ascii=False).encode()
        for attempt in range(self._tries):
            if attempt and self._stop.wait(self._pause * 2 ** (attempt - 1)):
                break
            again, why = self._post(body)
            if not why:
                self.sent += 1
                return
            if not again:
                break
        self.failed += 1
        # Neither URL nor subject: a URL may hold a token, a subject names an item.
        _log.warning("an alert of kind %s was not delivered: %s", alarm.kind, why)

    def _post(self, body: bytes) -> tuple[bool, str]:
        """(worth another try, what went wrong; empty for nothing)."""
        headers = {
            "Content-Type": "application/json",
            SIGNATURE: signature(self._secret, body, int(time.time())),
        }
        request = urllib.request.Request(self._url, body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                answer.read(1024)
            return False, ""
        except urllib.error.HTTPError as error:
            with error:
                return error.code >= 500 or error.code in (408, 429), f"HTTP {error.code}"
        except (OSError, http.client.HTTPException) as error:
            return True, type(error).__name__
