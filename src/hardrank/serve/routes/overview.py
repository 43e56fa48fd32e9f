"""`GET /v1/overview`, `/v1/audit`, `/v1/report`: what runs, who did what, how robust it is."""

import math
import time
from typing import Annotated, Any

from fastapi import Query, Request

from hardrank import __version__
from hardrank.serve.answers import Json
from hardrank.serve.console_schemas import AuditList, Overview, ReportLink
from hardrank.serve.errors import StoreError
from hardrank.serve.guarded_route import guarded
from hardrank.serve.overview import buckets, by_label, route_loads, value_of
from hardrank.serve.report import link, report_of
from hardrank.serve.service import RECOMMEND, Service

__all__ = ["router"]

router = guarded("review", "overview")


@router.get("/v1/overview", response_model=Overview)
async def overview(request: Request) -> Json:
    """Health and load of this process since it started, and what the store holds."""
    service: Service = request.app.state.service
    engine, metrics = service.live.engine, service.metrics
    stored = await service.tally.now()
    listings = [
        (s.labels["state"], s.labels["guard"], int(s.value))
        for family in metrics.items.collect() for s in family.samples if s.name.endswith("_total")
    ]  # fmt: skip
    return Json({
        "ready": engine is not None,
        "bundle": service.live.digest[:12],
        "model": "" if engine is None else engine.bundle.spec.kind,
        "version": __version__,
        "uptime": round(time.monotonic() - service.begun, 1),
        "guarded": service.ingest.guarded,
        "standing": {
            "looked": 0 if engine is None else engine.looked,
            "held": 0 if engine is None else len(engine.held),
            "left": 0 if engine is None else engine.left,
        },
        "control": service.playground.control_state,
        "live_items": 0 if engine is None else engine.live_items,
        "in_flight": value_of(metrics.in_flight),
        "store": await _store_answers(service),
        "stored": stored,
        "answers": by_label(metrics.answers, "source"),
        "requests": sum(by_label(metrics.requests, "status").values()),
        "recommend": [
            {"le_ms": None if math.isinf(end) else 1000 * end, "count": n}
            for end, n in buckets(metrics.seconds, RECOMMEND)
        ],
        "routes": route_loads(metrics),
        "listings": sorted(listings, key=lambda row: (-row[2], row)),
        "decisions": by_label(metrics.decisions, "action"),
        "probing": value_of(metrics.probes),
        "swaps": by_label(metrics.swaps, "outcome"),
    })  # fmt: skip


@router.get("/v1/audit", response_model=AuditList)
async def audit(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=1, le=1 << 53)] = None,
) -> Json:
    """The audit log, newest first: who decided what. Keys appear by id and name."""
    service: Service = request.app.state.service

    def work() -> dict[str, Any]:
        rows = service.store.audit_log(limit, before)
        names = {key.id: key.name for key in service.store.all_keys()}
        return {
            "rows": [
                {
                    "id": r.id, "time": r.time, "who": r.who, "name": names.get(r.who, ""),
                    "action": r.action, "subject": r.subject, "detail": r.detail,
                } for r in rows
            ],
            "before": rows[-1].id if len(rows) == limit else None,
        }  # fmt: skip

    return Json(await service.on_store(work))


@router.get("/v1/report", response_model=ReportLink)
async def report(request: Request) -> Json:
    """Where the audit report of the live bundle can be looked at for a minute."""
    service: Service = request.app.state.service
    found = await service.on_store(report_of, service.settings.bundle, service.live.digest)
    if found is None:
        return Json({"there": False, "href": ""})
    return Json({"there": True, "href": await service.on_store(link, service.store)})


async def _store_answers(service: Service) -> bool:
    try:
        await service.on_store(service.store.ping)
    except StoreError:
        return False
    return True
