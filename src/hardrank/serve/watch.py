"""Around every request: how long it took, what became of it, and that no fault leaks."""

import logging
import time
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hardrank.serve.answers import refusal
from hardrank.serve.logs import LOGGER, tell
from hardrank.serve.metrics import Metrics

__all__ = ["Watch"]

_QUIET = ("GET", "HEAD")


class Watch:
    """Innermost of what wraps the routes. A fault becomes a 500 that says nothing about us,
    and a log line with the type of the exception and where it arose."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _safe(message.get("headers", ()))
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, sent)
        except Exception:
            LOGGER.exception("fault")
            if status:
                raise
            status = 500
            await refusal(500, "something went wrong on our side")(scope, receive, sent)
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.observe(route, method, status, seconds)
        quiet = status < 400 and (method in _QUIET or scope["path"] in _READS)
        quiet = quiet or route.startswith("/v1/health")  # 503 until the model is there
        level = logging.DEBUG if quiet else logging.INFO
        if LOGGER.isEnabledFor(level):
            key = scope.get("hardrank.key")
            tell(
                "request", level=level, route=route, method=method, status=status,
                ms=round(1000 * seconds, 2), key=getattr(key, "id", None),
            )  # fmt: skip


def _safe(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """No browser guesses what an answer is, and nobody on the way keeps it, where the route
    says nothing else."""
    out = list(headers)
    said = {name.lower() for name, _ in out}
    return out + [header for header in _SAFE if header[0] not in said]


_SAFE = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
_READS = ("/v1/recommend", "/v1/score")
