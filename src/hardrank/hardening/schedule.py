"""How a weight or a radius changes while training goes on."""

from typing import Annotated, Literal

from annotated_types import Gt, Le
from pydantic import Field, model_validator

from hardrank.types import Share, spec

__all__ = ["Constant", "Ramp", "Schedule"]


@spec
class Constant:
    """The full value from the first step on."""

    kind: Literal["constant"] = "constant"

    def at(self, progress: float) -> float:
        """The share of the full value at `progress`, the share of training already done."""
        return 1.0


@spec
class Ramp:
    """From weak to strong in a straight line, never falling.

    Curriculum adversarial training, Cai et al., IJCAI 2018, arXiv:1805.04807; there the
    number of steps grows at plateaus, here the value itself grows with time.
    """

    kind: Literal["ramp"] = "ramp"
    start_share: Share = 0.0
    """Share of the full value at the first step."""
    end_share: Share = 1.0
    """Share of the full value at the end of the ramp; at least `start_share`."""
    until: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of training after which the value stays at `end_share`."""

    @model_validator(mode="after")
    def _never_falls(self) -> "Ramp":
        if self.start_share > self.end_share:
            raise ValueError("start_share must not be above end_share: a ramp never falls")
        return self

    def at(self, progress: float) -> float:
        """The share of the full value at `progress`, the share of training already done."""
        gone = min(progress / self.until, 1.0)
        return self.start_share + (self.end_share - self.start_share) * gone


Schedule = Annotated[Constant | Ramp, Field(discriminator="kind")]
