"""JSON out: orjson, refusals of one form, nothing that was asked is said back."""

import re
from typing import Any

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

__all__ = ["Json", "Refused", "refusal"]


class Json(Response):
    """Plain dicts, lists, strings and finite numbers; bytes are taken as JSON already."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else orjson.dumps(content)


class Refused(Exception):
    """A request is turned down: status, one sentence, and headers."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def refusal(status: int, why: str, problems: list[dict[str, str]] | None = None) -> Json:
    return Json({"error": why, "problems": problems or []}, status_code=status)


async def on_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    answer = refusal(error.status, error.why)
    answer.headers.update(error.headers)
    return answer


async def on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = refusal(error.status_code, _PLAIN.get(error.status_code, "refused"))
    answer.headers.update(error.headers or {})
    return answer


async def on_invalid(_: Request, error: Exception) -> Response:
    """Where and what, never the value: it may be secret, endless, or no JSON at all."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()[:20]
    problems = [
        {"where": ".".join(_plain(part) for part in e["loc"])[:200], "what": str(e["msg"])[:200]}
        for e in found
    ]
    return refusal(422, "the request is not as described", problems)


def _plain(part: Any) -> str:
    """A place in the request. Names that cannot be those of fields are not said back."""
    return str(part) if isinstance(part, int) or _NAME.fullmatch(str(part)) else "?"


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}|\[key\]", re.ASCII)
_PLAIN = {
    400: "the request cannot be read",
    404: "no such thing here",
    405: "this cannot be done here",
    413: "the request is too large",
}
