"""`hardrank keys add|list|revoke`: who may call the service."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

import typer

from hardrank.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from hardrank.serve.store import Store

__all__ = ["app"]

app = typer.Typer(help="API keys of the service.", no_args_is_help=True)
_STORE = typer.Option(
    None, "--store", help="Database (HARDRANK_SERVE_STORE, else sqlite:///hardrank.db)."
)


@app.command("add")
def add(
    name: str = typer.Argument(help="What the key is for: shop, feed, reviewer, ..."),
    role: str = typer.Option("read", "--role", help="read, ingest, review or admin."),
    quota: int = typer.Option(None, "--quota", min=1, help="Requests a day; without, no limit."),
    store: str = _STORE,
) -> None:
    """Make a key and print it: the only time anybody sees it."""
    from hardrank.serve.records import Role

    for known in get_args(Role):
        if role == known:
            with _open(store) as opened:
                print(opened.add_key(name, known, quota, who="command line"))
            return
    raise ConfigError("keys add", [f"role: must be one of {', '.join(get_args(Role))}"])


@app.command("list")
def list_(store: str = _STORE) -> None:
    """All keys, also revoked ones, and what they used today. No secrets."""
    with _open(store) as opened:
        used, rows = opened.used(), opened.all_keys()
    for key in rows:
        made = datetime.fromtimestamp(key.created, UTC).date().isoformat()
        state = "revoked" if key.revoked is not None else "open"
        quota = "-" if key.quota is None else str(key.quota)
        today = used.get(key.id, 0)
        print(f"{key.id}  {key.role:7} {state:8} {made}  {today:>8} of {quota:8} {key.name}")


@app.command("revoke")
def revoke(
    id: str = typer.Argument(help="As `hardrank keys list` shows it."), store: str = _STORE
) -> None:
    """Close a key. Running services notice within seconds."""
    with _open(store) as opened:
        opened.revoke_key(id, who="command line")
    print(f"{id} is closed")


def _open(url: str | None) -> "Store":
    import os

    try:
        from hardrank.serve.store import Store
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "sqlalchemy", "serve") from None
    return Store.open(url or os.environ.get("HARDRANK_SERVE_STORE", "sqlite:///hardrank.db"))
