"""Atomic writes and digests: a killed process or a full disk leaves no half-written file."""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "atomic",
    "atomic_folder",
    "digest_bytes",
    "digest_file",
    "write_json",
    "write_table",
    "write_text",
]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextlib.contextmanager
def atomic(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary sibling of `path`; it takes its place only if the block ends well.

    Raises whatever the block or the disk raises; then `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _open_up(Path(name), 0o666)
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
            error.filename = str(path)  # a failed write does not say of which file
        raise


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a temporary sibling folder; it replaces `path` only if the block ends well.

    A process killed in the exchange itself leaves the old folder or the new one whole, at
    worst under its temporary name; never a mixture.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield draft
        _open_up(draft, 0o777)
        _exchange(draft, path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _open_up(path: Path, mode: int) -> None:
    """The rights that a plain `open` would have given: temporary names are made private."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(mode & ~mask)


def _exchange(draft: Path, path: Path) -> None:
    if not path.exists():
        draft.replace(path)
        return
    former = draft.with_suffix(".old")
    path.replace(former)
    try:
        draft.replace(path)
    except BaseException:
        former.replace(path)
        raise
    shutil.rmtree(former)


def write_text(path: Path, text: str) -> None:
    with atomic(path, "w") as file:
        file.write(text)


def write_json(path: Path, value: Any, *, default: Callable[[Any], Any] | None = None) -> None:
    """Sorted keys and no NaN, so that equal values give equal bytes."""
    text = json.dumps(
        value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False, default=default
    )
    write_text(path, text + "\n")


def write_table(path: Path, table: "pl.DataFrame") -> None:
    """Parquet. Polars fills memory, not the file: its own error hides that a disk is full."""
    content = io.BytesIO()
    table.write_parquet(content)
    with atomic(path) as file:
        file.write(content.getbuffer())


def digest_bytes(*parts: bytes) -> str:
    """SHA-256 of length-prefixed parts (so that ('ab', 'c') differs from ('a', 'bc'))."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8, "little"))
        sha.update(part)
    return sha.hexdigest()


def digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
