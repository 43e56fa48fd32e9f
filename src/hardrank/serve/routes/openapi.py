"""`GET /openapi.json`: what can be asked, for whoever has a key."""

from fastapi import Request

from hardrank.serve.answers import Json
from hardrank.serve.guarded_route import guarded

__all__ = ["router"]

router = guarded("read", "openapi")


@router.get("/openapi.json", include_in_schema=False)
async def described(request: Request) -> Json:
    """The OpenAPI description."""
    return Json(request.app.openapi())
