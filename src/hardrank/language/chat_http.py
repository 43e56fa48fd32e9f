"""Requests to a chat endpoint: paced, repeated, and never sent elsewhere."""

import datetime
import email.utils
import functools
import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardrank.encoders.cache import cache_folder
from hardrank.errors import DataError, HardrankError, Unsupported
from hardrank.files import digest_bytes
from hardrank.language.answers import Answers
from hardrank.language.chat import Endpoint
from hardrank.language.checkpoints import legal

__all__ = ["Session", "session"]

_AGAIN = frozenset({408, 425, 429})
_LARGEST = 8 * 2**20
"""Bytes of a reply; more is no answer to a prompt."""
_SHOWN = 200
"""Characters of a server's own words in an error."""


class _Failed(Exception):
    """One try came to nothing, and another may do better."""

    def __init__(self, why: str, *, wait: float = 0.0, garbled: bool = False) -> None:
        super().__init__(why)
        self.wait, self.garbled = wait, garbled


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key and the texts to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass
class _Pace:
    """Evenly spaced turns for many threads."""

    gap: float
    """Seconds."""

    def __post_init__(self) -> None:
        self._lock, self._next = threading.Lock(), 0.0

    def turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self.gap
        time.sleep(at - now)


def session(spec: Endpoint) -> "Session":
    """The one session of this process for a spec: its pace and its kept answers."""
    return _session(spec, cache_folder(None))


@functools.cache
def _session(spec: Endpoint, folder: Path) -> "Session":
    return Session(spec, folder)


class Session:
    def __init__(self, spec: Endpoint, folder: Path) -> None:
        """`folder`: where answers are kept, if the spec keeps them."""
        self._spec = spec
        base = spec.url.rstrip("/")
        self._url = base if base.endswith("/chat/completions") else base + "/chat/completions"
        name = digest_bytes(self._url.encode(), spec.model.encode())[:16]
        self._answers = Answers(folder / "answers" / f"{name}.jsonl" if spec.keep else None)
        self._pace = _Pace(60.0 / spec.per_minute)
        self._opener = urllib.request.build_opener(_NoRedirect)

    def complete(self, prompts: Sequence[str]) -> list[str]:
        prompts = [legal(p) for p in prompts]
        keys = {prompt: self._key(prompt) for prompt in prompts}
        missing = [p for p, key in keys.items() if self._answers.get(key) is None]
        if missing:
            self._ask_all(missing, keys)
        return [str(self._answers.get(keys[p])) for p in prompts]

    def _ask_all(self, prompts: Sequence[str], keys: dict[str, str]) -> None:
        headers = self._headers()
        stop = threading.Event()

        def ask(prompt: str) -> HardrankError | None:
            if stop.is_set():
                return None
            try:
                self._answers.put(keys[prompt], self._ask(prompt, headers))
            except HardrankError as error:
                stop.set()  # what is wrong with one is most likely wrong with all
                return error
            return None

        with ThreadPoolExecutor(self._spec.concurrency) as pool:
            try:
                errors = [e for e in pool.map(ask, prompts) if e is not None]
            except BaseException:
                stop.set()
                raise
        if errors:
            raise errors[0]

    def _ask(self, prompt: str, headers: dict[str, str]) -> str:
        wait = self._spec.wait
        for left in reversed(range(self._spec.tries)):
            self._pace.turn()
            try:
                return self._once(prompt, headers)
            except _Failed as failed:
                if left == 0:
                    raise self._given_up(failed) from failed
                if failed.wait > self._spec.patience:
                    raise Unsupported(
                        f"{self._url} asks to wait {failed.wait:.0f} s, longer than the patience "
                        f"of {self._spec.patience:g} s; try later, ask for fewer per minute "
                        "(per_minute), or raise patience"
                    ) from failed
                time.sleep(min(max(wait, failed.wait), self._spec.patience))
                wait *= 2
        raise AssertionError("tries is at least 1")

    def _once(self, prompt: str, headers: dict[str, str]) -> str:
        body = json.dumps(self._payload(prompt)).encode()
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._spec.timeout) as reply:
                return _answer(reply.read(_LARGEST + 1))
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error)
        # URLError, time-outs and broken connections; HTTPException: a reply cut short.
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise _Failed(f"no answer ({reason!s:.{_SHOWN}})") from error
        raise AssertionError("_refused raises")

    def _refused(self, error: urllib.error.HTTPError) -> None:
        if error.code in _AGAIN or error.code >= 500:
            raise _Failed(f"status {error.code}", wait=_asked_wait(error)) from error
        said = error.read(4 * _SHOWN).decode("utf-8", "replace")[:_SHOWN].strip()
        remedy = {
            401: f"check the key in {self._spec.key or 'an environment variable named by `key`'}",
            403: f"check the key in {self._spec.key or 'an environment variable named by `key`'}",
            404: "check url (it should end in /v1) and model",
        }.get(error.code, "check url and model")
        if 300 <= error.code < 400:
            remedy = f"it redirects to {error.headers.get('Location')}: give that instead"
        raise Unsupported(f"{self._url}: status {error.code} ({said}); {remedy}") from error

    def _given_up(self, failed: _Failed) -> HardrankError:
        tries = f"after {self._spec.tries} tries" if self._spec.tries > 1 else "at the only try"
        if failed.garbled:
            return DataError(
                f"{failed} {tries}", path=self._url,
                remedy="check that it speaks the OpenAI chat protocol, and max_tokens",
            )  # fmt: skip
        return Unsupported(
            f"{self._url}: {failed} {tries}; check that the server runs, or raise timeout, tries "
            "or wait; answers so far are kept"
        )

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._spec.key is None:
            return headers
        secret = os.environ.get(self._spec.key, "").strip()
        if not secret:
            raise Unsupported(
                f"no API key for {self._url}: set the environment variable {self._spec.key}"
            )
        return {**headers, "Authorization": f"Bearer {secret}"}

    def _payload(self, prompt: str) -> dict[str, Any]:
        return {
            "model": self._spec.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "seed": self._spec.seed,
            "max_tokens": self._spec.max_tokens,
        }

    def _key(self, prompt: str) -> str:
        payload = json.dumps(self._payload(prompt), sort_keys=True)
        return digest_bytes(self._url.encode(), payload.encode())


def _answer(body: bytes) -> str:
    if len(body) > _LARGEST:
        raise _Failed(f"a reply of more than {_LARGEST >> 20} MB", garbled=True)
    try:
        reply = json.loads(body)
    except ValueError as error:
        shown = body[:_SHOWN].decode("utf-8", "replace")
        raise _Failed(f"a reply that is no JSON ({shown!r})", garbled=True) from error
    try:
        content = reply["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise _Failed(f"a reply without choices ({str(reply)[:_SHOWN]})", garbled=True) from error
    if not isinstance(content, str):
        raise _Failed(f"an answer that is no text ({str(content)[:_SHOWN]})", garbled=True)
    return content


def _asked_wait(error: urllib.error.HTTPError) -> float:
    """Seconds of `Retry-After`: a number, or a date (RFC 9110, section 10.2.3); else 0."""
    said = str(error.headers.get("Retry-After", "")).strip()
    if said.replace(".", "", 1).isascii() and said.replace(".", "", 1).isdigit():
        return float(said)
    try:
        date = email.utils.parsedate_to_datetime(said)
    except ValueError:  # absent, or of a form nobody knows
        return 0.0
    date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
    return max(0.0, (date - datetime.datetime.now(datetime.UTC)).total_seconds())
