"""What the files of `hardrank detect` can say, and every mistake in them at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Gt, Len, Lt
from pydantic import TypeAdapter, ValidationError, model_validator

from hardrank.attacks.profiles import ProfileAttackSpec
from hardrank.data.sources import Source
from hardrank.data.splits import Splitter
from hardrank.detection.stored import LearnedDetector
from hardrank.detection.supervised import BoostedDetector
from hardrank.errors import ConfigError
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import expanded, read_toml
from hardrank.threats import Budget, Demote, Promote, ThreatModel
from hardrank.types import Count, Share, spec

__all__ = ["Evaluation", "Fitting", "Scan", "load_fitting", "load_scan"]

T = TypeVar("T")


@spec
class Evaluation:
    """How the fitted detector is measured: on attacks that it never saw."""

    held_out: Annotated[float, Gt(0), Lt(1)] = 0.5
    """Share of the real users that no detector learns from; results are of them."""
    false_alarms: Share = 0.01
    """Share of those users at which recall is read."""
    draws: Count = 500
    """Of the bootstrap."""


@spec
class Fitting:
    """`hardrank detect fit FILE`: attacks on a clean log, and a detector that learns them."""

    name: str
    """Of the detector; it names the default folder."""
    seed: int = 0
    """Of targets, attacks and the detector."""
    data: Source
    """A log with few fake users, or none: all its users count as real."""
    split: Splitter | None = None
    """Learn from the training events alone; None takes the whole log."""
    threat: ThreatModel = ThreatModel(
        surface="profiles",
        goal=Promote(items="unpopular:3"),
        budget=Budget(profiles=50, profile_events=100),
    )
    """Targets, knowledge and budget of the attacks to learn from."""
    attacks: Annotated[tuple[ProfileAttackSpec, ...], Len(min_length=1)]
    """Each is mounted on every target, each time on a clean log."""
    detector: LearnedDetector = BoostedDetector()
    """What learns."""
    evaluation: Evaluation = Evaluation()
    """How it is measured."""

    @model_validator(mode="after")
    def _writes_profiles(self) -> "Fitting":
        if self.threat.surface != "profiles":
            raise ValueError("threat.surface must be 'profiles': fake users are looked for")
        if not isinstance(self.threat.goal, Promote | Demote):
            raise ValueError("threat.goal must promote or demote items")
        if not self.threat.budget.profiles:
            raise ValueError("threat.budget.profiles: give at least one fake user to learn from")
        return self


@spec
class Scan:
    """`hardrank detect scan ... --data FILE`: the log to look through."""

    data: Source
    """Where users, items and events come from."""


_FITTING: TypeAdapter[Fitting] = TypeAdapter(Fitting)
_SCAN: TypeAdapter[Scan] = TypeAdapter(Scan)


def load_fitting(path: Path) -> Fitting:
    """Raises `ConfigError` that lists all mistakes of the file."""
    return _parsed(_FITTING, Fitting, read_toml(path), str(path))


def load_scan(path: Path) -> Scan:
    """The `[data]` of a file, be it one for `detect scan` or one for `detect fit`.

    Raises `ConfigError` that lists all mistakes of the file."""
    raw = read_toml(path)
    if "attacks" in raw:
        return Scan(data=_parsed(_FITTING, Fitting, raw, str(path)).data)
    return _parsed(_SCAN, Scan, raw, str(path))


def _parsed(adapter: TypeAdapter[T], root: type, raw: Mapping[str, Any], source: str) -> T:
    try:  # strict JSON: lists become tuples, but "3" or true is no number
        return adapter.validate_json(json.dumps(expanded(raw), default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(source, mistakes(error, root)) from error
