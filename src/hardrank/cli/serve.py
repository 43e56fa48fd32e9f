"""`hardrank serve BUNDLE`"""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from hardrank.serve.settings import Settings

__all__ = ["serve"]


def serve(
    bundle: str = typer.Argument(None, help="A bundle folder; else the settings file names it."),
    host: str = typer.Option(None, help="Address to listen at (127.0.0.1)."),
    port: int = typer.Option(None, help="Port (8000)."),
    store: str = typer.Option(
        None, help="Database: sqlite:///FILE or postgresql://USER@HOST/NAME."
    ),
    provider: str = typer.Option(None, help="Column of the items that names the seller."),
    settings: Path = typer.Option(None, "--settings", help="TOML file with any setting."),
    guard: Path = typer.Option(None, "--guard", help="Folder that `hardrank guard fit` wrote."),
    verbose: bool = typer.Option(False, "--verbose", help="Log every request, reads too."),
) -> None:
    """Put a bundle online. SIGTERM ends it after the requests in flight.

    Examples: hardrank keys add shop --role read ; hardrank serve runs/demo/bundle --port 8000
    """
    import logging

    from hardrank.serve.logs import set_up
    from hardrank.serve.running import run
    from hardrank.serve.settings import read_settings

    chosen: Settings = read_settings(
        settings, bundle=bundle, host=host, port=port, store=store, provider=provider,
        guard=None if guard is None else str(guard),
    )  # fmt: skip
    set_up(logging.DEBUG if verbose else logging.INFO)
    run(chosen)
