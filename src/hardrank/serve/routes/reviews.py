"""`POST /v1/reviews`, and `/v1/quarantine/reviews`: those that wait for a person."""

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import Query, Request

from hardrank.serve.answers import Json
from hardrank.serve.guarded_route import guarded, key_of
from hardrank.serve.records import ReviewIn
from hardrank.serve.schemas import (
    HeldReviewList,
    Reviews,
    ReviewsAck,
    ReviewsDecided,
    ReviewsDecision,
)
from hardrank.serve.service import Service

__all__ = ["router", "waiting"]

router = guarded("ingest", "reviews", bulk=True)
waiting = guarded("review", "quarantine")


@router.post("/v1/reviews", response_model=ReviewsAck)
async def add(asked: Reviews, request: Request) -> Json:
    """What users wrote. All are on the disk when this answers; sending them again changes
    nothing. Where the live guards have one for reviews, it holds those that read like fake
    ones or repeat public reviews of the item, until a person has decided."""
    service: Service = request.app.state.service
    reviews = [
        ReviewIn(r.review_id, r.user_id, r.item_id, r.text, r.time, r.rating) for r in asked.reviews
    ]
    taken = await service.on_writer(service.reviews.take, reviews)
    counts = {what: taken.count(what) for what in ("kept", "known", "held")}
    for what, count in counts.items():
        service.metrics.reviews.labels(what).inc(count)
    acks = [
        {"review_id": r.review_id, "new": what == "kept", "held": what == "held"}
        for r, what in zip(reviews, taken, strict=True)
    ]
    return Json({
        "added": counts["kept"], "known": counts["known"], "held": counts["held"], "reviews": acks,
    })  # fmt: skip


@waiting.get("/v1/quarantine/reviews", response_model=HeldReviewList)
async def listed(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[int, Query(ge=0, le=1 << 53)] = 0,
) -> Json:
    """Reviews that the guard holds, oldest first."""
    service: Service = request.app.state.service
    rows = await service.on_store(service.store.held_reviews, limit, after)
    count = await service.on_store(service.store.held_reviews_count)
    last = rows[-1].id if len(rows) == limit else None
    return Json({"waiting": count, "rows": [asdict(row) for row in rows], "after": last})


@waiting.post("/v1/quarantine/reviews/{action}", response_model=ReviewsDecided)
async def decide(
    action: Literal["admit", "reject"], asked: ReviewsDecision, request: Request
) -> Json:
    """Keep reviews after all, or never. Numbers of which none waits are passed over. Noted in
    the audit log under the key's id."""
    service: Service = request.app.state.service
    who = key_of(request).id
    decided = await service.on_writer(service.store.decide_reviews, action, who, asked.ids)
    service.metrics.decisions.labels(f"{action}-reviews").inc()
    return Json({"action": action, "ids": decided})
