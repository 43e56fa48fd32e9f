"""What a victim is asked and what it may answer: version 1 of the contract."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hardrank.errors import VictimError
from hardrank.types import Scores

__all__ = ["KEYS", "VERSION", "Answers", "Question", "read_answer", "read_rows"]

VERSION = 1
Answers = Literal["scores", "ranks"]
"""A score for each candidate, or candidates in order, best first."""
KEYS: dict[str, Answers] = {"scores": "scores", "ranked": "ranks"}
"""Key of a JSON answer -> what it holds."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """Q queries, each about the same C candidates."""

    histories: Sequence[Sequence[str]]
    """(Q,) item ids, oldest first."""
    users: Sequence[str | None]
    """(Q,) user ids; None for nobody in the data."""
    items: Sequence[Mapping[str, Any]]
    """(C,) `{"item_id": ..., "text": {"title": ...}}`; ids do not repeat within a question
    for ranks, and may for scores (versions of one listing)."""
    k: int = 10
    """Length of the lists that the audit looks at: a hint for those who answer ranks."""

    @property
    def size(self) -> int:
        """Scores asked for, Q x C."""
        return len(self.histories) * len(self.items)

    def body(self) -> bytes:
        """The JSON of a POST."""
        asked = [
            {"history": list(h), "user": u} for h, u in zip(self.histories, self.users, strict=True)
        ]
        whole = {"version": VERSION, "k": self.k, "queries": asked, "candidates": list(self.items)}
        return json.dumps(whole, ensure_ascii=False).encode("utf-8", "surrogatepass")


def read_answer(answer: object, question: Question, source: str) -> tuple[Answers, Scores]:
    """(Q, C) from the object that a service answered; see `read_rows`."""
    if not isinstance(answer, dict):
        raise _wrong(source, f"answered {_kind(answer)} instead of a JSON object")
    found = [key for key in KEYS if key in answer]
    if len(found) != 1:
        keys = ", ".join(f"'{key}'" for key in list(answer)[:8]) or "none"
        raise _wrong(source, f"answered not exactly one of 'scores' or 'ranked' (has: {keys})")
    return read_rows(answer[found[0]], question, source, KEYS[found[0]])


def read_rows(
    rows: object, question: Question, source: str, answers: Answers | None = None
) -> tuple[Answers, Scores]:
    """What the rows are, and (Q, C) float32. Ranks become scores: minus the place, from 0;
    candidates that are not in the list all get minus C, below everything in it.

    answers: None to tell by the first row. Raises `VictimError` that says which row and
    which candidate are wrong.
    """
    rows = rows.tolist() if isinstance(rows, np.ndarray) and rows.dtype.kind not in "fiu" else rows
    if not isinstance(rows, np.ndarray | list | tuple):
        raise _wrong(source, f"answered {_kind(rows)} instead of a list with one row a query")
    if len(rows) != len(question.histories):
        raise _wrong(source, f"answered {len(rows)} rows for {len(question.histories)} queries")
    answers = answers or _told(rows)
    read = _places if answers == "ranks" else _numbers
    return answers, read(rows, question, source)


def _told(rows: Sequence[Any] | np.ndarray[Any, Any]) -> Answers:
    """Ids are text; a list without any candidate can only be a ranking."""
    if isinstance(rows, np.ndarray):
        return "scores"
    firsts = [row[0] for row in rows if isinstance(row, list | tuple) and len(row)]
    listed = all(isinstance(row, list | tuple) for row in rows)
    return "ranks" if listed and (not firsts or isinstance(firsts[0], str)) else "scores"


def _numbers(rows: Any, question: Question, source: str) -> Scores:
    width = len(question.items)
    try:
        found = np.asarray(rows)
    except ValueError:  # rows of several lengths
        found = np.empty(0, dtype=object)
    if found.dtype.kind not in "fiu" or found.shape != (len(rows), width):
        raise _wrong(source, _first_wrong(rows, width))
    with np.errstate(over="ignore"):
        scores: Scores = found.astype(np.float32)
    if not np.isfinite(scores).all():
        q, c = (int(n) for n in np.argwhere(~np.isfinite(scores))[0])
        raise VictimError(
            f"{source}: scores[{q}][{c}] (item '{question.items[c]['item_id']}') is "
            f"{scores[q, c]}; answer finite numbers: items that a user has seen are taken out "
            "by the audit, and for one that must never be shown answer a number below all others"
        )
    return scores


def _first_wrong(rows: Any, width: int) -> str:
    for q, row in enumerate(rows):
        if isinstance(row, str) or not hasattr(row, "__len__"):
            return f"scores[{q}] is {_kind(row)} instead of a list of {width} numbers"
        if len(row) != width:
            return f"scores[{q}] has {len(row)} numbers for {width} candidates"
        for c, value in enumerate(row):
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                return f"scores[{q}][{c}] is {_kind(value)} instead of a number"
    return "scores are not numbers"


def _places(rows: Any, question: Question, source: str) -> Scores:
    place = {item["item_id"]: n for n, item in enumerate(question.items)}
    scores = np.full((len(rows), len(place)), -len(place), dtype=np.float32)
    for q, row in enumerate(rows):
        if not isinstance(row, list | tuple | np.ndarray):
            raise _wrong(source, f"ranked[{q}] is {_kind(row)} instead of a list of item ids")
        seen: set[str] = set()
        for n, name in enumerate(row):
            if not isinstance(name, str):
                raise _wrong(source, f"ranked[{q}][{n}] is {_kind(name)} instead of an item id")
            if name not in place:
                raise _wrong(source, f"ranked[{q}][{n}] '{name[:60]}' is not among the candidates")
            if name in seen:
                raise _wrong(source, f"ranked[{q}] holds '{name[:60]}' twice")
            seen.add(name)
            scores[q, place[name]] = -n
    return scores


def _wrong(source: str, what: str) -> VictimError:
    return VictimError(f"{source}: {what}; see the contract in docs/victims.md")


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    names = {str: "text", dict: "an object", list: "a list", int: "a number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")
