"""Routes that have a role: the key first, then a body of bounded length, then the handler."""

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from hardrank.serve.answers import Json, Refused
from hardrank.serve.records import KeyRow, Role
from hardrank.serve.schemas import Error

__all__ = ["GuardedRoute", "body_within", "guarded", "key_of"]

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "The request cannot be read."},
    401: {"model": Error, "description": "No key, or a wrong one."},
    403: {"model": Error, "description": "The key lacks the role."},
    404: {"model": Error, "description": "No such thing."},
    413: {"model": Error, "description": "The body is too large."},
    422: {"model": Error, "description": "The request is not as described."},
    429: {"model": Error, "description": "Too many requests; see Retry-After."},
    503: {"model": Error, "description": "The store is away; see Retry-After."},
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _Body(Request):
    """JSON by orjson: it refuses NaN, lone surrogates and endless nesting."""

    async def json(self) -> Any:
        return orjson.loads(await self.body())


class GuardedRoute(APIRoute):
    """Subclasses have a role."""

    role: Role
    bulk = False

    def get_route_handler(self) -> Handler:
        inner, role, bulk = super().get_route_handler(), self.role, self.bulk

        async def handler(request: Request) -> Response:
            service = request.app.state.service
            request.scope["hardrank.key"] = await service.door.enter(request, role)
            settings = service.settings
            limit = settings.max_bulk_bytes if bulk else settings.max_bytes
            read = _Body(request.scope, request.receive)
            read._body = await body_within(request, limit)
            remembered = service.remembered(request.url.path, read._body, request)
            if remembered is not None:
                return Json(remembered)
            return await inner(read)

        return handler


def guarded(role: Role, tag: str, *, bulk: bool = False) -> APIRouter:
    """A router whose routes need a key of `role` (or an admin's)."""
    made = type(f"Guarded_{role}", (GuardedRoute,), {"role": role, "bulk": bulk})
    return APIRouter(route_class=made, tags=[tag], responses=_REFUSALS, default_response_class=Json)


async def body_within(request: Request, limit: int) -> bytes:
    """The body. Raises `Refused` (413) as soon as it is known to be longer than `limit`."""
    said = request.headers.get("content-length", "0")
    if not said.isascii() or not said.isdigit():
        raise Refused(400, "the length of the body is no number")
    if len(said) > 18 or int(said) > limit:
        raise Refused(413, f"the request is too large: {limit} bytes at most")
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise Refused(413, f"the request is too large: {limit} bytes at most")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def key_of(request: Request) -> KeyRow:
    """The key that opened the route."""
    key = request.scope["hardrank.key"]
    assert isinstance(key, KeyRow)
    return key
