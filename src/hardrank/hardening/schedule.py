"""How a weight, a radius or a number of steps changes while training goes on."""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from annotated_types import Gt, Le, Len
from pydantic import Field, model_validator

from hardrank.types import Share, spec

__all__ = ["Constant", "Phase", "Phases", "Ramp", "Schedule"]


@spec
class Constant:
    """The full value from the first step on."""

    begins: ClassVar[float] = 0.0
    """Share of training that is over when the value first leaves 0."""
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

    begins: ClassVar[float] = 0.0
    """It leaves 0 at the second step."""
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


@spec
class Phase:
    """One stretch of training with one value."""

    share: Share
    """Share of the full value."""
    until: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of training after which the next phase begins."""


@spec
class Phases:
    """A row of stretches: clean (0), mixed (e.g. 0.5), hard (1), or any other plan.

    As the weight of an objective, 0 is plain training and costs no more than that. The step
    at which a stretch ends is already of the next one.
    """

    kind: Literal["phases"] = "phases"
    phases: Annotated[tuple[Phase, ...], Len(min_length=1)]
    """In order of `until`, which the last one has at 1."""

    @model_validator(mode="after")
    def _cover_all_training(self) -> "Phases":
        ends = [phase.until for phase in self.phases]
        if ends[-1] != 1 or any(end >= later for end, later in pairwise(ends)):
            raise ValueError(f"`until` must rise from phase to phase and end at 1 (is {ends})")
        return self

    @property
    def begins(self) -> float:
        """Share of training that is over when the first stretch above 0 begins; 0 without one."""
        first = next((n for n, phase in enumerate(self.phases) if phase.share > 0), 0)
        return self.phases[first - 1].until if first else 0.0

    def at(self, progress: float) -> float:
        """The share of the full value at `progress`, the share of training already done."""
        return next((p.share for p in self.phases if progress < p.until), self.phases[-1].share)


Schedule = Annotated[Constant | Ramp | Phases, Field(discriminator="kind")]
