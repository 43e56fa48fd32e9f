"""`POST /v1/recommend`"""

from typing import Any

from fastapi import Request

from hardrank.errors import Unsupported
from hardrank.serve.answers import Json, Refused
from hardrank.serve.asks import Ask, Found, Listed
from hardrank.serve.guarded_route import guarded, key_of
from hardrank.serve.schemas import Answer, RecommendIn, ScoreIn
from hardrank.serve.service import RECOMMEND, Service

__all__ = ["router", "the_past"]

router = guarded("read", "recommend")


@router.post(RECOMMEND, response_model=Answer)
async def recommend(asked: RecommendIn, request: Request) -> Json:
    """The best items for a user, a history, or a wish in words, best first.

    Items of the history are left out unless `exclude_seen` is false. While the model is not
    ready, too late or failing, the answer comes from popularity, and says so.
    """
    service: Service = request.app.state.service
    body = await request.body()
    turn = None if asked.user_id is None else service.histories.turn(asked.user_id)
    history, fresh = await the_past(service, asked)
    stamp = service.stamp(asked.user_id, turn)
    ask = Ask(
        history=history, user_id=asked.user_id, text=asked.text, k=asked.k,
        filters={name: tuple(values) for name, values in asked.filters.items()},
        exclude=tuple(asked.exclude), exclude_seen=asked.exclude_seen,
        diversity=asked.diversity, per_provider=asked.per_provider, explain=asked.explain,
        fresh=fresh,
    )  # fmt: skip
    if ask.per_provider is not None and service.settings.provider is None:
        raise Refused(422, "this service knows no provider column: per_provider has no meaning")
    try:
        found = await service.recommend(ask)
    except Unsupported as error:
        raise Refused(422, str(error)) from None
    service.probes.looked(key_of(request).name)
    answer = Json(found.json or _told(found))
    if found.source == "model":
        service.remember(body, asked.user_id, stamp, bytes(answer.body))
    return answer


async def the_past(service: Service, asked: RecommendIn | ScoreIn) -> tuple[tuple[str, ...], bool]:
    """(what the user did and what the request adds, whether that is more than the bundle's)."""
    own, fresh = tuple(asked.history or ()), bool(asked.history)
    if asked.user_id is None:
        return own, fresh
    known = await service.past(asked.user_id)
    return (*known.items, *own), fresh or known.fresh


def _told(found: Found) -> dict[str, Any]:
    return {
        "items": [_one(item) for item in found.items],
        "source": found.source,
        "bundle": found.bundle,
    }


def _one(item: Listed) -> dict[str, Any]:
    out: dict[str, Any] = {"item_id": item.item_id, "title": item.title, "score": item.score}
    if item.because is not None:
        out["because"] = [
            {"item_id": r.item_id, "similarity": r.similarity, "words": list(r.words)}
            for r in item.because
        ]
    return out
