"""How well detectors find fake users, attack by attack, without ever having seen them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from hardrank.context import RunContext, derive
from hardrank.data.filtering import Detector
from hardrank.detection.examples import LabelledLog, check_apart, users_apart
from hardrank.errors import DataError
from hardrank.metrics.classification import average_precision, roc_auc
from hardrank.metrics.detection import Judged, bootstrap_judged, recall_at_fpr
from hardrank.metrics.intervals import Interval

__all__ = [
    "Detected",
    "Learner",
    "evaluate",
    "leave_one_attack_out",
    "leave_one_seed_out",
    "table",
]


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

    held_out: share of the real users whose labels no detector sees, nor its threshold: results
    are of them and of all fakes. Raises `DataError` for fewer than two families, `LeakError`
    when a fake user of a scored log has the items of one that was learned from.
    """
    families = _families(logs)
    if len(families) < 2:
        raise DataError(
            f"to leave one attack out takes two families of attacks (has {len(families)})",
            remedy="give logs of more attacks",
        )
    return {
        family: _left_out(
            spec, logs, run, lambda log, family=family: log.family == family,  # type: ignore[misc]
            name=family, held_out=held_out, false_alarms=false_alarms, draws=draws,
        )[family]
        for family in families
    }  # fmt: skip


def leave_one_seed_out(
    spec: Learner,
    logs: Sequence[LabelledLog],
    run: RunContext,
    *,
    held_out: float = 0.5,
    false_alarms: float = 0.01,
    draws: int = 500,
) -> dict[str, Detected]:
    """Family -> how well it is found by a detector that knows it from other seeds and targets.

    A log is scored by a detector that learned from no log of its seed and none of its target.
    Raises `DataError` when that leaves nothing to learn from; else as `leave_one_attack_out`.
    """
    judged: dict[str, list[tuple[LabelledLog, Judged]]] = {}
    for seed, target in sorted({(log.seed, log.target) for log in logs}):
        fit = _examples(
            [log for log in logs if log.seed != seed and log.target != target],
            held_out, run, f"seed {seed} and target '{target}'",
        )  # fmt: skip
        detector = spec.fit(fit, run)
        for log in (log for log in logs if (log.seed, log.target) == (seed, target)):
            check_apart(log, fit)
            found = _judged(detector, log, held_out, run.seed)
            judged.setdefault(log.family, []).append((log, found))
    rng = np.random.default_rng(derive(run.seed, "intervals"))
    return {
        family: _measured(family, parts, false_alarms, draws, rng)
        for family, parts in sorted(judged.items())
    }


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

    The real users are the same as in `leave_one_attack_out`, so that numbers compare.
    examples: what the detector learned from, if it did. Raises `LeakError` when they hold a
    fake user of the scored logs, `DataError` for no logs.
    """
    parts: dict[str, list[tuple[LabelledLog, Judged]]] = {}
    for log in logs:
        check_apart(log, examples)
        found = _judged(detector, log, held_out, run.seed)
        parts.setdefault(log.family, []).append((log, found))
    if not parts:
        raise DataError("no log to evaluate on", remedy="give logs with fake users")
    rng = np.random.default_rng(derive(run.seed, "intervals"))
    return {f: _measured(f, found, false_alarms, draws, rng) for f, found in sorted(parts.items())}


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


def _left_out(
    spec: Learner, logs: Sequence[LabelledLog], run: RunContext,
    scored: Callable[[LabelledLog], bool], *, name: str, held_out: float, false_alarms: float,
    draws: int,
) -> dict[str, Detected]:  # fmt: skip
    fit = _examples([log for log in logs if not scored(log)], held_out, run, f"'{name}'")
    return evaluate(
        spec.fit(fit, run), [log for log in logs if scored(log)], run, held_out=held_out,
        false_alarms=false_alarms, draws=draws, examples=fit,
    )  # fmt: skip


def _examples(
    logs: Sequence[LabelledLog], held_out: float, run: RunContext, without: str
) -> list[LabelledLog]:
    if not logs:
        raise DataError(
            f"nothing is left to learn from without {without}",
            remedy="give logs of more attacks, targets and seeds",
        )
    return [log.hiding(_tested(log, held_out, run.seed)) for log in logs]


def _tested(log: LabelledLog, share: float, seed: int) -> Any:
    return users_apart(log, share, seed, "tested")


def _judged(detector: Detector, log: LabelledLog, share: float, seed: int) -> Judged:
    """The fakes and the tested real users of a log; who is not judged is never flagged."""
    scores = np.asarray(detector(log.dataset), dtype=np.float64)
    rows = np.flatnonzero(log.active & (log.fake | _tested(log, share, seed)))
    found = np.nan_to_num(scores[rows], nan=-np.inf, neginf=-np.inf, posinf=np.inf)
    return Judged(log.fake[rows], found, rows.astype(np.int64))


def _measured(
    attack: str, parts: Sequence[tuple[LabelledLog, Judged]], false_alarms: float, draws: int,
    rng: np.random.Generator,
) -> Detected:  # fmt: skip
    logs = _same_people(parts)

    def recall(labels: Any, scores: Any) -> float:
        return recall_at_fpr(labels, scores, false_alarms)

    found = bootstrap_judged(logs, [roc_auc, average_precision, recall], rng, draws=draws)
    auroc, precision, share = (Interval(*(float(v) for v in row)) for row in found)
    real = {int(w) for log in logs for w in log.who[~log.labels]}
    return Detected(
        attack=attack, auroc=auroc, average_precision=precision, recall=share,
        false_alarms=false_alarms, logs=len(logs), fakes=int(sum(g.labels.sum() for g in logs)),
        users=len(real),
    )  # fmt: skip


def _same_people(parts: Sequence[tuple[LabelledLog, Judged]]) -> list[Judged]:
    """Row numbers become numbers of people: the same user id is the same one in every log."""
    numbers: dict[str, int] = {}
    out = []
    for log, judged in parts:
        ids = log.dataset.users["user_id"].gather(judged.who).to_list()
        who = [numbers.setdefault(name, len(numbers)) for name in ids]
        out.append(replace(judged, who=np.asarray(who, dtype=np.int64)))
    return out


def _families(logs: Sequence[LabelledLog]) -> list[str]:
    return sorted({log.family for log in logs})


def _said(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
