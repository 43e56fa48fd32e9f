"""What the file of `hardrank retrain` can say, and every mistake in it at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt, Lt
from pydantic import TypeAdapter, ValidationError, model_validator

from hardrank.data.labels import LabelPolicy
from hardrank.data.sources import Source
from hardrank.errors import ConfigError
from hardrank.experiment.arm_spec import AnyObjective
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import Trial, expanded, read_toml
from hardrank.models import Model
from hardrank.serve.lifecycle import Floors
from hardrank.training import Training
from hardrank.types import Count, Natural, NonNegative, Positive, Share, spec

__all__ = [
    "NO_SCREEN",
    "Growth",
    "Measured",
    "Retraining",
    "Screen",
    "load_retraining",
    "parse_retraining",
]

NO_SCREEN = "none"
_FORGED = ("discrete", "recognition", "text-augmentation")


@spec
class Screen:
    """Who judges the users that the store brings, before anything is trained on them."""

    detector: str = "combined"
    """Folder of `hardrank detect fit`, or the kind of a detector that needs no examples, such
    as `combined` or `duplicates`; `none` lets everybody in."""
    flagged: Share = 0.01
    """Share of the champion's own users whose score sets the threshold; a fitted detector
    brings its own."""
    admit: tuple[str, ...] = ()
    """User ids that somebody looked at: never flagged."""


@spec
class Growth:
    """A cap on the events that new accounts may give one item: see `data.growth`."""

    slack: NonNegative = 3.0
    """Standard deviations beyond what is foretold; the higher, the fewer honest events go and
    the more a poisoner may do."""
    except_items: tuple[str, ...] = ()
    """Ids of items that somebody looked at: no cap. What was cut of them before comes back."""
    except_new_items: bool = False
    """No cap on items that the champion's catalogue does not have. A launch keeps all its
    events then, and so does whoever puts up an item and pushes it."""


@spec
class Measured:
    """What champion and challenger are both asked: the same users, targets and seeds."""

    trials: tuple[Trial, ...] = ()
    """Attacks on the texts of items, for models that read them; each tries to promote or
    demote its own targets."""
    users: Count = 1_000
    """Users through whom exposure and attacks are measured, drawn among those that both models
    know from before."""
    panel: Count = 64
    """Of those, users through whom an attacker watches rankings."""
    success: Positive = 0.01
    """Share of eligible users whose list a target must enter to count as a success."""


@spec
class Retraining:
    """`hardrank retrain FILE`: a challenger from the champion's log and the store's events."""

    name: str = "retrained"
    """Of the challenger; it stands in its bundle."""
    seed: int = 0
    """Of training, targets and attacks."""
    champion: str
    """Folder of the bundle that serves."""
    store: str = "sqlite:///hardrank.db"
    """Address of the store of the service; `--store` and HARDRANK_SERVE_STORE go before it."""
    data: Source | None = None
    """The log that the champion was trained on, with times and ratings; None reads the order of
    events from the champion's bundle."""
    labels: LabelPolicy | None = None
    """How ratings and kinds of events of `data` become positive events; None takes every one."""
    since: Natural = 0
    """Unix seconds, by the clock of the service: events that came in earlier are not read."""
    kinds: tuple[str, ...] = ()
    """Kinds of the store's events that are trained on; none named: all."""
    model: Model | None = None
    """What is trained; None for what the champion is."""
    training: Training | None = None
    """How long and how fast, of a sequence model; None as the champion was trained."""
    warm: bool = True
    """Begin from the champion's weights; rows of new users and items begin afresh. A model that
    cannot is trained afresh, and the bundle says so."""
    objective: AnyObjective | None = None
    """What training minimises; None for the model's own loss. A hardened champion needs the
    objective that hardened it, or its challenger loses to it."""
    held_out: Annotated[float, Gt(0), Lt(1)] = 0.2
    """Share of the new events, the newest ones of newcomers and of others, that nobody trains
    on: quality is measured there. Of each user the first of them counts."""
    valid: Annotated[float, Gt(0), Lt(1)] = 0.1
    """Share of the users whose last event of the rest decides when training stops."""
    screen: Screen = Screen()
    """Who judges new users."""
    growth: Growth | None = None
    """How much new accounts that passed the screen may give one item; None for no cap."""
    audit: Measured = Measured()
    """What both models are asked."""
    floors: Floors = Floors()
    """How much worse than the champion a challenger may be, and how bad at most."""

    @model_validator(mode="after")
    def _can_be_done(self) -> "Retraining":
        if self.objective is not None and self.objective.kind in _FORGED:
            raise ValueError(
                f"objective '{self.objective.kind}' rewrites texts as it trains, which `hardrank "
                "harden` can; take another one"
            )
        for n, trial in enumerate(self.audit.trials):
            if trial.threat.surface != "item-text":
                raise ValueError(f"audit.trials.{n}.threat.surface must be 'item-text'")
            if trial.threat.goal.kind not in ("promote", "demote"):
                raise ValueError(f"audit.trials.{n}.threat.goal must promote or demote")
        labels = [label for trial in self.audit.trials for label in trial.labels()]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"audit.trials: {', '.join(twice)} twice; give one a `name`")
        return self


_ADAPTER: TypeAdapter[Retraining] = TypeAdapter(Retraining)


def load_retraining(path: Path) -> Retraining:
    """Raises `ConfigError` that lists all mistakes of the file."""
    return parse_retraining(read_toml(path), source=str(path))


def parse_retraining(raw: Mapping[str, Any], *, source: str = "retraining") -> Retraining:
    """From nested dictionaries; see `load_retraining`."""
    text = json.dumps(expanded(raw), default=str)
    try:  # strict JSON: lists become tuples, but "3" or true is no number
        return _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigError(source, mistakes(error, Retraining)) from error
