"""What the file of `hardrank guard fit` can say, and every mistake in it at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt, Len, Lt
from pydantic import TypeAdapter, ValidationError, model_validator

from hardrank.attacks import AnyAttack
from hardrank.data.sources import Source
from hardrank.errors import ConfigError
from hardrank.experiment.guard_reviews import ReviewFitting
from hardrank.experiment.guard_texts import TextFile
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import expanded, read_toml
from hardrank.guards import GUARDS, LEARNERS, AnyGuard
from hardrank.models.tfidf import Tfidf
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.types import Count, Share, spec

__all__ = ["GuardFitting", "load_guard_fitting", "parse_guard_fitting"]


@spec
class GuardFitting:
    """`hardrank guard fit FILE`: a clean catalogue, attacks on it, and guards that learn."""

    name: str
    """Of the guards; it names the default folder."""
    seed: int = 0
    """Of the split, targets, attacks and guards."""
    data: Source
    """A catalogue whose texts count as clean, with its events."""
    fields: Annotated[tuple[str, ...], Len(min_length=1)] = ("title",)
    """Text columns that guards read."""
    threat: ThreatModel = ThreatModel(
        goal=Promote(items="random:60"),
        budget=Budget(words=6, queries=200, whole_text=True),
    )
    """Targets and budget of the attacks. Half of the targets are learned from, the others
    measure. An attack that can demote is mounted on as many popular items too."""
    attacks: tuple[AnyAttack, ...] = ()
    """Item-text attacks to learn from; each is a family. None: no guard that learns from them."""
    victim: Tfidf = Tfidf()
    """What the attacks are tried on while they search."""
    panel: Count = 64
    """Users whose lists the attacks see."""
    orders: tuple[TextFile, ...] = ()
    """Texts that give orders to a machine, for the guard `injection`."""
    guards: Annotated[tuple[AnyGuard, ...], Len(min_length=1)] = tuple(g() for g in GUARDS)
    """In the order in which they look."""
    reviews: ReviewFitting | None = None
    """Labelled reviews for a guard of reviews, which travels with the others."""
    test: Annotated[float, Gt(0), Lt(1)] = 0.3
    """Share of the catalogue that no guard sees while it learns: false alarms are counted there."""
    false_alarms: Share = 0.01
    """Share of those items at which recall is read."""
    real: tuple[TextFile, ...] = ()
    """Texts of attacks or spam that were found elsewhere: how many are stopped."""
    clean: tuple[TextFile, ...] = ()
    """Clean texts from elsewhere: how many are stopped."""

    @model_validator(mode="after")
    def _writes_texts(self) -> "GuardFitting":
        if self.threat.surface != "item-text" or not isinstance(self.threat.goal, Promote):
            raise ValueError("threat must promote items by their texts")
        if self.threat.field not in self.fields:
            raise ValueError(f"threat.field '{self.threat.field}' is not one of fields")
        kinds = [guard.kind for guard in self.guards]
        learners = [guard.kind for guard in self.guards if isinstance(guard, LEARNERS)]
        if learners and not self.attacks:
            raise ValueError(f"guard '{learners[0]}' learns from attacks: name some")
        if "injection" in kinds and not self.orders:
            raise ValueError("guard 'injection' learns from orders: name files of them")
        return self


_ADAPTER: TypeAdapter[GuardFitting] = TypeAdapter(GuardFitting)


def load_guard_fitting(path: Path) -> GuardFitting:
    """Raises `ConfigError` that lists all mistakes of the file."""
    return parse_guard_fitting(read_toml(path), source=str(path))


def parse_guard_fitting(raw: Mapping[str, Any], *, source: str = "guards") -> GuardFitting:
    """From nested dictionaries; see `load_guard_fitting`."""
    text = json.dumps(expanded(raw), default=str)
    try:  # strict JSON: lists become tuples, but "3" or true is no number
        return _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigError(source, mistakes(error, GuardFitting)) from error
