"""An entry of a leaderboard: small JSON that a person can review, and its mistakes."""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import TypeAdapter, ValidationError, model_validator

from hardrank.errors import ConfigError
from hardrank.experiment.mistakes import mistakes
from hardrank.types import Count, GoalKind, Knowledge, Natural, Surface, spec

__all__ = ["Entry", "Figure", "KnownData", "Threat", "as_json", "read_entry", "threat_label"]

SCHEMA = 1
_REMEDY = "make the entry again with `hardrank leaderboard add`"


@spec
class KnownData:
    """The dataset, so that no two are taken for one."""

    name: str
    fingerprint: str
    """Digest of users, items and events."""
    synthetic: bool


@spec
class Threat:
    """A threat model and the attacks that were mounted under it."""

    description: str
    """Goal, knowledge, surface and budget in a sentence."""
    goal: GoalKind
    knowledge: Knowledge
    surface: Surface
    k: Count
    """Length of the lists that the attacker wants to be in."""
    attacks: Annotated[tuple[str, ...], Len(min_length=1)]
    """Labels, as samples carry them."""


@spec
class Figure:
    """One number, and how to compute it again from the samples."""

    subject: str
    metric: str
    group: str
    trial: str
    """Attack label; `clean` where there is none."""
    formula: str
    where: dict[str, Any]
    versus: dict[str, Any]
    value: float | None
    """None: could not be measured; `reason` says why."""
    low: float | None
    """95 % bootstrap interval."""
    high: float | None
    n: Natural
    """Users or targets."""
    reliable: bool
    reason: str = ""

    @model_validator(mode="after")
    def _is_a_number_or_says_why(self) -> "Figure":
        numbers = [v for v in (self.low, self.value, self.high) if v is not None]
        if not all(map(math.isfinite, numbers)):
            raise ValueError("value, low and high must be finite")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low must be at most high")
        if self.value is not None and self.n == 0:
            raise ValueError("a value needs samples: n is 0")
        if (self.value is None or not self.reliable) and not self.reason:
            raise ValueError("reason: say why there is no reliable value")
        return self


@spec
class Entry:
    """One hardened model beside its control on one dataset."""

    schema: Literal[1]
    """Version of this format."""
    name: Annotated[str, Len(min_length=1)]
    """Of the model, as the leaderboard shows it."""
    citation: Annotated[str, Len(min_length=1)]
    """Where the method is described."""
    subject: str
    """`model/arm`, as samples carry it."""
    control: str
    dataset: KnownData
    protocol: str
    seeds: Annotated[tuple[int, ...], Len(min_length=1)]
    threats: Annotated[tuple[Threat, ...], Len(min_length=1)]
    figures: Annotated[tuple[Figure, ...], Len(min_length=1)]
    unreliable: bool
    reasons: tuple[str, ...]
    """Why it is unreliable; empty where it is not."""
    samples_sha256: Annotated[str, Len(64, 64)]
    """Digest of the run's samples.parquet."""
    hardrank: str
    """Version that made the entry."""

    @model_validator(mode="after")
    def _holds_together(self) -> "Entry":
        if self.unreliable != bool(self.reasons):
            raise ValueError("unreliable must be true exactly where reasons are given")
        if self.subject.partition("/")[0] != self.control.partition("/")[0]:
            raise ValueError("control: must be of the same model as subject")
        doubted = [f.reason for f in self.figures if not f.reliable]
        hidden = [reason for reason in doubted if reason not in self.reasons]
        if hidden:
            raise ValueError(f"reasons: a figure is not reliable and this is missing: {hidden[0]}")
        for threat in self.threats:
            label = threat_label(threat.attacks)
            if self.figure("worst(er_gain)", label) is None:
                raise ValueError(f"figures: no worst(er_gain) of '{label}'")
        return self

    def figure(self, metric: str, trial: str = "clean", group: str = "all") -> Figure | None:
        """Of the hardened subject."""
        return self._of(self.subject, metric, trial, group)

    def reference(self, metric: str, trial: str = "clean", group: str = "all") -> Figure | None:
        """The same of its control."""
        return self._of(self.control, metric, trial, group)

    def _of(self, subject: str, metric: str, trial: str, group: str) -> Figure | None:
        wanted = (subject, metric, trial, group)
        return next(
            (f for f in self.figures if (f.subject, f.metric, f.trial, f.group) == wanted), None
        )


def threat_label(attacks: tuple[str, ...]) -> str:
    """How the figures name all attacks of a threat model together."""
    return f"strongest of: {', '.join(attacks)}"


_ADAPTER: TypeAdapter[Entry] = TypeAdapter(Entry)


def as_json(entry: Entry) -> dict[str, Any]:
    made: dict[str, Any] = _ADAPTER.dump_python(entry, mode="json")
    return made


def read_entry(path: Path) -> Entry:
    """Raises `ConfigError` that names the file, every field that is wrong, and the remedy."""
    try:
        text = path.read_text("utf-8")
        found = json.loads(text)
    except FileNotFoundError as error:
        raise ConfigError(str(path), ["no such file"]) from error
    except ValueError as error:
        raise ConfigError(str(path), [f"file: not JSON ({error}); {_REMEDY}"]) from error
    version = found.get("schema") if isinstance(found, dict) else None
    if isinstance(version, int) and version > SCHEMA:
        newer = f"schema: version {version} is newer than {SCHEMA}; install a newer hardrank"
        raise ConfigError(str(path), [newer])
    try:
        return _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        said = [f"{mistake[:300]}; {_REMEDY}" for mistake in mistakes(error, Entry)]
        raise ConfigError(str(path), said) from error
