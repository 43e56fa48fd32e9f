"""Answers on disk, appended one by one: what was answered once is not asked again."""

import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from hardrank.errors import VictimError
from hardrank.types import Floats

__all__ = ["KEY", "Store"]

_log = logging.getLogger("hardrank")
KEY = 32
"""Bytes of a key: a SHA-256."""
_HEAD = struct.Struct("<4s32sIII")
"""Mark, key, numbers that follow, scores they cost, CRC-32 of key, cost and numbers."""
_MARK = b"hra1"


@dataclass(eq=False)
class Store:
    """Key -> a row of float32. A record is there whole or not at all: what a killed process
    or a power cut left of the last ones is cut off by the next `open`.

    Only one process may write a file at a time. Raises `VictimError` if another one does.
    """

    path: Path
    cost: int = 0
    """Scores that all records together have cost."""
    _places: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Key -> (offset of the head, numbers)."""
    _end: int = 0
    _file: IO[bytes] | None = None

    def open(self) -> "Store":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise VictimError(
                f"{self.path}: another audit is writing there; wait for it or give another --out"
            ) from error
        size = os.fstat(self._file.fileno()).st_size
        for key, count, cost in self._records(size):
            self._places[key] = (self._end, count)
            self._end += _HEAD.size + 4 * count
            self.cost += cost
        if self._end < size:
            _log.warning("%s: %d unfinished bytes cut off", self.path, size - self._end)
            os.ftruncate(self._handle, self._end)
        return self

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def get(self, keys: Sequence[bytes]) -> list[Floats | None]:
        """The row of each key, None where there is none or where it was damaged since."""
        return [self._read(key) for key in keys]

    def put(self, keys: Sequence[bytes], rows: Floats, cost: int) -> None:
        """Append a row for each key and wait until they are on disk. rows: (N, C); cost:
        scores asked for, of each row."""
        count, parts = rows.shape[1], []
        for key, row in zip(keys, np.ascontiguousarray(rows, dtype="<f4"), strict=True):
            content = row.tobytes()
            parts += [_HEAD.pack(_MARK, key, count, cost, _check(key, cost, content)), content]
        assert self._file is not None
        self._file.write(b"".join(parts))
        self._file.flush()
        os.fsync(self._handle)
        for key in keys:
            self._places[key] = (self._end, count)
            self._end += _HEAD.size + 4 * count
        self.cost += cost * len(keys)

    @property
    def _handle(self) -> int:
        assert self._file is not None, "the store is not open"
        return self._file.fileno()

    def _read(self, key: bytes) -> Floats | None:
        if key not in self._places:
            return None
        offset, count = self._places[key]
        content = os.pread(self._handle, _HEAD.size + 4 * count, offset)
        if not _whole(content):
            _log.warning("%s: a damaged answer is asked for again", self.path)
            return None
        return np.frombuffer(content, dtype="<f4", offset=_HEAD.size)

    def _records(self, size: int) -> Iterator[tuple[bytes, int, int]]:
        """Heads in order, up to the first that is not whole. Contents are checked when they
        are read, and for the last record here: only that one can be torn."""
        offset, last = 0, None
        while offset + _HEAD.size <= size:
            mark, key, count, cost, _ = _HEAD.unpack(os.pread(self._handle, _HEAD.size, offset))
            length = _HEAD.size + 4 * count
            if mark != _MARK or offset + length > size:
                break
            if last is not None:
                yield last
            last, begun, offset = (key, count, cost), offset, offset + length
        if last is not None and _whole(os.pread(self._handle, offset - begun, begun)):
            yield last


def _whole(record: bytes) -> bool:
    if len(record) < _HEAD.size:
        return False
    mark, key, count, cost, check = _HEAD.unpack_from(record)
    content = record[_HEAD.size :]
    complete = mark == _MARK and len(content) == 4 * count
    return bool(complete and check == _check(key, cost, content))


def _check(key: bytes, cost: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(key + cost.to_bytes(4, "little")))
