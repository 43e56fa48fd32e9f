"""A tiny service for tests: toy bundles, a SQLite store, one key of each role."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from hardrank.bundle import save_bundle
from hardrank.context import RunContext
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.recommender import ModelSpec
from hardrank.testing.logs import taste_log

__all__ = ["Served", "WordGuard", "served", "toy_bundle", "until"]


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for what the service does in its own time, which a busy machine stretches. Raises
    `TimeoutError`."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("it did not come to this")
        time.sleep(0.02)


def toy_bundle(folder: Path, spec: ModelSpec, *, items: int = 60, seed: int = 0) -> Path:
    """A bundle of `spec` fitted on the taste log; items have a `brand` (b0 ... b4)."""
    data = taste_log(items=items, seed=seed)
    brands = pl.Series("brand", [f"b{n % 5}" for n in range(items)])
    data = replace(data, items=data.items.with_columns(brands))
    model = spec.fit(data, RunContext(seed=seed))
    save_bundle(folder, spec, model, data, {"name": "toy", "synthetic": True})
    return folder


@dataclass(frozen=True)
class WordGuard:
    """Quarantines what says `spam`, mends `SHOUTED` to `shouted`."""

    kind: str = "word"

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        return [self._one(listing) for listing in listings]

    def _one(self, listing: Listing) -> Verdict:
        if "spam" in listing.text:
            return Verdict("quarantine", self.kind, 0.9, "says spam")
        if "SHOUTED" in listing.text:
            fields = {n: t.replace("SHOUTED", "shouted") for n, t in listing.fields.items()}
            return Verdict("mend", self.kind, 0.2, "shouts", fields)
        return admit(self.kind)


@dataclass(frozen=True)
class Served:
    """A running application and who may call it."""

    client: Any
    """`starlette.testclient.TestClient`"""
    app: Any
    keys: dict[str, str]
    """Role -> secret."""

    def ask(self, role: str, method: str, path: str, **more: Any) -> Any:
        """One request with the key of a role."""
        headers = {"Authorization": f"Bearer {self.keys[role]}", **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def wait(self) -> None:
        """Until the model answers."""
        for _ in range(600):
            if self.client.get("/v1/health/ready").status_code == 200:
                return
            time.sleep(0.05)
        raise TimeoutError("the model was not loaded")


@contextmanager
def served(bundle: Path, store: Path, *, wait: bool = True, **options: Any) -> Iterator[Served]:
    """`create_app` in this process. options: settings, and `guard` and `loader`. Events may
    be of any time: their guard is off unless `event_guard` says otherwise."""
    from starlette.testclient import TestClient

    from hardrank.serve.app import create_app
    from hardrank.serve.settings import Settings
    from hardrank.serve.store import Store

    app_options = {name: options.pop(name) for name in ("guard", "loader") if name in options}
    options.setdefault("event_guard", False)
    opened = Store.open(store)
    keys = {role: opened.add_key(role, role) for role in ("read", "ingest", "review", "admin")}
    settings = Settings(bundle=str(bundle), store=f"sqlite:///{store}", **options)
    app = create_app(settings, store=opened, **app_options)
    with TestClient(app, raise_server_exceptions=False) as client:
        made = Served(client, app, keys)
        if wait:
            made.wait()
        yield made
