"""`/v1/health`: the one resource without a key."""

from fastapi import APIRouter, Request

from hardrank.serve.answers import Json
from hardrank.serve.schemas import Health
from hardrank.serve.service import Service

__all__ = ["router"]

router = APIRouter(tags=["health"], default_response_class=Json)


@router.get("/v1/health", response_model=Health)
@router.get("/v1/health/live", response_model=Health, include_in_schema=False)
async def live() -> Json:
    """The process answers."""
    return Json({"status": "live", "bundle": ""})


@router.get("/v1/health/ready", response_model=Health, responses={503: {"model": Health}})
async def ready(request: Request) -> Json:
    """200 where the model answers; 503 before. (Popularity answers before.)"""
    service: Service = request.app.state.service
    status = "ready" if service.ready else "not ready"
    body = {"status": status, "bundle": service.live.digest[:12]}
    return Json(body, status_code=200 if service.ready else 503)
