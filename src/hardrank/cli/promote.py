"""`hardrank promote BUNDLE`, `hardrank rollback`"""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hardrank.errors import MissingExtra

if TYPE_CHECKING:
    from hardrank.serve.store import Store

__all__ = ["open_store", "promote", "rollback"]

_STORE = typer.Option(
    None, "--store", help="Database (HARDRANK_SERVE_STORE, else sqlite:///hardrank.db)."
)


def promote(
    bundle: Path = typer.Argument(help="A bundle; the first of a store needs no decision."),
    store: str = _STORE,
    force: str = typer.Option(
        None, "--force", help="Promote it without a decision; the reason goes into the audit log."
    ),
) -> None:
    """Make a bundle the live one, if its retraining decided for it. Services follow."""
    from hardrank.experiment.retrain_promote import promote_bundle

    with open_store(store) as opened:
        print(f"live: {promote_bundle(bundle, opened, who='command line', force=force)}")


def rollback(store: str = _STORE) -> None:
    """Go back to the bundle that was live before. Services follow."""
    with open_store(store) as opened:
        print(f"live: {opened.rollback(who='command line')}")


def open_store(url: str | None, default: str = "sqlite:///hardrank.db") -> "Store":
    """What the command line says, else the environment, else `default`."""
    import os

    try:
        from hardrank.serve.store import Store
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "sqlalchemy", "serve") from None
    return Store.open(url or os.environ.get("HARDRANK_SERVE_STORE") or default)
