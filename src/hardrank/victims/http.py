"""A victim behind a URL: one connection, deadlines, tries with back-off."""

import contextlib
import http.client
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from hardrank.errors import VictimError
from hardrank.types import Scores
from hardrank.victims.line import Traffic
from hardrank.victims.pace import Pace, retry_after
from hardrank.victims.question import VERSION, Answers, Question, read_answer

__all__ = ["HttpPort", "Terms"]

_CHUNK = 1 << 16
_SMALL = 16 << 20
"""Bytes that any answer may have."""
_PER_SCORE = 256
"""Bytes that an answer may have for each score asked for, beyond `_SMALL`."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a service says of itself in `GET .../contract`; all of it is optional."""

    answers: Answers | None = None
    max_queries: int | None = None
    max_candidates: int | None = None


class _Again(Exception):
    """This try failed; another one may do. `wait`: seconds that the service asks for."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


@dataclass(eq=False, kw_only=True)
class HttpPort:
    """POSTs questions to one URL and reads the answers.

    Tried again: refused or lost connections, no whole answer within `timeout`, 5xx, 408, 425
    and 429 (with `Retry-After` if there is one). Everything else is said at once.
    """

    url: str
    timeout: float = 60.0
    """Seconds from the start of a request to the last byte of its answer."""
    retries: int = 4
    """Tries after the first."""
    token: str = ""
    """Sent as `Authorization: Bearer ...`; never shown."""
    pace: Pace = field(default_factory=Pace)
    traffic: Traffic = field(default_factory=Traffic)
    _line: http.client.HTTPConnection | None = None

    @property
    def name(self) -> str:
        return self.url

    def ask(self, question: Question) -> tuple[Answers, Scores]:
        limit = _SMALL + _PER_SCORE * question.size
        content = self._tried("POST", self._path(), question.body(), limit)
        return read_answer(self._json(content), question, self.url)

    def terms(self) -> Terms:
        """What `GET .../contract` says; nothing where there is no such page.

        Raises `VictimError` for another version of the contract."""
        try:
            content = self._tried("GET", self._path("contract"), None, _SMALL)
        except _NoSuchPage:
            return Terms()
        return _terms(self._json(content), f"{self.url}: GET contract")

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _tried(self, method: str, path: str, body: bytes | None, limit: int) -> bytes:
        tries = 0
        while True:
            tries += 1
            try:
                return self._once(method, path, body, limit)
            except _Again as trouble:
                self.close()
                if tries > self.retries:
                    raise VictimError(self._gave_up(str(trouble), tries)) from trouble
                self.traffic.retries += 1
                if self.pace.wait(tries, trouble.wait) is None:
                    raise VictimError(
                        f"{self.url}: {trouble}; it asks to wait {trouble.wait:g} s, more than "
                        f"{self.pace.longest:g} s; run again then: what was answered is kept"
                    ) from trouble

    def _gave_up(self, what: str, tries: int) -> str:
        times = "once" if tries == 1 else f"{tries} times"
        return (
            f"{self.url}: {what}; asked {times}; check that the service runs and can take such "
            "requests (victim.timeout, retries, requests_per_second, queries_per_request, "
            "candidates_per_request), then run again: what was answered is kept"
        )

    def _once(self, method: str, path: str, body: bytes | None, limit: int) -> bytes:
        """One try. Raises `_Again` where another may do, `VictimError` where none will."""
        self.pace.await_turn()
        self.traffic.requests += 1
        deadline = self.pace.clock() + self.timeout
        try:
            answer = self._sent(method, path, body)
            content = self._read(answer, deadline, limit)
        except TimeoutError as error:
            raise _Again(f"no whole answer within {self.timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            what = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise _Again(f"no answer ({what})") from error
        if answer.will_close:
            self.close()
        self._judge(answer, content, method)
        return content

    def _sent(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        """Over the open connection; over a new one where the service had closed that."""
        if self._line is not None:
            with contextlib.suppress(ConnectionError):
                self._line.request(method, path, body, self._headers())
                return self._line.getresponse()
            self.close()
        line = self._connected()
        line.request(method, path, body, self._headers())
        return line.getresponse()

    def _judge(self, answer: http.client.HTTPResponse, content: bytes, method: str) -> None:
        status = answer.status
        if 200 <= status < 300:
            return
        what = f"answered {status} {answer.reason}".rstrip() + _excerpt(content)
        if status >= 500 and not (method == "GET" and status == 501):
            raise _Again(what, retry_after(answer.getheader("Retry-After"), time.time()))
        if status in (408, 425, 429):
            raise _Again(what, retry_after(answer.getheader("Retry-After"), time.time()))
        if method == "GET":
            raise _NoSuchPage(what)
        if 300 <= status < 400:
            what += f"; give the address it leads to: {answer.getheader('Location')}"
        raise VictimError(f"{self.url}: {what}")

    def _connected(self) -> http.client.HTTPConnection:
        if self._line is None:
            at = urlsplit(self.url)
            made: Callable[..., http.client.HTTPConnection] = (
                http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection
            )
            self._line = made(at.hostname, at.port, timeout=self.timeout)
        return self._line

    def _read(self, answer: http.client.HTTPResponse, deadline: float, limit: int) -> bytes:
        """All of it, unless it takes too long (also byte by byte) or is far too large."""
        parts, size = [], 0
        while part := answer.read1(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > limit:
                self.close()
                raise VictimError(f"{self.url}: answered more than {limit} bytes")
            if self.pace.clock() > deadline:
                raise TimeoutError
        if answer.length:  # what `Content-Length` promised and did not come
            raise http.client.IncompleteRead(b"", answer.length)
        answer.close()  # then the connection is free for the next request
        return b"".join(parts)

    def _path(self, page: str = "") -> str:
        at = urlsplit(self.url)
        path = f"{at.path.rstrip('/')}/{page}" if page else at.path or "/"
        return f"{path}?{at.query}" if at.query else path

    def _headers(self) -> Mapping[str, str]:
        fixed = {"Content-Type": "application/json", "Accept": "application/json"}
        return fixed | ({"Authorization": f"Bearer {self.token}"} if self.token else {})

    def _json(self, content: bytes) -> Any:
        try:
            return json.loads(content, parse_constant=float)
        except (ValueError, RecursionError) as error:
            raise VictimError(
                f"{self.url}: the answer is not JSON{_excerpt(content)}; see docs/victims.md"
            ) from error


class _NoSuchPage(VictimError):
    """The service has no `contract` page: it need not."""


def _terms(said: object, source: str) -> Terms:
    if not isinstance(said, dict):
        raise VictimError(f"{source}: not a JSON object; see docs/victims.md")
    version = said.get("version", VERSION)
    if version != VERSION:
        raise VictimError(
            f"{source}: speaks version {version!r} of the contract, this hardrank speaks {VERSION}"
        )
    answers = said.get("answers")
    if answers not in (None, "scores", "ranks"):
        raise VictimError(f"{source}: 'answers' is {answers!r}; allowed: 'scores', 'ranks'")
    for name in ("max_queries", "max_candidates"):
        value = said.get(name)
        if value is not None and (isinstance(value, bool) or not _positive(value)):
            raise VictimError(f"{source}: '{name}' is {value!r} instead of a whole number above 0")
    return Terms(
        answers=answers,
        max_queries=said.get("max_queries"),
        max_candidates=said.get("max_candidates"),
    )


def _positive(value: object) -> bool:
    return isinstance(value, int) and value >= 1 and math.isfinite(value)


def _excerpt(content: bytes) -> str:
    with contextlib.suppress(UnicodeDecodeError):
        text = " ".join(content[:800].decode().split())[:200]
        return f": {text}" if text else ""
    return ""
