"""Answers of a language model, kept on disk as JSON lines, so that none is asked for twice."""

import json
import os
import threading
import warnings
from pathlib import Path

__all__ = ["Answers"]


class Answers:
    """Key -> answer; the first one seen for a key stays.

    Each answer is one appended line, written at once: many threads and processes may share a
    file. What a killed process left of its last line is stepped over and asked for again.
    """

    def __init__(self, path: Path | None) -> None:
        """`path` None keeps answers in memory only. A line that is none is a warning."""
        self._path, self._lock = path, threading.Lock()
        self._known: dict[str, str] = {}
        if path is not None and path.is_file():
            self._load(path)

    def get(self, key: str) -> str | None:
        return self._known.get(key)

    def put(self, key: str, answer: str) -> None:
        """Keep an answer. A disk that refuses is a warning: it is then kept in memory."""
        with self._lock:
            if key in self._known:
                return
            self._known[key] = answer
            if self._path is None:
                return
            try:
                self._append(json.dumps({"key": key, "answer": answer}))
            except OSError as error:
                warnings.warn(f"{self._path}: answer not kept: {error}", stacklevel=2)

    def _append(self, line: str) -> None:
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+", buffering=0) as file:
            # A torn line of a killed process must not swallow this one.
            torn = file.seek(0, os.SEEK_END) > 0
            torn = torn and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
            row = (b"\n" if torn else b"") + line.encode() + b"\n"
            if file.write(row) != len(row):
                raise OSError(f"{self._path}: the disk took a part of an answer only")

    def _load(self, path: Path) -> None:
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if isinstance(row["answer"], str):
                    self._known.setdefault(row["key"], row["answer"])
            except (ValueError, KeyError, TypeError):
                warnings.warn(
                    f"{path}, line {number}: no answer (a killed process may have left it);"
                    " it is asked for again",
                    stacklevel=2,
                )
