"""The audit report of the live bundle, and a link that opens it for a minute.

A frame sends no key, so the link carries a pass: a time and its HMAC under a key made of the
store's salt, which all processes on one store share.
"""

import hashlib
import hmac
import time
from pathlib import Path

from hardrank.files import digest_file
from hardrank.serve.bundles import find_bundle
from hardrank.serve.journal import SALT
from hardrank.serve.store import Store

__all__ = ["PATH", "allowed", "link", "report_of"]

PATH = "/console/report"
_SECONDS = 60
_LABEL = b"\0hardrank console report"
"""Of the key for links. Tombstones of users are made with the same salt; no user id holds a
zero byte, so no tombstone is this key."""


def report_of(started_with: str, digest: str) -> bytes | None:
    """The report, as the bundle's list of digests has it, of the bundle with this digest, which
    lies beside the one that the service was started with; None where there is none."""
    folder = find_bundle(Path(started_with).resolve().parent, digest) if digest else None
    path = None if folder is None else folder / "report.html"
    if folder is None or path is None or not path.is_file():
        return None
    listed = (folder / "SHA256SUMS").read_text(encoding="ascii").split("\n")
    return path.read_bytes() if f"{digest_file(path)}  report.html" in listed else None


def link(store: Store, now: float | None = None) -> str:
    """Raises `StoreError`."""
    until = int(time.time() if now is None else now) + _SECONDS
    return f"{PATH}?until={until}&mark={_mark(store, until)}"


def allowed(store: Store, until: int, mark: str) -> bool:
    """Whether `link` made it, not longer than a minute ago. Raises `StoreError`."""
    in_time = time.time() <= until <= time.time() + _SECONDS + 1
    return in_time and hmac.compare_digest(mark.encode(), _mark(store, until).encode())


def _mark(store: Store, until: int) -> str:
    salt = bytes.fromhex(store.setting(SALT) or "")
    key = hmac.digest(salt, _LABEL, "sha256")
    return hmac.new(key, str(until).encode(), hashlib.sha256).hexdigest()
