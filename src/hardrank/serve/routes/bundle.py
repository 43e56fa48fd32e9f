"""`POST /v1/bundle`: another bundle goes online."""

from pathlib import Path

from fastapi import Request

from hardrank.errors import BundleError
from hardrank.serve.answers import Json, Refused
from hardrank.serve.errors import Untold
from hardrank.serve.guarded_route import guarded, key_of
from hardrank.serve.schemas import SwapIn, Swapped
from hardrank.serve.service import Service

__all__ = ["router"]

router = guarded("admin", "bundle")


@router.post("/v1/bundle", response_model=Swapped)
async def swap(asked: SwapIn, request: Request) -> Json:
    """Load a bundle that lies beside the live one (a folder name), and answer from it, also
    after a restart; other services on this store follow. 409: it is incomplete or altered, and
    the old one serves on. 503 where the error says that the bundle answers here: the store could
    not be told, which is tried again."""
    service: Service = request.app.state.service
    folder = _beside(Path(service.settings.bundle), asked.bundle)
    try:
        seconds = await service.go_over(folder, key_of(request).id)
    except Untold:
        why = "the bundle answers here, but the store could not be told: send this again"
        raise Refused(503, why, Retry_After="5") from None
    except (BundleError, OSError):
        raise Refused(409, "the bundle is missing, incomplete or altered") from None
    digest = service.live.digest
    await service.on_store(service.store.note, key_of(request).id, "swap", digest)
    return Json({"bundle": digest[:12], "seconds": round(seconds, 3)})


def _beside(live: Path, name: str) -> Path:
    """Only siblings of the bundle that the service was started with: no path leads out."""
    if name in (".", "..") or Path(name).name != name:
        raise Refused(422, "give the name of a folder beside the live bundle, not a path")
    return live.resolve().parent / name
