"""Stop training when the model withstands enough, or when it learns the wrong thing."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Annotated, Literal

from pydantic import Field

from hardrank.errors import Unsupported
from hardrank.training.watch import catastrophic_overfitting
from hardrank.types import Count, Share, spec

__all__ = ["CatastrophicOverfitting", "QualityFloor", "Stop", "StopAtRobustError"]

_OF_EVERY_EPOCH = {"epoch", "loss", "seconds"}


@spec
class StopAtRobustError:
    """Stop once the validation error under attack is at or below a target.

    The error is `robust_error` of the validation rows, in [0, 1]; never of training or
    test data. Target 1 stops after the first validation. Target 0 never stops: no error on
    finite data shows that there is none.
    """

    kind: Literal["robust-error"] = "robust-error"
    target: Share
    """Largest share of attacked validation cases that may still go wrong."""
    patience: Count = 1
    """Validations in a row that must reach the target: one alone may be luck."""

    def check(self, history: Sequence[Mapping[str, float]]) -> str | None:
        """The reason to stop after these epochs, or None to go on.

        Epochs without validation are passed over. Raises `Unsupported` when a validation
        does not measure the robust error, for then the rule could never act.
        """
        validated = [row for row in history if _own(row)]
        if any("robust_error" not in row for row in validated):
            raise Unsupported(
                "stopping at a robust error needs a validation that reports 'robust_error'"
            )
        errors = [row["robust_error"] for row in validated]
        reached = sum(1 for _ in takewhile(lambda error: error <= self.target, errors[::-1]))
        if self.target == 0 or reached < self.patience:
            return None
        times = f" in {reached} validations" if self.patience > 1 else ""
        return f"robust error {errors[-1]:.4g} reached the target {self.target:g}{times}"


@spec
class QualityFloor:
    """Stop once clean quality on validation data has fallen too far below its best.

    A model that learns to rank nothing in particular withstands everything.
    """

    kind: Literal["quality-floor"] = "quality-floor"
    loss: Share = 0.1
    """Largest relative loss of the validation metric against the best epoch so far."""

    def check(self, history: Sequence[Mapping[str, float]]) -> str | None:
        """The reason to stop after these epochs, or None to go on. The metric is the first
        of a validation; epochs without one are passed over."""
        values = [next(iter(own.values())) for row in history if (own := _own(row))]
        if not values or values[-1] >= (1 - self.loss) * max(values):
            return None
        return f"quality {values[-1]:.4g} fell below the floor, best was {max(values):.4g}"


@spec
class CatastrophicOverfitting:
    """Stop once training by one gradient step defeats that step and nothing else.

    Wong et al., ICLR 2020, arXiv:2001.03994, section 5. Validation reports `robust_error`
    under PGD and `single_step_error` under the objective's own step; see
    `hardrank.training.watch`. Without this rule the same is written to the log and, as
    `warning`, to `training.json`, and training goes on. The result is an over-fitted model
    unless `keep` is "robust".
    """

    kind: Literal["catastrophic-overfitting"] = "catastrophic-overfitting"
    rise: Share = 0.1
    """Largest rise of the error under PGD above its lowest so far, while the error under one
    step does not rise."""

    def check(self, history: Sequence[Mapping[str, float]]) -> str | None:
        """The reason to stop after these epochs, or None to go on.

        Raises `Unsupported` when a validation does not measure both errors: the objective's
        `inner` is not a single step.
        """
        validated = [row for row in history if _own(row)]
        if any("single_step_error" not in row for row in validated):
            raise Unsupported(
                "'catastrophic-overfitting' compares one gradient step with many: it is for an "
                "`inner` of one step ('fgsm', 'r-fgsm', 'fgm'); remove the rule for others"
            )
        return catastrophic_overfitting(validated, self.rise)


Stop = Annotated[
    StopAtRobustError | QualityFloor | CatastrophicOverfitting, Field(discriminator="kind")
]
"""What `stop` of an objective can spell."""


def _own(row: Mapping[str, float]) -> dict[str, float]:
    return {k: v for k, v in row.items() if k not in _OF_EVERY_EPOCH}
