"""A small fixed question: who the victim is, and whether it can be audited at all."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hardrank.errors import DataError, VictimError
from hardrank.files import digest_bytes, write_json
from hardrank.types import Scores
from hardrank.victims.line import Port
from hardrank.victims.question import Answers, Question

__all__ = ["Probe", "Seen", "apart", "examine"]

TOLERANCE = 1e-5
"""Share of the largest score below which two scores are called equal: order of sums."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe:
    """At most 8 queries and 32 items, evenly spaced; the same for the same data."""

    question: Question

    @property
    def digest(self) -> str:
        return digest_bytes(self.question.body())

    def in_company(self) -> Question:
        """Every second candidate and all queries, both backwards."""
        asked = self.question
        return replace(
            asked, histories=asked.histories[::-1], users=asked.users[::-1],
            items=asked.items[::-2],
        )  # fmt: skip

    def rewritten(self) -> Question:
        """Each candidate with the texts of the next one."""
        items = self.question.items
        moved = [*items[1:], items[0]]
        swapped = [{**a, "text": b["text"]} for a, b in zip(items, moved, strict=True)]
        return replace(self.question, items=swapped)


@dataclass(frozen=True, eq=False, kw_only=True)
class Seen:
    """What the probe showed."""

    answers: Answers
    scores: Scores
    """(q, c) the first answer."""
    difference: float = 0.0
    """Largest difference between two answers to the same question."""
    reads_text: bool = True
    """Whether other texts under the same ids change any score."""
    identity: str = ""

    @property
    def steady(self) -> bool:
        return self.difference <= _slack(self.scores, self.answers)

    def save(self, path: Path, probe: Probe) -> None:
        write_json(
            path,
            {
                "probe": probe.digest,
                "answers": self.answers,
                "scores": self.scores.tolist(),
                "difference": self.difference,
                "reads_text": self.reads_text,
                "identity": self.identity,
            },
        )

    @classmethod
    def load(cls, path: Path, probe: Probe) -> "Seen | None":
        """What an earlier run saw; None where it asked something else."""
        if not path.is_file():
            return None
        try:
            row: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if row.pop("probe") != probe.digest:
                return None
            return cls(**{**row, "scores": np.array(row["scores"], dtype=np.float32)})
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"not a record of a victim ({error})", path=path, remedy="remove the file"
            ) from error


def apart(first: Scores, second: Scores) -> float:
    """Largest difference of two answers."""
    return float(np.abs(first - second).max(initial=0.0))


def examine(port: Port, probe: Probe, *, repeats: int, before: Seen | None) -> Seen:
    """Ask the probe; more than once where no earlier run saw the same answers.

    Raises `VictimError` for a victim that answers differently twice (unless `repeats` is
    above 1), and for one whose scores depend on what else is in the request.
    """
    answers, first = port.ask(probe.question)
    if before is not None and before.answers == answers:
        alike = apart(first, before.scores) <= _slack(before.scores, answers)
        if alike or not before.steady:
            return before
    second = port.ask(probe.question)[1]
    seen = Seen(answers=answers, scores=first, difference=apart(first, second))
    if not seen.steady:
        if repeats == 1:
            raise VictimError(_unsteady(port.name, seen.difference))
        return replace(seen, identity=digest_bytes(probe.digest.encode(), port.name.encode()))
    if answers == "scores":
        _independent(port, probe, first)
    moved = apart(first, port.ask(probe.rewritten())[1])
    said = (probe.digest.encode(), answers.encode(), first.tobytes())
    return replace(seen, reads_text=moved > _slack(first, answers), identity=digest_bytes(*said))


def _independent(port: Port, probe: Probe, scores: Scores) -> None:
    """Scores of different requests are compared, so a score may not depend on the request."""
    asked = probe.in_company()
    if not asked.items:
        return
    found = port.ask(asked)[1]
    gap = apart(found, scores[::-1, ::-2])
    if gap > _slack(scores, "scores"):
        raise VictimError(
            f"{port.name}: the score of an item for a query changes by {gap:g} with what else is "
            "in the request; answer raw scores (no softmax, ranks or other normalisation over "
            "the candidates), or answer 'ranked' instead"
        )


def _slack(scores: Scores, answers: Answers) -> float:
    return TOLERANCE * float(np.abs(scores).max(initial=0.0)) if answers == "scores" else 0.0


def _unsteady(name: str, difference: float) -> str:
    return (
        f"{name}: two answers to the same question differ by up to {difference:g}; switch off "
        "sampling and exploration, or set victim.repeats to 5 or more to audit the mean answer"
    )
