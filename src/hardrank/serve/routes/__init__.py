"""One file a resource. `ROUTERS` is all there is."""

from fastapi import APIRouter

from hardrank.serve.routes import (
    bundle,
    console,
    events,
    health,
    held,
    items,
    metrics,
    monitors,
    openapi,
    overview,
    playground,
    quarantine,
    recommend,
    reviews,
    score,
    users,
)

__all__ = ["ROUTERS"]

ROUTERS: tuple[APIRouter, ...] = (
    recommend.router, score.router, items.router, items.bulk, events.router, held.router,
    reviews.router, reviews.waiting,
    quarantine.router, users.router, bundle.router, metrics.router, openapi.router, health.router,
    monitors.router, overview.router, playground.router, console.router,
)  # fmt: skip
