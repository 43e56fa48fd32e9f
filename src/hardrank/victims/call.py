"""A victim in this process: any Python callable, found by `module:callable`."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from hardrank.errors import ConfigError, VictimError
from hardrank.types import Scores
from hardrank.victims.line import Traffic
from hardrank.victims.question import Answers, Question, read_rows

__all__ = ["CallPort", "find_callable"]


@dataclass(eq=False, kw_only=True)
class CallPort:
    """Calls `rank(histories, items)`; `rank(histories, items, users=...)` if it has such a
    parameter. It gets lists and dictionaries of its own, which it may change."""

    function: Callable[..., Any]
    name: str
    traffic: Traffic = field(default_factory=Traffic)

    def ask(self, question: Question) -> tuple[Answers, Scores]:
        self.traffic.requests += 1
        histories = [list(history) for history in question.histories]
        items = [{**item, "text": dict(item["text"])} for item in question.items]
        more = {"users": list(question.users)} if self._wants_users else {}
        try:
            rows = self.function(histories, items, **more)
        except Exception as error:
            raise VictimError(f"{self.name} raised {_told(error)}") from error
        return read_rows(rows, question, self.name)

    @property
    def _wants_users(self) -> bool:
        try:
            return "users" in inspect.signature(self.function).parameters
        except (TypeError, ValueError):  # some built-in callables have no signature
            return False


def find_callable(target: str, folders: Sequence[Path]) -> Callable[..., Any]:
    """The callable of `module:callable` (`module:object.method` also); `folders` become
    importable. Raises `ConfigError` that says what is missing."""
    name, _, path = target.partition(":")
    for folder in reversed([str(f.resolve()) for f in folders]):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    found: Any = _module(name, target)
    for part in path.split("."):
        if not hasattr(found, part):
            known = [n for n in vars(found) if not n.startswith("_")] if name else []
            raise _mistake(target, f"'{name}' has no '{path}'; it has: {', '.join(known[:12])}")
        found = getattr(found, part)
    if not callable(found):
        raise _mistake(target, f"'{path}' is a {type(found).__name__}, not callable")
    return found  # type: ignore[no-any-return]


def _module(name: str, target: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if missing == name or name.startswith(f"{missing}."):
            where = ", ".join(p for p in sys.path[:2] if p)
            raise _mistake(target, f"no module '{missing}'; looked first in {where}") from error
        raise _mistake(target, f"'{name}' imports '{missing}', which is not installed") from error
    except Exception as error:
        raise _mistake(target, f"importing '{name}' raised {_told(error)}") from error


def _mistake(target: str, what: str) -> ConfigError:
    return ConfigError(f"victim '{target}'", [what])


def _told(error: Exception) -> str:
    """`ValueError: what (file.py, line 3)`: the last line of whoever wrote it."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{at}"
