"""Several reasons to stop training as one rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardrank.training.loop import StopRule

__all__ = ["AnyOf"]


@dataclass(frozen=True)
class AnyOf:
    """Stops when any of its rules does, with that rule's reason."""

    rules: Sequence[StopRule]

    def check(self, history: list[dict[str, float]]) -> str | None:
        reasons = (rule.check(history) for rule in self.rules)
        return next((reason for reason in reasons if reason), None)
