"""Routes that have a role: the key first, then a body of bounded length, then the handler."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from hardrank.serve.answers import Json, Refused
from hardrank.serve.records import KeyRow, Role
from hardrank.serve.schemas import Error

__all__ = ["GuardedRoute", "Lane", "body_within", "guarded", "key_of"]

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
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            read = await self._read(request)
            return await self._shortly(read) or await inner(read)

        return handler

    async def quickly(self, request: Request) -> Response | None:
        """The answer, where that takes no search for arguments; else None, and the key and the
        body, which have been read, stand in the request's scope. Raises `Refused`."""
        return await self._shortly(await self._read(request))

    @cached_property
    def plain(self) -> "_Plain | None":
        """How the endpoint is called without FastAPI's search for arguments, where it takes
        one JSON body and the request, depends on nothing else, and answers with `Json`."""
        if self.param_convertors or self.dependencies or (self.methods or set()) - {"POST", "PUT"}:
            return None
        hints = get_type_hints(self.endpoint, include_extras=True)
        if hints.pop("return", None) is not Json or len(hints) != 2:
            return None
        bodies = [n for n, h in hints.items() if isinstance(h, type) and issubclass(h, BaseModel)]
        requests = [n for n, h in hints.items() if h is Request]
        if len(bodies) != 1 or len(requests) != 1:
            return None
        return _Plain(self.endpoint, hints[bodies[0]], bodies[0], requests[0])

    async def _read(self, request: Request) -> "_Body":
        scope, settings = request.scope, request.app.state.service.settings
        read = _Body(scope, request.receive)
        if "hardrank.body" not in scope:
            scope["hardrank.key"] = await request.app.state.service.door.enter(request, self.role)
            limit = settings.max_bulk_bytes if self.bulk else settings.max_bytes
            scope["hardrank.body"] = await _in_time(request, limit, settings.arrival)
        read._body = scope["hardrank.body"]
        return read

    async def _shortly(self, read: "_Body") -> Response | None:
        body: bytes = read._body
        remembered = read.app.state.service.remembered(read.scope["path"], body, read)
        if remembered is not None:
            return Json(remembered)
        if self.plain is None or not _is_json(read):
            return None
        asked = self.plain.read(body)
        return None if asked is None else await self.plain.answer(asked, read)


@dataclass(frozen=True, slots=True)
class _Plain:
    """An endpoint with one body. FastAPI resolves arguments anew for every request, which
    takes longer than to read and check the body."""

    endpoint: Callable[..., Coroutine[Any, Any, Json]]
    model: type[BaseModel]
    body: str
    request: str

    def read(self, body: bytes) -> BaseModel | None:
        """None for what is not as described: FastAPI says then what is wrong with it."""
        try:
            return self.model.__pydantic_validator__.validate_python(orjson.loads(body))  # type: ignore[no-any-return]
        except (orjson.JSONDecodeError, ValidationError):
            return None

    async def answer(self, asked: BaseModel, request: Request) -> Response:
        return await self.endpoint(**{self.body: asked, self.request: request})


class Lane:
    """Before the router: requests to routes with one fixed path and one JSON body find their
    route in a dictionary. What they cannot answer at once goes on to the router as it came."""

    def __init__(self, app: ASGIApp, routers: Iterable[APIRouter]) -> None:
        self._app = app
        self._routes = {
            (method, route.path): route
            for router in routers
            for route in router.routes
            if isinstance(route, GuardedRoute) and route.plain is not None
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = None
        if scope["type"] == "http" and not scope.get("root_path"):
            route = self._routes.get((scope["method"], scope["path"]))
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        answer = await route.quickly(Request(scope, receive, send))
        await (answer or self._app)(scope, receive, send)


def _is_json(request: Request) -> bool:
    """As most clients say it; whoever says it otherwise goes the longer way."""
    return request.headers.get("content-type") == "application/json"


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
    parts, size, more = list[bytes](), 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request ended before its end")
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size > limit:
            raise Refused(413, f"the request is too large: {limit} bytes at most")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _in_time(request: Request, limit: int, seconds: float) -> bytes:
    """As `body_within`. Raises `Refused` (408) where the body takes longer to arrive."""
    try:
        async with asyncio.timeout(seconds):
            return await body_within(request, limit)
    except TimeoutError:
        raise Refused(408, "the request took too long to arrive", Connection="close") from None


def key_of(request: Request) -> KeyRow:
    """The key that opened the route."""
    key = request.scope["hardrank.key"]
    assert isinstance(key, KeyRow)
    return key
