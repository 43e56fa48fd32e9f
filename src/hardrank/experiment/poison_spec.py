"""What the file of `hardrank attack poison` can say, and every mistake in it at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import StringConstraints, TypeAdapter, ValidationError, model_validator

from hardrank.attacks.profiles import ProfileAttackSpec
from hardrank.data.cleaning import Cleaning
from hardrank.data.labels import LabelPolicy
from hardrank.data.sources import Source
from hardrank.data.splits import LeaveOneOut, Splitter
from hardrank.detection import AnyDetector
from hardrank.errors import ConfigError
from hardrank.experiment.arm_spec import AnyObjective
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.poison_warm import Warm
from hardrank.experiment.poison_weights import unweighed
from hardrank.experiment.roles import UNHARDENED
from hardrank.experiment.spec import expanded, read_toml
from hardrank.models import Model
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.court import label
from hardrank.threats.select import parse
from hardrank.types import Count, Natural, NonNegative, Positive, Share, spec

__all__ = [
    "Antidote",
    "Defence",
    "Growth",
    "PoisonExperiment",
    "family",
    "load_poisoning",
    "parse_poisoning",
]

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
Attacks = tuple[ProfileAttackSpec, ...]


@spec
class Antidote:
    """Friendly users who join the log that the victim trains on: see `data.antidote`."""

    users: Count = 50
    """How many."""
    length: Count = 30
    """Most items of each."""


@spec
class Growth:
    """New users may not give an item more than people's choices predict: see `data.growth`.

    Everybody is new who is not in the earlier log that the defender trusts. In a run that log
    holds the real users without the share that joined last; fake users are never in it.
    """

    slack: NonNegative = 3.0
    """Standard deviations beyond what is predicted; the higher, the fewer honest events go and
    the more a poisoner may do."""
    newcomers: Share = 0.2
    """Share of the real users who are new, the last ones by their first event; drawn at random
    where the log has no times."""


@spec
class Defence:
    """What is done about poisoned logs before or while a victim is trained."""

    name: Name
    """Of the arm; not `base`, `hidden` or `control`."""
    detector: AnyDetector | None = None
    """Scores the users of the log that the victim is to be trained on."""
    action: Literal["drop", "down-weight"] = "drop"
    """`drop`: training never reads the flagged users. `down-weight`: their events count less,
    the more suspicious the less; a sequence model is trained with `reweighted` then, and
    victims that have no weights are refused."""
    flagged: Share = 0.01
    """Share of the users of the log before the attack that the detector's threshold flags: real
    users lost for nothing."""
    model: Model | None = None
    """Takes the place of the victim of the same kind."""
    objective: AnyObjective | None = None
    """What training minimises."""
    growth: Growth | None = None
    """Cap on the events that new users give an item, once the detector's work is done."""
    antidote: Antidote | None = None
    """Friendly users, drawn from the log as the defender finds it, poisoned or not, once the
    detector has seen it. Nothing counts them."""
    of: tuple[str, ...] = ()
    """Kinds of the victims that it is for; empty for all."""
    adaptive: Attacks = ()
    """Mounted on this arm alone, by an attacker who has the very detector that is used and
    knows of the cap on growth."""

    @model_validator(mode="after")
    def _does_something(self) -> "Defence":
        if self.name in UNHARDENED:
            raise ValueError(f"name: {self.name} is not a defended arm")
        means = (self.detector, self.model, self.objective, self.growth, self.antidote)
        if not any(means):
            raise ValueError("give a detector, a model, an objective, growth or an antidote")
        if self.adaptive and self.detector is None and self.growth is None:
            raise ValueError("adaptive: there is no detector and no growth to know")
        return self

    def mistake(self, models: tuple[Model, ...]) -> str | None:
        """What of it one of the victims cannot take; None where all can."""
        if self.detector is None or self.action != "down-weight":
            return None
        trained = [self.model or model for model in models if self.defends(model)]
        return next((w for m in trained if (w := unweighed(m, self.objective))), None)

    def defends(self, model: Model) -> bool:
        """Whether there is an arm of this victim."""
        if self.model is not None and self.model.kind != model.kind:
            return False
        return not self.of or model.kind in self.of


@spec
class PoisonExperiment:
    """`hardrank attack poison FILE`: fake users join the log, every victim is trained again on
    it, and real users are asked what they see."""

    name: str
    """Of the run: it heads the report and names the default run folder."""
    seeds: Annotated[tuple[int, ...], Len(min_length=1)] = (0,)
    """Of attacks, victims and examples; the targets are the same for all."""
    data: Source
    """Where users, items and events come from."""
    labels: LabelPolicy | None = None
    """How ratings and kinds of events become positive events; None takes every event."""
    cleaning: Cleaning | None = None
    """Which rows go before anything is split; None keeps all."""
    split: Splitter = LeaveOneOut()
    """The log that is poisoned is the training part; the test users are the real ones asked."""
    models: Annotated[tuple[Model, ...], Len(min_length=1)]
    """Victims, each trained anew for every poisoned log. Those of one kind need `name`s that
    differ by hyperparameters: the label of a victim is its kind, then a number."""
    warm: Warm | None = None
    """How victims go on from their clean model; None trains all anew on each poisoned log."""
    threat: ThreatModel = ThreatModel(
        goal=Promote(items="unpopular:5"), surface="profiles",
        budget=Budget(profiles=50, profile_events=91),
    )  # fmt: skip
    """Each target is attacked by itself, in a log of its own."""
    attacks: Annotated[Attacks, Len(min_length=1)]
    """Each is mounted on every target."""
    baselines: tuple[str, ...] = ("average-profiles", "copy-profile")
    """Labels of attacks that every other one is compared with, at the same budget."""
    detectors: tuple[AnyDetector, ...] = ()
    """Tried on every poisoned log. One that learns is trained on the other families of attacks,
    for other targets."""
    examples: str = "unpopular:2"
    """Targets for which a detector that learns sees an example of each attack: a selection,
    from which the targets of the threat are left out."""
    variants: Natural = 0
    """Versions of each example that are shown as well: of other lengths, and praising or blaming
    the target less. Without any, a detector learns that fake users fill their budget and go to
    the end of the scale, and is passed by whoever does neither."""
    defences: tuple[Defence, ...] = ()
    """Arms beside the control."""
    ks: Annotated[tuple[Count, ...], Len(min_length=1)] = (5, 10, 20, 50)
    """Lengths of lists; gains and effects are of the last one."""
    success: Positive = 0.01
    """Share of eligible users whose list the target must enter to count as a success."""

    @model_validator(mode="after")
    def _told_apart(self) -> "PoisonExperiment":
        names = [label(attack) for attack in self.attacks]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"attacks: {', '.join(twice)} stands there twice")
        arms = [defence.name for defence in self.defences]
        if len(set(arms)) < len(arms):
            raise ValueError(f"defences: names must differ (are {', '.join(arms)})")
        parse(self.examples)
        if self.threat.surface != "profiles":
            raise ValueError("threat.surface must be profiles")
        if self.threat.goal.kind not in ("promote", "demote"):
            raise ValueError("threat.goal: fake users promote or demote")
        if self.warm and (mistake := self.warm.mistake(self.models)):
            raise ValueError(f"warm: {mistake}")
        for defence in self.defences:
            if not any(defence.defends(model) for model in self.models):
                raise ValueError(f"defences: {defence.name} is for none of the models")
            if vain := defence.mistake(self.models):
                raise ValueError(f"defences: {defence.name}: {vain}")
        return self

    def victims(self) -> dict[str, Model]:
        """By label: the kind, and a number from the second one of a kind on."""
        found: dict[str, Model] = {}
        for model in self.models:
            same = sum(other.kind == model.kind for other in found.values())
            found[model.kind if not same else f"{model.kind}-{same + 1}"] = model
        return found


def family(attack: Any) -> str:
    """What a detector that was trained without it must not have met: the kind; of an attack
    that disguises another one, the kind of that one."""
    base = getattr(attack, "base", None)
    return family(base) if base is not None else str(attack.kind)


_ADAPTER: TypeAdapter[PoisonExperiment] = TypeAdapter(PoisonExperiment)


def load_poisoning(path: Path) -> PoisonExperiment:
    """Raises `ConfigError` that lists all mistakes of the file."""
    return parse_poisoning(read_toml(path), source=str(path))


def parse_poisoning(raw: Mapping[str, Any], *, source: str = "poisoning") -> PoisonExperiment:
    """From nested dictionaries; see `load_poisoning`."""
    text = json.dumps(expanded(raw), default=str)
    try:
        return _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigError(source, mistakes(error, PoisonExperiment)) from error
