"""`GET /metrics`"""

from fastapi import Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from hardrank.serve.guarded_route import guarded
from hardrank.serve.service import Service

__all__ = ["router"]

router = guarded("review", "metrics")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """For Prometheus. It counts what guards stopped and who probes, so that a key of shops
    and sellers does not open it."""
    service: Service = request.app.state.service
    engine = service.live.engine
    service.metrics.ready.set(engine is not None)
    service.metrics.standing.set(len(service.watching.standing()))
    service.metrics.live.set(0 if engine is None else engine.live_items)
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
