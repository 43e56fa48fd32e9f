"""The application: routes, faults, limits and life of one service process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hardrank import __version__
from hardrank.errors import DataError
from hardrank.serve.answers import Refused, on_http, on_invalid, on_refused, refusal
from hardrank.serve.errors import (
    CatalogueFull,
    Conflict,
    NotFound,
    StoreError,
    StoreUnavailable,
)
from hardrank.serve.guarded_route import GuardedRoute, Lane
from hardrank.serve.ingest import Inspector
from hardrank.serve.loading import load_engine
from hardrank.serve.routes import ROUTERS
from hardrank.serve.service import Loader, Service
from hardrank.serve.settings import Settings
from hardrank.serve.store import Store
from hardrank.serve.watch import Watch

__all__ = ["create_app"]


def create_app(
    settings: Settings,
    *,
    store: Store | None = None,
    guard: Inspector | None = None,
    loader: Loader = load_engine,
) -> FastAPI:
    """The service as an ASGI application. store: None opens the one of the settings; guard:
    what listings pass, None: what the bundle brings; loader: how a bundle becomes an engine.

    Raises `StoreError` where the store cannot be opened. The bundle is loaded while the
    application runs: until then, and where it is refused, popularity answers.
    """
    service = Service(settings, store or Store.open(settings.store), guard, loader)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="Hardrank",
        version=__version__,
        description="Recommendations from a hardened model behind guards.",
        lifespan=life,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    app.router.middleware_stack = Lane(app.router.middleware_stack, ROUTERS)
    for kind, answer in _FAULTS.items():
        app.add_exception_handler(kind, answer)
    app.add_middleware(Watch, metrics=service.metrics)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


async def _store_fault(_: Request, error: Exception) -> Response:
    """The message of a store's fault names hosts and files: it is for the log alone."""
    if isinstance(error, NotFound):
        return refusal(404, "there is no such thing")
    if isinstance(error, Conflict):
        return refusal(409, "this was decided already")
    wait = "1" if isinstance(error, StoreUnavailable) else "30"
    answer = refusal(503, "the store cannot be used at the moment; try again")
    answer.headers["Retry-After"] = wait
    return answer


async def _data_fault(_: Request, error: Exception) -> Response:
    return refusal(422, "a text or an id cannot be stored")


async def _full(_: Request, error: Exception) -> Response:
    return refusal(422, "the catalogue is full: no new items")


_FAULTS: dict[Any, Any] = {
    Refused: on_refused,
    HTTPException: on_http,
    RequestValidationError: on_invalid,
    StoreError: _store_fault,
    DataError: _data_fault,
    CatalogueFull: _full,
}


def _described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI with the role that each operation needs."""
    if app.openapi_schema is None:
        found = FastAPI.openapi(app)
        found.setdefault("components", {})["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "hr_..."}
        }
        for router in ROUTERS:
            for route in router.routes:
                if isinstance(route, GuardedRoute) and route.include_in_schema:
                    for method in route.methods or ():
                        operation = found["paths"][route.path_format][method.lower()]
                        operation["security"] = [{"key": []}]
                        operation["x-role"] = route.role
    assert app.openapi_schema is not None
    return app.openapi_schema
