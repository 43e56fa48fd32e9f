"""`POST /v1/events`"""

from fastapi import Request

from hardrank.serve.answers import Json
from hardrank.serve.guarded_route import guarded
from hardrank.serve.records import EventIn
from hardrank.serve.schemas import Events, EventsAck
from hardrank.serve.service import Service

__all__ = ["router"]

router = guarded("ingest", "events", bulk=True)


@router.post("/v1/events", response_model=EventsAck)
async def add(asked: Events, request: Request) -> Json:
    """What users did. All are on the disk when this answers; sending them again changes
    nothing, so send again whatever was not answered."""
    service: Service = request.app.state.service
    events = [
        EventIn(e.event_id, e.user_id, e.item_id, e.time, e.kind, e.weight) for e in asked.events
    ]
    new = await service.on_store(service.store.add_events, events)
    service.learned_of({e.user_id for e, fresh in zip(events, new, strict=True) if fresh})
    service.metrics.events.labels("yes").inc(sum(new))
    service.metrics.events.labels("no").inc(len(new) - sum(new))
    acks = [{"event_id": e.event_id, "new": fresh} for e, fresh in zip(events, new, strict=True)]
    return Json({"added": sum(new), "known": len(new) - sum(new), "events": acks})
