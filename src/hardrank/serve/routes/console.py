"""`/console`: the page for people. It holds no data; those it fetches with a key."""

from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hardrank.serve.answers import Refused
from hardrank.serve.report import PATH, allowed, report_of
from hardrank.serve.service import Service

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_KINDS = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}
_PARTS = (
    "console.css", "icon.svg",
    "audit.js", "console.js", "exposure.js", "health.js", "parts.js", "playground.js",
    "quarantine.js", "report.js",
)  # fmt: skip
_PLAIN = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAGE = _PLAIN | {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
}
_REPORT = _PLAIN | {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Cache-Control": "no-store",
}


@router.get("/console")
async def page(request: Request) -> Response:
    """The page itself."""
    return _file(request, "index.html")


@router.get(PATH)
async def report(
    request: Request,
    until: Annotated[int, Query(ge=0, le=1 << 53)],
    mark: Annotated[str, Query(min_length=64, max_length=64)],
) -> Response:
    """The audit report of the live bundle, in a frame that runs nothing."""
    service: Service = request.app.state.service
    _switched_on(service)
    service.door.wary(request)
    if not await service.on_store(allowed, service.store, until, mark):
        service.door.missed(request)
        raise Refused(403, "this link was good for a minute; open the report again")
    found = await service.on_store(report_of, service.settings.bundle, service.live.digest)
    if found is None:
        raise Refused(404, "the live bundle has no report")
    return Response(found, headers=_REPORT, media_type="text/html")


@router.get("/console/{name}")
async def part(name: str, request: Request) -> Response:
    """Its style, scripts and icon."""
    if name not in _PARTS:
        raise Refused(404, "no such thing here")
    return _file(request, name)


def _file(request: Request, name: str) -> Response:
    _switched_on(request.app.state.service)
    found = resources.files("hardrank.serve").joinpath("console", name).read_bytes()
    return Response(found, headers=_PAGE, media_type=_KINDS[name.rpartition(".")[2]])


def _switched_on(service: Service) -> None:
    if not service.settings.console:
        raise Refused(404, "no such thing here")
