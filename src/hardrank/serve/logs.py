"""Structured logs without personal data: JSON lines, user ids hashed, no texts, no keys.

The salt is drawn anew by every process and kept nowhere, so that a log can be read for one
user's course through one process and for nothing else.
"""

import hashlib
import logging
import secrets
import sys
import time
from typing import Any

from hardrank.errors import MissingExtra

try:
    import orjson
except ModuleNotFoundError as missing:
    raise MissingExtra("orjson", "serve") from missing

__all__ = ["LOGGER", "JsonLines", "hashed", "set_up", "tell"]

LOGGER = logging.getLogger("hardrank.serve")
_SALT = secrets.token_bytes(16)


class JsonLines(logging.Formatter):
    """`{"time": ..., "level": ..., "event": ..., ...}`; of an exception only its type, since
    its message may quote what somebody sent."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "told", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["at"] = _where(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def tell(event: str, *, level: int = logging.INFO, **told: Any) -> None:
    """One line. `told` holds numbers, states and hashed ids only."""
    LOGGER.log(level, event, extra={"told": told})


def hashed(user_id: str | None) -> str | None:
    """16 hex digits, the same for one user within this process."""
    if user_id is None:
        return None
    return hashlib.blake2b(user_id.encode("utf-8", "replace"), key=_SALT, digest_size=8).hexdigest()


def set_up(level: int = logging.INFO) -> None:
    """JSON lines on stderr for the service; uvicorn's own access log stays off: it would
    hold paths with item and user ids."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("hardrank.serve", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name != "uvicorn.error" else []
        logger.propagate = name == "uvicorn.error"
        logger.setLevel(level)
    logging.getLogger("uvicorn.access").disabled = True
    logging.Formatter.converter = time.gmtime


def _where(exc_info: Any) -> str:
    """`module:line` of the innermost frame: enough to find a bug, no path of this machine."""
    trace = exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
