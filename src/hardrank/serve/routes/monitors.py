"""`/v1/monitors`: what is unusual now, and what somebody says is meant."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hardrank.serve.answers import Json, Refused
from hardrank.serve.guarded_route import guarded, key_of
from hardrank.serve.records import AuditRow
from hardrank.serve.service import Service
from hardrank.serve.watching import ALARM

__all__ = ["router"]

router = guarded("review", "monitors")

_ITEMS = 20
"""Items whose course is told."""
Name = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$"),
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MonitorState(_Model):
    kind: str
    subject: str
    phase: Literal["learning", "quiet", "alarm"]
    usual: float | None
    present: float | None
    threshold: float | None
    since: float | None = Field(description="Unix seconds, of the alarm that stands.")


class AlarmOut(_Model):
    kind: str
    subject: str
    value: float
    threshold: float
    since: float
    message: str


class KeptAlarm(AlarmOut):
    time: float = Field(description="Unix seconds at which it was kept.")


class Course(_Model):
    item_id: str
    title: str
    share: float = Field(description="Of the lists of the last 15 minutes.")
    history: list[float | None] = Field(description="Minute by minute; null: no list.")


class ExposureOut(_Model):
    until: float = Field(description="Unix seconds: the last minute is the one that runs.")
    sampled: float = Field(description="Share of lists that is looked at.")
    lists: list[int] = Field(description="Lists looked at in each minute, oldest first.")
    items: list[Course]


class MonitorsOut(_Model):
    monitors: list[MonitorState]
    standing: list[AlarmOut] = Field(description="Alarms that hold now, the newest first.")
    alarms: list[KeptAlarm] = Field(description="The latest that were kept, by any process.")
    exposure: ExposureOut


class AcceptIn(_Model):
    kind: Name
    subject: Name


class Accepted(_Model):
    kind: str
    subject: str


@router.get("/v1/monitors", response_model=MonitorsOut)
async def monitors(request: Request, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Json:
    """Where every monitor of this process stands, the latest alarms, and how the exposure of
    the items shown most went over the last four hours."""
    service: Service = request.app.state.service
    watching = service.watching

    def kept() -> list[AuditRow]:
        return service.store.audit_log(limit, action=ALARM)

    rows = await service.on_store(kept)
    states, courses = await service.on_store(lambda: (watching.states(), watching.courses(_ITEMS)))
    return Json({
        "monitors": [asdict(state) for state in states],
        "standing": [asdict(alarm) for alarm in watching.standing()],
        "alarms": [_told(row) for row in rows],
        "exposure": {
            "until": round(watching.clock(), 1), "sampled": round(watching.sampled, 4),
            "lists": list(courses.lists),
            "items": [
                {**asdict(c), "title": (service.live.fields(c.item_id) or {}).get("title", "")}
                for c in courses.items
            ],
        },
    })  # fmt: skip


@router.post("/v1/monitors/accept", response_model=Accepted)
async def accept(asked: AcceptIn, request: Request) -> Json:
    """It is meant so, and usual from now on, in this process. 404: no such alarm stands."""
    service: Service = request.app.state.service
    if not await service.on_store(service.watching.accept, asked.kind, asked.subject):
        raise Refused(404, "no such alarm stands")
    detail = {"kind": asked.kind}
    await service.on_store(
        service.store.note, key_of(request).id, "accept-alarm", asked.subject, detail
    )
    return Json({"kind": asked.kind, "subject": asked.subject})


def _told(row: AuditRow) -> dict[str, Any]:
    said = row.detail
    return {
        "time": row.time, "kind": said["kind"], "subject": row.subject,
        "value": float(said["value"]), "threshold": float(said["threshold"]),
        "since": float(said["since"]), "message": said["message"],
    }  # fmt: skip
