"""When training ends, and which of its epochs was the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hardrank.errors import Unsupported
from hardrank.training.checkpoint import Progress
from hardrank.training.options import Training

__all__ = ["AnyOf", "StopRule", "value_of", "why_stop"]


class StopRule(Protocol):
    """Says why training should stop after this epoch, or None to go on."""

    def check(self, history: list[dict[str, float]]) -> str | None: ...


@dataclass(frozen=True)
class AnyOf:
    """Stops when any of its rules does, with that rule's reason."""

    rules: Sequence[StopRule]

    def check(self, history: list[dict[str, float]]) -> str | None:
        reasons = (rule.check(history) for rule in self.rules)
        return next((reason for reason in reasons if reason), None)


def value_of(row: Mapping[str, float], options: Training) -> float:
    """What the best epoch has most of: the first metric, or the least robust error.

    Raises `Unsupported` when the robust error is wanted and validation does not report it.
    """
    if options.keep != "robust":
        return next(v for k, v in row.items() if k not in ("epoch", "loss"))
    if "robust_error" not in row:
        raise Unsupported(
            '`keep = "robust"`: validation reports no robust error for this model and data; '
            "keep the best or the last"
        )
    return -row["robust_error"]


def why_stop(progress: Progress, options: Training, stop: StopRule | None) -> str:
    """The reason to train no further; empty to go on."""
    if stop and (reason := stop.check(progress.history)):
        return reason
    waited = (progress.epoch - progress.best_epoch) // options.every
    if options.patience and progress.best_epoch and waited >= options.patience:
        return f"no better validation value in {options.patience} validations"
    if progress.epoch >= options.epochs:
        return "all epochs done"
    return ""
