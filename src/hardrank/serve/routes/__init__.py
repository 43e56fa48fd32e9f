"""One file a resource. `ROUTERS` is all there is."""

from fastapi import APIRouter

from hardrank.serve.routes import (
    bundle,
    events,
    health,
    items,
    metrics,
    openapi,
    quarantine,
    recommend,
    score,
    users,
)

__all__ = ["ROUTERS"]

ROUTERS: tuple[APIRouter, ...] = (
    recommend.router, score.router, items.router, items.bulk, events.router, quarantine.router,
    users.router, bundle.router, metrics.router, openapi.router, health.router,
)  # fmt: skip
