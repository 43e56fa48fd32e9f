"""A search space over the keys of an experiment file."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import model_validator

from hardrank.types import Count, spec

__all__ = ["Dimension", "Settled", "contexts", "grid", "settled"]


@spec
class Dimension:
    """One key of the experiment file, and what it may be."""

    path: str
    """Such as `harden.radius`, or `harden` for the whole table; `arms.0.influence` where the
    file has `[[arms]]` and no `[harden]`: the first hardened arm is the one that is tuned."""
    choices: tuple[Any, ...] = ()
    """Values to choose from; tables for a whole table."""
    low: float | None = None
    """Least value, where there are no choices."""
    high: float | None = None
    """Greatest value."""
    log: bool = False
    """Small values are looked at as closely as large ones."""
    whole: bool = False
    """Whole numbers only."""
    steps: Count | None = None
    """So many values from `low` to `high`, evenly spaced (with `log` by factors)."""
    when: tuple[str, ...] = ()
    """Applies where the table that holds the key has one of these kinds; empty for always."""

    @model_validator(mode="after")
    def _is_a_range_or_choices(self) -> "Dimension":
        ranged = self.low is not None and self.high is not None
        if bool(self.choices) == ranged or (self.low is None) != (self.high is None):
            raise ValueError("give choices, or low and high")
        if self.low is None or self.high is None:
            return self
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("low must be above 0 where log is on")
        if self.steps == 1:
            raise ValueError("steps must be at least 2")
        return self

    @property
    def name(self) -> str:
        return f"{self.path} [{', '.join(self.when)}]" if self.when else self.path

    @property
    def values(self) -> tuple[Any, ...]:
        """All that it can be; empty for a range without steps."""
        if self.choices or self.steps is None:
            return self.choices
        assert self.low is not None and self.high is not None
        low, high = (math.log(v) if self.log else v for v in (self.low, self.high))
        inner = [low + (high - low) * n / (self.steps - 1) for n in range(1, self.steps - 1)]
        spaced = [float(f"{math.exp(v) if self.log else v:.6g}") for v in inner]
        every = [self.low, *spaced, self.high]
        return tuple(dict.fromkeys(round(v) if self.whole else v for v in every))

    @property
    def ends(self) -> tuple[Any, ...]:
        """All values, of a range the two ends."""
        if self.values:
            return self.values
        assert self.low is not None and self.high is not None
        return tuple(round(v) if self.whole else v for v in (self.low, self.high))


@dataclass(frozen=True)
class Settled:
    """An experiment file with the values of one point put in."""

    raw: dict[str, Any]
    settings: dict[str, Any]
    """Name of the dimension -> value; those that do not apply are not there."""


def settled(
    raw: Mapping[str, Any], space: Sequence[Dimension], choose: Callable[[str], Any]
) -> Settled:
    """choose: from the name of a dimension to its value; asked for those that apply alone."""
    made: dict[str, Any] = _copied(raw)
    settings: dict[str, Any] = {}
    for dimension in space:
        *above, key = dimension.path.split(".")
        table: Any = _table(made, above)
        if dimension.when and table.get("kind") not in dimension.when:
            continue
        value = choose(dimension.name)
        settings[dimension.name] = value
        table[int(key) if isinstance(table, list) else key] = _copied(value)
    return Settled(made, settings)


def _copied(value: Any) -> Any:
    """Tables and lists anew, and apart even where two places held the same one."""
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(inner) for inner in value]
    return value


def _table(raw: dict[str, Any], path: Sequence[str]) -> dict[str, Any] | list[Any]:
    """The table or list at this path; a table is made where there is none."""
    here: Any = raw
    for key in path:
        if isinstance(here, list):
            here = here[int(key)]
            continue
        below = here.get(key)
        here[key] = below if isinstance(below, dict | list) else {}
        here = here[key]
    found: dict[str, Any] | list[Any] = here
    return found


def grid(raw: Mapping[str, Any], space: Sequence[Dimension]) -> list[dict[str, Any]]:
    """Every combination once, the last dimension changing fastest."""
    found: list[dict[str, Any]] = []
    for values in itertools.product(*(d.values for d in space)):
        chosen = dict(zip([d.name for d in space], values, strict=True))
        settings = settled(raw, space, chosen.__getitem__).settings
        if settings not in found:
            found.append(settings)
    return found


def contexts(
    raw: Mapping[str, Any], space: Sequence[Dimension]
) -> Iterator[tuple[str, Any, Callable[[str], Any]]]:
    """(name, value, chooser) for each end of each dimension, beside each choice of tables."""
    tables = [d for d in space if any(isinstance(c, Mapping) for c in d.choices)]
    plain = {d.name: d.ends[0] for d in space}
    for chosen in itertools.product(*(d.choices for d in tables)):
        around = plain | dict(zip([d.name for d in tables], chosen, strict=True))
        for dimension in space:
            own = (around[dimension.name],) if dimension in tables else dimension.ends
            for value in own:
                values = around | {dimension.name: value}
                if dimension.name in settled(raw, space, values.__getitem__).settings:
                    yield dimension.name, value, values.__getitem__
