"""What `[victim]` of an audit file can say, and what `--victim` stands for."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from annotated_types import Len
from pydantic import Field, field_validator

from hardrank.types import Count, Natural, NonNegative, Positive, spec

__all__ = ["BundleVictim", "CallableVictim", "HttpVictim", "Outside", "Victim", "named_victim"]

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@spec
class _Asked:
    """What all recommenders from outside share."""

    fields: Annotated[tuple[str, ...], Len(min_length=1)] = ("title",)
    """Columns of the item table that are sent as texts; attacks can write in no others."""
    repeats: Count = 1
    """Each question is asked so often and the mean is taken. Above 1 for a victim that
    answers differently each time; with 1 such a victim is refused."""
    query_budget: Count | None = None
    """Scores (one query, one candidate) that may be asked for in the whole audit, repeats and
    earlier runs into the same folder included, probes not; None for no limit."""
    cache: bool = True
    """Keep every answer in the run folder, 4 bytes a score, so that none is asked for twice."""


@spec
class CallableVictim(_Asked):
    """A Python callable `rank(histories, items)` in the same process."""

    kind: Literal["callable"] = "callable"
    target: str
    """`module:callable`; the current folder and that of the audit file are importable."""
    queries_per_request: Count = 512
    """Most histories in one call."""
    candidates_per_request: Count | None = None
    """Most items in one call; None for the whole catalogue."""

    @field_validator("target")
    @classmethod
    def _spelt(cls, target: str) -> str:
        if not _TARGET.fullmatch(target):
            raise ValueError("write module:callable, such as shop.ranking:rank")
        return target


@spec
class HttpVictim(_Asked):
    """A service that answers POST requests at one URL."""

    kind: Literal["http"] = "http"
    url: str
    """`http://` or `https://`, with host, port and path."""
    timeout: Positive = 60.0
    """Seconds from the start of a request to the last byte of its answer."""
    retries: Natural = 4
    """Tries after a first one that failed."""
    backoff: NonNegative = 0.5
    """Seconds before the second try; doubled before each further one."""
    longest_wait: Positive = 300.0
    """Seconds that a single wait may last, also one that `Retry-After` asks for."""
    requests_per_second: Positive | None = None
    """Requests that may begin in one second, retries included; None for no limit."""
    token_variable: str | None = None
    """Environment variable with a token, sent as `Authorization: Bearer`; None for none."""
    queries_per_request: Count = 64
    """Most queries in one request; the service may ask for fewer."""
    candidates_per_request: Count | None = None
    """Most candidates in one request; the service may ask for fewer. None: 2000, or the
    whole catalogue for a service that answers ranks."""

    @field_validator("url")
    @classmethod
    def _reachable(cls, url: str) -> str:
        at = urlsplit(url)
        if at.scheme not in ("http", "https") or not at.hostname:
            raise ValueError("write http://host:port/path")
        if at.username or at.password:
            raise ValueError("no passwords in the URL; use token_variable")
        _ = at.port  # raises where it is none
        return url


@spec
class BundleVictim:
    """A bundle that `hardrank run` wrote. The data have to be those it was trained on."""

    kind: Literal["bundle"] = "bundle"
    path: Path
    """The bundle's folder."""


Outside = CallableVictim | HttpVictim
Victim = Annotated[CallableVictim | HttpVictim | BundleVictim, Field(discriminator="kind")]


def named_victim(name: str) -> dict[str, Any]:
    """`--victim NAME` as `[victim]` would spell it: a URL, a folder, or `module:callable`."""
    if "://" in name:
        return {"kind": "http", "url": name}
    if Path(name).is_dir() or ":" not in name:
        return {"kind": "bundle", "path": name}
    return {"kind": "callable", "target": name}
