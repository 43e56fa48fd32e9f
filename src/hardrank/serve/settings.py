"""What `hardrank serve` can be told: by a TOML file, the environment, and the command line."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError

from hardrank.errors import ConfigError
from hardrank.types import Count, Natural, NonNegative, Positive, Share, spec

__all__ = ["PREFIX", "Settings", "read_settings"]

PREFIX = "HARDRANK_SERVE_"
"""`HARDRANK_SERVE_PORT=9000` sets `port`."""


@spec
class Settings:
    """One service process. The command line wins over the environment, that over the file."""

    bundle: str
    """Folder of the bundle that goes online."""
    store: str = "sqlite:///hardrank.db"
    """SQLAlchemy address of the store. It may hold a password: it is never logged."""
    guard: str | None = None
    """Folder of the guards that listings pass, as `hardrank guard fit` writes it; None: those
    in the bundle, where it has some."""
    authentic: Share = 0.0
    """Texts that stand in the bundle pass the guards, too, when it is loaded: an item that they
    would hold, with an authenticity below this, waits for a person. 0.5 is all that they would
    hold, less only what they are surer of; 0 looks at nothing."""
    event_guard: bool = True
    """Hold events that look like bots, floods or wrong clocks until a person admits them."""
    control: str | None = None
    """Folder of the bundle of an undefended model, which the console's playground shows beside
    the live one; None for no comparison."""
    console: bool = True
    """Serve the console, the page for people, at `/console`."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all."""
    port: Annotated[int, Ge(1), Le(65535)] = 8000
    """TCP port."""
    max_bytes: Count = 1_000_000
    """Longest body of a request, in bytes."""
    max_bulk_bytes: Count = 16_000_000
    """Longest body of a bulk request, in bytes."""
    rate: Positive = 1_000.0
    """Requests a second that a key may make in the long run."""
    burst: Count = 2_000
    """Requests that a key may make at once."""
    refusals: Count = 30
    """Wrong keys a minute from one address, beyond which it waits."""
    key_seconds: NonNegative = 5.0
    """For how long a key is believed without asking the store: how late a revoked key stops."""
    batch: Count = 64
    """Requests that one pass of the model answers together, at most."""
    remembered: Natural = 10_000
    """Answers kept until the user, the catalogue or the bundle changes; 0 keeps none."""
    history_seconds: NonNegative = 30.0
    """For how long a user's history is believed while the store cannot be asked what is new.
    Events that this process took are seen at once, those of other processes within about a
    second."""
    patience: Positive = 5.0
    """Seconds that a request waits for the model before popularity answers."""
    write_seconds: Positive = 120.0
    """Seconds that a write of items may take; beyond, the model is said to hang, and who waits
    gets a 503."""
    max_items: Count = 2_000_000
    """Items that there may be, deleted ones too; beyond, new ones are refused."""
    arrival: Positive = 60.0
    """Seconds that the head of a request may take to arrive, and again its body: 408 after."""
    drain: Positive = 10.0
    """Seconds that requests in flight may take to end, at a stop or a swap."""
    provider: str | None = None
    """Column of the item table that names the seller or brand, for the exposure cap."""
    probes: Count = 12
    """Near-identical versions of one listing looked at in a row, beyond which a key is said
    to probe."""
    block_probes: bool = False
    """Refuse a key that probes for `probe_seconds`; else it is only reported."""
    probe_seconds: Positive = 3_600.0
    """Window in which versions of one listing are counted, and length of a refusal."""
    exact: Count = 100_000
    """Items up to which every item is scored; beyond, an approximate index proposes."""
    watched: Natural = 200
    """Lists a second that the monitors look at, a fair sample of all; 0 for none."""
    watch_window: Count = 1_000
    """Lists, and events, after which the share of each item is compared with its usual one."""
    webhook: str | None = None
    """Address that alarms are posted to; it may hold a token: it is never logged."""
    webhook_secret: str | None = field(default=None, repr=False)
    """What posts are signed with; needed with `webhook`."""
    follow_seconds: NonNegative = 5.0
    """How often the store is asked which bundle is promoted, and what other processes wrote of
    items; 0 for never."""
    prior: NonNegative = 0.0
    """What the items gain that are popular now: 1 lifts an average item to the best score of a
    request, 0 does nothing. Whoever can make many accounts can lift an item by it."""
    prior_minutes: Positive = 30.0
    """Half-life of an event in that popularity."""


def read_settings(
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    **chosen: Any,
) -> Settings:
    """`chosen` values that are None were not given. Raises `ConfigError` with one line a
    mistake: an unknown key, a value out of range, a file that is not TOML."""
    values = {
        **_of_file(path),
        **_of_environment(os.environ if environment is None else environment),
    }
    values |= {name: value for name, value in chosen.items() if value is not None}
    try:
        return TypeAdapter(Settings).validate_python(values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError(str(path or "serve"), lines) from None


def _of_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"is not TOML: {error}"]) from None


def _of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    names = {f.name for f in fields(Settings)}
    found = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    if unknown := sorted(set(found) - names):
        raise ConfigError(
            "environment", [f"{PREFIX}{name.upper()}: unknown setting" for name in unknown]
        )
    return found
