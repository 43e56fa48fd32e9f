"""`/v1/quarantine/events`: events that wait for a person."""

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import Query, Request

from hardrank.serve.answers import Json
from hardrank.serve.guarded_route import guarded, key_of
from hardrank.serve.schemas import HeldDecided, HeldDecision, HeldList
from hardrank.serve.service import Service

__all__ = ["router"]

router = guarded("review", "quarantine")


@router.get("/v1/quarantine/events", response_model=HeldList)
async def waiting(
    request: Request,
    by: Literal["item", "user"] = "item",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Json:
    """Events that the event guard holds, together by item or by user, most first."""
    service: Service = request.app.state.service
    groups = await service.on_store(service.store.held_groups, by, limit)
    count = await service.on_store(service.store.held_count)
    return Json({"waiting": count, "groups": [asdict(group) for group in groups]})


@router.post("/v1/quarantine/events/{action}", response_model=HeldDecided)
async def decide(action: Literal["admit", "reject"], asked: HeldDecision, request: Request) -> Json:
    """Let all events of an item or a user count from now on, or never. An item whose flood is
    admitted is not held for floods for a day. Noted in the audit log under the key's id."""
    service: Service = request.app.state.service
    who = key_of(request).id
    decided = await service.on_events(
        service.events.decide, action, who, asked.by, asked.name, asked.until
    )
    if action == "admit":
        service.learned_of({event.user_id for event in decided})
    service.metrics.decisions.labels(f"{action}-events").inc()
    return Json({"action": action, "events": len(decided)})
