"""Encoded texts on disk, found by content.

A store is a folder of immutable shards `shard-<digest>.safetensors`, each with

    keys     (n, 16) uint8    first half of the SHA-256 of each text
    lengths  (n,) int64       rows of each entry: 1 for a text vector, T for token states
    rows     (sum, D) float32

and a digest of the three in its metadata. Shards are written atomically under a name made
from their content, so any number of processes may write at once and a killed one leaves no
broken shard. A shard that does not match its digest is reported, deleted and computed
again; it is never believed.
"""

import contextlib
import functools
import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from hardrank.files import atomic, digest_bytes
from hardrank.types import Floats, Ints

__all__ = ["Store", "cache_folder", "key_of", "open_store"]

_KEY = 16
_MANY = 64
"""Small shards beyond which they are merged into one."""
_SMALL = 64 * 2**20
"""Bytes; larger shards are never rewritten, so merging costs a bounded amount each time."""
_PASSING = 65_536
"""Entries remembered in memory only, oldest forgotten first (about 100 MB at D = 384)."""


def cache_folder(chosen: Path | None) -> Path:
    """The run's choice, else `HARDRANK_CACHE`, else `~/.cache/hardrank`."""
    if chosen is not None:
        return chosen
    named = os.environ.get("HARDRANK_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "hardrank"


def key_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:_KEY]


@functools.cache
def open_store(folder: Path, size: int) -> "Store":
    """The one store of this process for a folder: its index is read once."""
    return Store(folder, size)


class Store:
    """Key -> (T, D) float32 rows. The first value seen for a key is the one it keeps."""

    def __init__(self, folder: Path | None, size: int) -> None:
        """`folder` None keeps everything in memory. Size: D."""
        self._folder, self._size = folder, size
        self._index: dict[bytes, Floats] = {}
        self._passing: dict[bytes, Floats] = {}
        if folder is not None:
            _sweep(folder)
        for path in self._paths():
            shard = _read(path, size)
            if shard is not None:
                self._admit(*shard)

    def __contains__(self, key: bytes) -> bool:
        return key in self._index or key in self._passing

    def __len__(self) -> int:
        return len(self._index)

    def get(self, key: bytes) -> Floats:
        """(T, D), read-only. Raises KeyError."""
        found = self._index.get(key)
        return self._passing[key] if found is None else found

    def put(self, keys: Sequence[bytes], values: Sequence[Floats]) -> None:
        """Remember on disk, in one new shard. A disk that refuses is a warning: the
        entries are then kept in memory."""
        if not keys:
            return
        shard = _pack(keys, values)
        if self._folder is None:
            self._admit(*shard)
            return
        try:
            self._admit(*_map(_write(self._folder, *shard), self._size))
            self._merge()
        except OSError as error:
            self._admit(*shard)
            warnings.warn(f"{self._folder}: encoded texts not cached: {error}", stacklevel=2)

    def pass_by(self, keys: Sequence[bytes], values: Sequence[Floats]) -> None:
        """Remember in memory only, and not for ever."""
        self._passing.update(zip(keys, values, strict=True))
        for key in list(self._passing)[: max(0, len(self._passing) - _PASSING)]:
            del self._passing[key]

    def _paths(self) -> list[Path]:
        return [] if self._folder is None else sorted(self._folder.glob("shard-*.safetensors"))

    def _admit(self, keys: NDArray[np.uint8], lengths: Ints, rows: Floats) -> None:
        ends = np.cumsum(lengths)
        for key, length, end in zip(keys, lengths, ends, strict=True):
            self._index.setdefault(key.tobytes(), rows[end - length : end])

    def _merge(self) -> None:
        small = [p for p in self._paths() if _bytes(p) < _SMALL]
        if len(small) <= _MANY:
            return
        entries: dict[bytes, Floats] = {}
        for keys, lengths, rows in _each(small, self._size):
            for key, value in zip(keys, np.split(rows, np.cumsum(lengths)[:-1]), strict=True):
                entries.setdefault(key.tobytes(), value)
        assert self._folder is not None
        merged = _write(self._folder, *_pack(list(entries), list(entries.values())))
        for path in small:
            if path != merged:
                path.unlink(missing_ok=True)  # another process may have merged it too


_DAY = 86_400
"""Seconds."""

Shard = tuple[NDArray[np.uint8], Ints, Floats]


def _sweep(folder: Path) -> None:
    """Remove drafts that a killed process left more than a day ago."""
    for draft in folder.glob(".shard-*.part"):
        with contextlib.suppress(FileNotFoundError):  # another process sweeps too
            if time.time() - draft.stat().st_mtime > _DAY:
                draft.unlink()


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # merged away by another process
        return _SMALL


def _pack(keys: Sequence[bytes], values: Sequence[Floats]) -> Shard:
    return (
        np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, _KEY),
        np.asarray([len(v) for v in values], dtype=np.int64),
        np.ascontiguousarray(np.concatenate(values), dtype=np.float32),
    )


def _digest(shard: Shard) -> str:
    return digest_bytes(*(np.ascontiguousarray(part).tobytes() for part in shard))


def _write(folder: Path, keys: NDArray[np.uint8], lengths: Ints, rows: Floats) -> Path:
    digest = _digest((keys, lengths, rows))
    path = folder / f"shard-{digest[:24]}.safetensors"
    arrays: dict[str, NDArray[Any]] = {"keys": keys, "lengths": lengths, "rows": rows}
    with atomic(path) as file:
        file.write(save(arrays, metadata={"digest": digest}))
    return path


def _each(paths: Iterable[Path], size: int) -> Iterable[Shard]:
    return (shard for path in paths if (shard := _read(path, size)) is not None)


def _read(path: Path, size: int) -> Shard | None:
    """The shard, its rows mapped from disk; None (and a warning) if it is not what was written."""
    try:
        shard = _map(path, size)
    except FileNotFoundError:  # merged away by another process: its entries are elsewhere
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(
            f"{path}: damaged ({error}); deleted, its texts are encoded again", stacklevel=2
        )
        with contextlib.suppress(OSError):  # in a read-only cache it stays, and is warned of
            path.unlink()
        return None
    return shard


def _map(path: Path, size: int) -> Shard:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("no header")
        header = json.loads(file.read(length))
    whole = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
    keys, lengths, rows = (_part(whole, header[n], d) for n, d in _PARTS)
    shard = (keys.reshape(-1, _KEY), lengths, rows.reshape(-1, size))
    if len(lengths) != len(shard[0]) or lengths.sum() != len(shard[2]):
        raise ValueError("shapes disagree")
    if _digest(shard) != header["__metadata__"]["digest"]:
        raise ValueError("digest differs")
    return shard


_PARTS = (("keys", np.uint8), ("lengths", np.int64), ("rows", np.float32))


def _part(whole: NDArray[np.uint8], entry: dict[str, list[int]], dtype: type) -> NDArray[Any]:
    start, end = entry["data_offsets"]
    return whole[start:end].view(dtype)
