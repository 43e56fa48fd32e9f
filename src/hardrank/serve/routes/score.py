"""`POST /v1/score`"""

from fastapi import Request

from hardrank.errors import Unsupported
from hardrank.serve.answers import Json, Refused
from hardrank.serve.asks import Ask
from hardrank.serve.guarded_route import guarded, key_of
from hardrank.serve.routes.recommend import the_past
from hardrank.serve.schemas import Scored, ScoreIn
from hardrank.serve.service import Service

__all__ = ["router"]

router = guarded("read", "recommend")


@router.post("/v1/score", response_model=Scored)
async def score(asked: ScoreIn, request: Request) -> Json:
    """What the model gives these items, seen or not; compare scores of one answer only."""
    service: Service = request.app.state.service
    history, fresh = await the_past(service, asked)
    ask = Ask(history=history, user_id=asked.user_id, text=asked.text, fresh=fresh)
    try:
        scores, source = await service.score(ask, asked.items)
    except Unsupported as error:
        raise Refused(422, str(error)) from None
    service.probes.looked(key_of(request).name)
    digest = service.live.digest[:12] if source == "model" else ""
    return Json({"scores": scores, "source": source, "bundle": digest})
