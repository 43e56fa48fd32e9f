"""The process: uvicorn, uvloop, and an end that finishes what was begun."""

from pathlib import Path
from typing import TYPE_CHECKING

from hardrank.errors import BundleError, MissingExtra
from hardrank.serve.logs import tell
from hardrank.serve.settings import Settings

if TYPE_CHECKING:
    from hardrank.serve.ingest import Inspector

__all__ = ["run"]


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then take no new connections, finish the requests in
    flight (for `drain` seconds at most) and close the store. Raises `MissingExtra`,
    `StoreError`, `BundleError` where there is no bundle, `DataError` for guards that cannot be
    read. A bundle that is there but damaged is refused later and told in the log: popularity
    answers, and another bundle may be sent or promoted."""
    try:
        import uvicorn

        from hardrank.serve.app import create_app
        from hardrank.serve.protocol import patient
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "fastapi", "serve") from None
    if not (Path(settings.bundle) / "spec.json").is_file():
        raise BundleError(f"{settings.bundle} is no bundle: it has no spec.json")
    guard = None if settings.guard is None else _guard(Path(settings.guard))
    app = create_app(settings, guard=guard)
    tell("start", host=settings.host, port=settings.port, guarded=guard is not None)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=patient(settings.arrival),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=max(1, round(settings.drain)),
    )
    uvicorn.Server(config).run()


def _guard(folder: Path) -> "Inspector":
    from hardrank.guards.pipeline import load_pipeline

    return load_pipeline(folder)
