"""How well detectors find fake users, attack by attack, without ever having seen them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data.filtering import Detector
from hardrank.detection.examples import LabelledLog, check_apart, users_apart
from hardrank.errors import DataError
from hardrank.metrics.detection import (
    Judged,
    auroc,
    average_precision,
    bootstrap_judged,
    recall_at_fpr,
)
from hardrank.metrics.intervals import Interval

__all__ = [
    "Detected",
    "Learner",
    "evaluate",
    "leave_one_attack_out",
    "leave_one_out",
    "table",
]

Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]
Parts = dict[str, list[tuple[Mask, Doubles, list[str]]]]
"""Family -> of each log: who is fake, the scores, and the ids, which name people."""


class Learner(Protocol):
    """The spec of a supervised detector."""

    @property
    def kind(self) -> str: ...

    def fit(self, examples: Sequence[LabelledLog], run: RunContext) -> Detector: ...


@dataclass(frozen=True, kw_only=True)
class Detected:
    """One detector on one attack family, with 95 % intervals over logs and users."""

    attack: str
    auroc: Interval
    average_precision: Interval
    """Depends on how many are fake: see `fakes` and `users`."""
    recall: Interval
    """Share of the fakes above the score that a share `false_alarms` of real users exceeds."""
    false_alarms: float
    logs: int
    fakes: int
    """Of all logs together."""
    users: int
    """Different real users, the same in each log; a learned detector never saw them."""

    def row(self) -> dict[str, Any]:
        """Flat, for a table of results; NaN and infinite bounds become None."""
        out: dict[str, Any] = {"attack": self.attack}
        for name in ("auroc", "average_precision", "recall"):
            found: Interval = getattr(self, name)
            for part, value in (("", found.value), ("_low", found.low), ("_high", found.high)):
                out[name + part] = value if np.isfinite(value) else None
        counts = {n: getattr(self, n) for n in ("false_alarms", "logs", "fakes", "users")}
        return out | counts


def leave_one_attack_out(
    spec: Learner,
    logs: Sequence[LabelledLog],
    run: RunContext,
    *,
    held_out: float = 0.5,
    false_alarms: float = 0.01,
    draws: int = 500,
) -> dict[str, Detected]:
    """Family -> how well it is found by a detector that learned from all other families.

    See `leave_one_out`.
    """
    return leave_one_out(
        spec, logs, run, by="attack", held_out=held_out, false_alarms=false_alarms, draws=draws
    )


def leave_one_out(
    spec: Learner,
    logs: Sequence[LabelledLog],
    run: RunContext,
    *,
    by: Literal["attack", "target", "seed"],
    held_out: float = 0.5,
    false_alarms: float = 0.01,
    draws: int = 500,
) -> dict[str, Detected]:
    """Family -> how well it is found by detectors that learned from the logs of other attack
    families, or from attacks, known ones too, on other targets or of other seeds.

    held_out: share of the real users whose labels no detector sees, nor its threshold: results
    are of them and of all fakes. Raises `DataError` for fewer than two families (targets,
    seeds), `LeakError` when a fake user of a scored log has just the items of one that was
    learned from.
    """
    names = [_group(log, by) for log in logs]
    if len(set(names)) < 2:
        raise DataError(
            f"to leave one {by} out takes logs of two (has {len(set(names))})",
            remedy=f"give logs of more {by}s",
        )
    parts: Parts = {}
    for name in sorted(set(names)):
        rest = [log for log, other in zip(logs, names, strict=True) if other != name]
        examples = [log.hiding(_tested(log, held_out, run.seed)) for log in rest]
        detector = spec.fit(examples, run)
        scored = [log for log, other in zip(logs, names, strict=True) if other == name]
        _judge(detector, scored, run, held_out, examples, parts)
    return _measured(parts, false_alarms, draws, run)


def evaluate(
    detector: Detector,
    logs: Sequence[LabelledLog],
    run: RunContext,
    *,
    held_out: float = 0.5,
    false_alarms: float = 0.01,
    draws: int = 500,
    examples: Sequence[LabelledLog] = (),
) -> dict[str, Detected]:
    """Family -> how well a detector finds it that is there already.

    The real users are the same as in `leave_one_out`, so that numbers compare. examples: what
    the detector learned from, if it did. Raises `LeakError` when they hold a fake user or the
    label of a real one that it is scored on, `DataError` for no logs.
    """
    if not logs:
        raise DataError("no log to evaluate on", remedy="give logs with fake users")
    parts: Parts = {}
    _judge(detector, logs, run, held_out, examples, parts)
    return _measured(parts, false_alarms, draws, run)


def table(found: Mapping[str, Detected]) -> list[str]:
    """Lines for a terminal."""
    share = next(iter(found.values())).false_alarms if found else 0.01
    heads = ("attack", "AUROC", "AP", f"recall at {share:.3g} FPR", "fakes", "users", "logs")
    rows = [
        (d.attack, _said(d.auroc), _said(d.average_precision), _said(d.recall),
         str(d.fakes), str(d.users), str(d.logs))
        for d in found.values()
    ]  # fmt: skip
    widths = [max(len(row[c]) for row in [heads, *rows]) for c in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in [heads, *rows]
    ]
    return lines


def _group(log: LabelledLog, by: str) -> str:
    return {"attack": log.family, "target": log.target, "seed": str(log.seed)}[by]


def _tested(log: LabelledLog, share: float, seed: int) -> Mask:
    """(U,) the real users that results are of."""
    return users_apart(log, share, seed, "tested") & ~log.fake


def _judge(
    detector: Detector, logs: Sequence[LabelledLog], run: RunContext, held_out: float,
    examples: Sequence[LabelledLog], parts: Parts,
) -> None:  # fmt: skip
    """Adds the scores of the fakes and of the tested real users of each log."""
    for log in logs:
        tested = _tested(log, held_out, run.seed)
        check_apart(log, tested, examples)
        scores = np.asarray(detector(log.dataset), dtype=np.float64)
        rows = np.flatnonzero(log.active & (log.fake | tested))
        # who is not judged is never flagged
        found = np.nan_to_num(scores[rows], nan=-np.inf, neginf=-np.inf, posinf=np.inf)
        ids = log.dataset.users["user_id"].gather(rows).to_list()
        parts.setdefault(log.family, []).append((log.fake[rows], found, ids))


def _measured(
    parts: Parts, false_alarms: float, draws: int, run: RunContext
) -> dict[str, Detected]:
    return {
        family: _summary(
            family, _same_people(parts[family]), false_alarms, draws,
            np.random.default_rng(derive(run.seed, "intervals", family)),
        )
        for family in sorted(parts)
    }  # fmt: skip


def _summary(
    attack: str, logs: Sequence[Judged], false_alarms: float, draws: int, rng: np.random.Generator
) -> Detected:
    def recall(scores: Doubles, labels: Mask) -> float:
        return recall_at_fpr(scores, labels, false_alarms)

    found = bootstrap_judged(logs, [auroc, average_precision, recall], rng, draws=draws)
    area, precision, share = (Interval(*(float(v) for v in row)) for row in found)
    real = {int(w) for log in logs for w in log.who[~log.labels]}
    return Detected(
        attack=attack, auroc=area, average_precision=precision, recall=share,
        false_alarms=false_alarms, logs=len(logs), fakes=int(sum(g.labels.sum() for g in logs)),
        users=len(real),
    )  # fmt: skip


def _same_people(parts: Sequence[tuple[Mask, Doubles, list[str]]]) -> list[Judged]:
    """User ids become numbers: the same id is the same person in every log."""
    numbers: dict[str, int] = {}
    return [
        Judged(scores, fake, np.asarray([numbers.setdefault(i, len(numbers)) for i in ids]))
        for fake, scores, ids in parts
    ]


def _said(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
