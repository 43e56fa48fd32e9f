"""Requests that nobody sends by accident, over bare sockets, and what an answer may not hold."""

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hardrank.testing.process import ROLES, Process

__all__ = ["LEAKS", "Outcome", "Raw", "attack", "exchange", "hostile", "operations"]

LEAKS = (
    "Traceback", "site-packages", ".py", "/tmp", "/home", "sqlite", "psycopg", "SELECT ",
    "INSERT ", "hardrank.", "hr_", "BEGIN ",
)  # fmt: skip
"""Of an answer to a bad request: traces, paths, statements, keys."""
_WAIT = 10.0
_TEXTS = (
    "", " ", "\x00", "\u202e", "\ud800", "\U0001f600" * 60, "a" * 5_000, "'; DROP TABLE events; --",
    "../../../etc/passwd", "..\\..\\boot.ini", "%00", "${jndi:ldap://x/a}", "{{7*7}}",
    "<script>alert(1)</script>", "\r\nX-Injected: 1", "İ" * 90, "u1", "i1", "NaN", "-1", "true",
    "__proto__", "\ufeff", "\u0000\u0001", "0x1F", "1e400", "null",
)  # fmt: skip
_VALUES: tuple[bytes, ...] = (
    b"NaN", b"Infinity", b"-Infinity", b"null", b"true", b"{}", b"[]", b"[[]]", b"-0", b"1e400",
    b"9" * 400, b"0." + b"1" * 400, b"-1", b"1.5", b"01", b"0x10", b'"\\ud800"', b'"\\u0000"',
    b'"\xff\xfe"', b"'x'", b'"' + b"x" * 20_000 + b'"', b"[" * 2_000 + b"]" * 2_000,
    b'{"a":' * 1_500 + b"1" + b"}" * 1_500,
)  # fmt: skip
_BODIES: tuple[bytes, ...] = (
    b"", b"\x00" * 64, b"\xff\xfe\xfd", b"\xef\xbb\xbf{}", b"{", b'{"a":1,}', b"[1,2", b"nul",
    b'{"user_id":"u1","user_id":["x"],"k":5,"k":"5"}', b"\x1f\x8b\x08\x00broken gzip",
    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--", b"a=1&b=2",
    b"[" * 1_000_000, b'{"a":' * 200_000, b"[" * 400_000 + b"]" * 400_000,
    b'{"user_id":"' + b"x" * 5_000_000 + b'"}', b'{"k":' + b"9" * 400 + b"}",
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>',
    b"\n" * 30_000, b'{"item_id":"x"}\n' * 2_000,
)  # fmt: skip
_HEADS: tuple[str, ...] = (
    "Content-Encoding: gzip", "Content-Encoding: br, zstd, what", "Transfer-Encoding: identity",
    "Expect: 100-continue", "Expect: 200-maybe", "Upgrade: websocket\r\nConnection: Upgrade",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings", "Range: bytes=0-99999999999",
    "X-Forwarded-For: 127.0.0.1", "X-HTTP-Method-Override: DELETE", "Accept: \x01\x02",
    "Authorization: Basic YWRtaW46YWRtaW4=", "Authorization: Bearer", "Cookie: " + "a=b; " * 900,
    "X-API-Key: hr_000000000000_" + "A" * 43, "Content-Type: application/json; charset=utf-16",
    "Content-Type: multipart/form-data", "Content-Type: text/plain", "Origin: null",
    "If-None-Match: *", "Host: evil.example", "X-" + "y" * 9_000 + ": z",
)  # fmt: skip
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "CONNECT")
_PATHS = (
    "/", "//", "/v1", "/v1/items/", "/v1/items/%00", "/v1/items/%ff%fe", "/v1/items/" + "x" * 9_000,
    "/v1/items/..%2f..%2f..%2fetc%2fpasswd", "/../../../../etc/passwd", "/console/../../etc/passwd",
    "/console/..%2f..%2fsettings.py", "/console/%2e%2e/%2e%2e/x", "/v1/users/", "/v1/users/%0d%0aX",
    "/v1/quarantine/-1/admit", "/v1/quarantine/" + "9" * 400 + "/admit", "/v1/quarantine?limit=NaN",
    "/v1/quarantine?limit=1e9&after=-1", "/metrics?x=" + "y" * 9_000, "/openapi.json/..", "/docs",
    "/v1/items/a'%20OR%201=1--", "/v1/items/%ed%a0%80", "/v1/items/a%00b", "*", "http://x/v1/health",
    "/v1/recommend#x", "/v1/recommend?k=5", "/v1/items/\xff", "/v1/../v1/health", "/v1/bundle/",
)  # fmt: skip


@dataclass(frozen=True)
class Raw:
    """Bytes for one connection."""

    content: bytes
    whole: bool = True
    """Whether an answer (or the end of the connection) is owed."""


@dataclass
class Outcome:
    """What many such requests led to."""

    sent: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    """0: the connection was closed without an answer."""
    bad: list[str] = field(default_factory=list)
    slowest: float = 0.0
    """Seconds to the end of an exchange that was owed an answer."""


def attack(process: Process, requests: int, seed: int = 0) -> Outcome:
    """Send so many, one connection each, and look at every answer."""
    rng, out, known = np.random.default_rng(seed), Outcome(), operations(process)
    for _ in range(requests):
        raw = hostile(rng, process.keys, known)
        out.sent, began = out.sent + 1, time.monotonic()
        answer = exchange(process.port, raw)
        if raw.whole:
            out.slowest = max(out.slowest, time.monotonic() - began)
        out.codes[_status(answer)] += 1
        if wrong := _wrong(answer, raw):
            out.bad.append(f"{wrong}: {raw.content[:300]!r} -> {(answer or b'')[:300]!r}")
    return out


def operations(process: Process) -> list[tuple[str, str, dict[str, Any] | None]]:
    """(method, path, schema of the body or None) of everything that is described."""
    said = process.ask("admin", "GET", "/openapi.json").json()
    out = list[tuple[str, str, dict[str, Any] | None]]()
    for path, methods in said["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            whole = None if schema is None else {**schema, "$all": said["components"]["schemas"]}
            out.append((method.upper(), path, whole))
    return out


def hostile(
    rng: np.random.Generator, keys: Mapping[str, str],
    known: Sequence[tuple[str, str, dict[str, Any] | None]],
) -> Raw:  # fmt: skip
    """One bad request; about half of them are almost good."""
    kinds: tuple[Callable[..., Raw], ...] = (_near, _near, _near, _body, _path, _head, _framing)
    return kinds[int(rng.integers(len(kinds)))](rng, keys, known)


def exchange(port: int, raw: Raw) -> bytes | None:
    """The answer as far as it came; b"" for a closed connection, None for no end within ten
    seconds."""
    began, got = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", port), timeout=_WAIT) as s:
        try:
            s.sendall(raw.content)
            s.settimeout(_WAIT if raw.whole else 0.05)
            while not _ended(got, raw.content):
                if time.monotonic() - began > _WAIT:
                    return None
                part = s.recv(65_536)
                if not part:
                    break
                got += part
        except TimeoutError:
            return None if raw.whole else got
        except OSError:  # closed while we were sending still
            return got
    return got


def _ended(got: bytes, sent: bytes) -> bool:
    head, gap, body = got.partition(b"\r\n\r\n")
    if not gap:
        return False
    if head.startswith(b"HTTP/1.1 100"):
        return _ended(body, sent)
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    if sent.startswith(b"HEAD") or b"event-stream" in head:
        return True
    return length is not None and len(body) >= int(length[1])


def _status(answer: bytes | None) -> int:
    """Of the answer proper, not of a `100 Continue` before it."""
    found = re.findall(rb"HTTP/1\.1 (\d{3})", (answer or b"")[:200])
    return int(next((code for code in found if code != b"100"), 0))


def _wrong(answer: bytes | None, raw: Raw) -> str:
    if answer is None:
        return "no answer"
    status = _status(answer)
    if status >= 500 and status != 503:
        return f"status {status}"
    if status == 503 and b"retry-after" not in answer.lower() and b"/health" not in raw.content:
        return "503 without Retry-After"
    if status >= 400:
        text = answer.decode("utf-8", "replace")
        return next((f"leaks {leak}" for leak in LEAKS if leak in text), "")
    return ""


def _near(rng: Any, keys: Mapping[str, str], known: Any) -> Raw:
    """As described, with something wrong here and there."""
    method, path, schema = known[rng.integers(len(known))]
    path = re.sub(r"\{[^}]*\}", lambda _: _quoted(_pick(rng, _TEXTS)), path)
    body = b"" if schema is None else _made(rng, schema, schema["$all"], 0)
    return Raw(_request(rng, keys, method, path, body))


def _body(rng: Any, keys: Mapping[str, str], known: Any) -> Raw:
    """Any body to any route."""
    method, path, _ = known[rng.integers(len(known))]
    path = re.sub(r"\{[^}]*\}", "1", path)
    return Raw(_request(rng, keys, method, path, _rarely_large(rng)))


def _path(rng: Any, keys: Mapping[str, str], known: Any) -> Raw:
    return Raw(
        _request(rng, keys, _pick(rng, _METHODS), _pick(rng, _PATHS), b"", more="Connection: close")
    )


def _head(rng: Any, keys: Mapping[str, str], known: Any) -> Raw:
    """Strange headers over a plain request."""
    more = "\r\n".join(_pick(rng, _HEADS) for _ in range(rng.integers(1, 4)))
    body = json.dumps({"user_id": "u1", "k": 3}).encode()
    return Raw(_request(rng, keys, "POST", "/v1/recommend", body, more=more))


def _framing(rng: Any, keys: Mapping[str, str], known: Any) -> Raw:
    """Where one request ends and the next begins."""
    key = f"Host: x\r\nAuthorization: Bearer {keys['read']}\r\nContent-Type: application/json\r\n"
    line, good = "POST /v1/recommend HTTP/1.1\r\n" + key, '{"user_id":"u1"}'
    second = f"GET /metrics HTTP/1.1\r\n{key}\r\n"
    cases = (
        (f"{line}Content-Length: 5\r\nContent-Length: 16\r\n\r\n{good}", True),
        (f"{line}Content-Length: 16, 16\r\n\r\n{good}", True),
        (f"{line}Content-Length: -1\r\n\r\n{good}", True),
        (f"{line}Content-Length: +16\r\n\r\n{good}", True),
        (f"{line}Content-Length: 0x10\r\n\r\n{good}", True),
        (f"{line}Content-Length: {'9' * 40}\r\n\r\n{good}", True),
        (f"{line}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}", True),
        (f"{line}Transfer-Encoding: chunked\r\n\r\nzz\r\n{good}\r\n0\r\n\r\n", True),
        (f"{line}Transfer-Encoding: chunked\r\n\r\n{'f' * 30}\r\n{good}", True),
        (f"{line}Transfer-Encoding: chunked\r\n\r\n-5\r\n{good}\r\n0\r\n\r\n", True),
        (f"{line}Transfer-Encoding: chunked\r\n\r\n3\r\n{good}\r\n0\r\n\r\n", True),
        (f"{line}Transfer-Encoding: chunked\r\n\r\n10\r\n{good}\r\n0\r\n\r\n", True),
        (f"{line}Transfer-Encoding: chunked, gzip\r\n\r\n10\r\n{good}\r\n0\r\n\r\n", False),
        (f"{line}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", True),
        (f"{line}Transfer-Encoding:\tchunked\r\n\r\n10\r\n{good}\r\n0\r\n\r\n", True),
        (f"{line}Content-Length: 16\r\n\r\n{good}{line}Content-Length: 16\r\n\r\n{good}", True),
        (f"{line}Content-Length: 16\r\n\r\n{good}{second}{second}", True),
        (f"{line}Content-Length: 900\r\n\r\n{good}", False),
        (f"POST /v1/recommend HTTP/1.0\r\n{key}Content-Length: 16\r\n\r\n{good}", True),
        (f"POST /v1/recommend HTTP/9.9\r\n{key}Content-Length: 16\r\n\r\n{good}", True),
        ("GET /v1/health\r\n\r\n", True),
        (f"GET /v1/health HTTP/1.1\n{key.replace(chr(13), '')}\n", False),
        (f"GET /v1/health HTTP/1.1\r\n X: folded\r\n{key}\r\n", True),
        (f"GET /v1/health HTTP/1.1\r\nX\r\n: y\r\n{key}\r\n", True),
        (f"GET /v1/health HTTP/1.1\r\nA: b\x00c\r\n{key}\r\n", True),
        (f"GET /v1/health HTTP/1.1\r\n{'A: b' * 9}\r\n" + "X: y\r\n" * 30_000 + "\r\n", True),
        ("GET /v1/health HTTP/1.1\r\nX: " + "y" * 900_000 + "\r\n\r\n", True),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", True),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", True),
        ("\r\n\r\n\r\n", False),
        ("", False),
    )  # fmt: skip
    content, whole = cases[rng.integers(len(cases))]
    return Raw(content.encode("latin-1"), whole)


def _request(
    rng: Any, keys: Mapping[str, str], method: str, path: str, body: bytes, more: str = ""
) -> bytes:
    role = _pick(rng, (*ROLES, "admin", ""))
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"Authorization: Bearer {keys[role]}"] if role else []
    lines += [more] if more else []
    if "Content-Type" not in more:
        lines.append("Content-Type: application/json")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def _rarely_large(rng: Any) -> bytes:
    """Any of the bodies; those of megabytes once in a while."""
    body = bytes(_pick(rng, _BODIES))
    return body if len(body) < 100_000 or rng.random() < 0.1 else body[:2_000]


def _made(rng: Any, schema: Mapping[str, Any], every: Mapping[str, Any], depth: int) -> bytes:
    """JSON that fits the schema, but for one value in eight or so."""
    if rng.random() < 0.12:
        return bytes(_pick(rng, _VALUES))
    if "$ref" in schema:
        return _made(rng, every[schema["$ref"].rsplit("/", 1)[1]], every, depth)
    if "anyOf" in schema or "oneOf" in schema:
        options = schema.get("anyOf") or schema["oneOf"]
        return _made(rng, options[rng.integers(len(options))], every, depth)
    if "enum" in schema or "const" in schema:
        return json.dumps(_pick(rng, schema.get("enum") or [schema["const"]])).encode()
    kind = schema.get("type")
    if kind == "object":
        return _object(rng, schema, every, depth)
    if kind == "array" and depth < 6:
        size = int(rng.integers(0, 4))
        items = schema.get("items", {})
        return b"[" + b",".join(_made(rng, items, every, depth + 1) for _ in range(size)) + b"]"
    if kind == "string":
        return json.dumps(_pick(rng, ("u1", "i1", "u2", *_TEXTS))).encode()
    if kind in ("integer", "number"):
        return str(_pick(rng, (0, 1, 5, -1, 200, 201, 1 << 40, 1 << 63, 10**30))).encode()
    return b"true" if kind == "boolean" else b"null"


def _object(rng: Any, schema: Mapping[str, Any], every: Mapping[str, Any], depth: int) -> bytes:
    wanted = schema.get("required", ())
    named = {
        json.dumps(name): _made(rng, inner, every, depth + 1)
        for name, inner in schema.get("properties", {}).items()
        if name in wanted or rng.random() < 0.5
    }
    free = schema.get("additionalProperties")
    if isinstance(free, dict) or rng.random() < 0.05:
        inner = free if isinstance(free, dict) else {}
        named[json.dumps(_pick(rng, ("title", "brand", *_TEXTS)))] = _made(
            rng, inner, every, depth + 1
        )
    return b"{" + b",".join(n.encode() + b":" + v for n, v in named.items()) + b"}"


def _pick(rng: Any, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text.encode("utf-8", "surrogatepass"), safe="")
