"""`DELETE /v1/users/{user_id}`: the right to be forgotten."""

from dataclasses import asdict
from typing import Annotated

from fastapi import Path, Request

from hardrank.serve.answers import Json
from hardrank.serve.guarded_route import guarded, key_of
from hardrank.serve.logs import hashed, tell
from hardrank.serve.schemas import Erased, Id
from hardrank.serve.service import Service

__all__ = ["router"]

router = guarded("admin", "users")


@router.delete("/v1/users/{user_id:path}", response_model=Erased)
async def erase(user_id: Annotated[Id, Path()], request: Request) -> Json:
    """All events, reviews and cached rows of the user go from the store, the bundle's log of
    them is used no more, and later events of them are not kept. (What a trained model learned
    from them goes with the next training.)"""
    service: Service = request.app.state.service

    def work() -> dict[str, int]:
        return asdict(service.store.erase_user(user_id, who=key_of(request).id))

    removed = await service.on_store(work)
    removed["bundled"] = await service.erased(user_id)
    tell("erased", user=hashed(user_id))
    return Json({"user_id": user_id, "removed": removed})
