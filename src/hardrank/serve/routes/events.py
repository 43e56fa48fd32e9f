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
    nothing, so send again whatever was not answered. Held events count when a person has
    admitted them."""
    service: Service = request.app.state.service
    events = [
        EventIn(e.event_id, e.user_id, e.item_id, e.time, e.kind, e.weight) for e in asked.events
    ]
    taken = await service.on_events(service.events.take, events)
    service.learned_of({e.user_id for e, what in zip(events, taken, strict=True) if what == "kept"})
    counts = {what: taken.count(what) for what in ("kept", "known", "held")}
    for label, what in (("yes", "kept"), ("no", "known"), ("held", "held")):
        service.metrics.events.labels(label).inc(counts[what])
    acks = [
        {"event_id": e.event_id, "new": what == "kept", "held": what == "held"}
        for e, what in zip(events, taken, strict=True)
    ]
    return Json({
        "added": counts["kept"], "known": counts["known"], "held": counts["held"], "events": acks,
    })  # fmt: skip
