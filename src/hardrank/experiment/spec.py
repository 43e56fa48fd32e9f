"""What an experiment file can say, and every mistake in it at once."""

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import TypeAdapter, ValidationError, model_validator

from hardrank.attacks import AnyAttack
from hardrank.data.cleaning import Cleaning
from hardrank.data.labels import LabelPolicy
from hardrank.data.sources import Source
from hardrank.data.splits import LeaveOneOut, Splitter
from hardrank.errors import ConfigError
from hardrank.experiment.arm_spec import AnyObjective, Arm
from hardrank.experiment.classify_spec import ClassifierExperiment
from hardrank.experiment.mistakes import mistakes
from hardrank.models import Model, Victim
from hardrank.perturbations import FGM, PGD, Gaussian, Inner
from hardrank.threats import ThreatModel, played_label
from hardrank.training import Training
from hardrank.types import Count, Positive, RankingLoss, Share, Site, spec

__all__ = [
    "Cold",
    "Curve",
    "Experiment",
    "Gates",
    "Trial",
    "data_folder",
    "expanded",
    "load_experiment",
    "parse_experiment",
    "read_toml",
]


@spec
class Trial:
    """One threat model and the attacks mounted under it."""

    threat: ThreatModel
    """What the attacker wants, sees, may write and may spend."""
    attacks: Annotated[tuple[AnyAttack, ...], Len(min_length=1)]
    """Each is mounted on every target."""
    name: str = ""
    """Appended to the attacks' labels; needed where two trials mount the same attack."""
    users: Count = 100
    """Users whose histories are attacked, drawn with the seed; only of a `history` threat."""
    seen: bool = False
    """Whether hardening trained against this family: then it is no evidence of generality."""

    def labels(self) -> list[str]:
        """Names of the attacks as samples carry them."""
        return [played_label(attack, self.threat) + self.note for attack in self.attacks]

    @property
    def note(self) -> str:
        return f" ({self.name})" if self.name else ""


@spec
class Curve:
    """Robustness of the representation: a metric over growing radii."""

    goal: Literal["promote", "degrade"] = "promote"
    """`promote`: exposure of the targets. `degrade`: NDCG of held-out items."""
    site: Site = "item-vectors"
    """Where the perturbation is added."""
    loss: RankingLoss | None = None
    """What the attacker climbs; None for `exposure` to promote and `listwise` (cross-entropy)
    to degrade. The metric stays. `margin`: to the tenth score; `rank`: a smooth rank."""
    inners: Annotated[tuple[Inner, ...], Len(min_length=1)] = (PGD(steps=20), FGM(), Gaussian())
    """Strongest first, unless `ordered` is off."""
    ordered: bool = True
    """The sanity checks hold the inners to the order in which they are listed."""
    radii: Annotated[tuple[Positive, ...], Len(min_length=5)] = (0.02, 0.05, 0.1, 0.2, 0.5)
    """Shares of the mean norm at the site."""
    unbounded: Positive | None = 20.0
    """One more radius, so large that an attack which works must win; None to leave it out."""

    @model_validator(mode="after")
    def _can_tell_inners_apart(self) -> "Curve":
        kinds = [inner.kind for inner in self.inners]
        if len(set(kinds)) < len(kinds):
            raise ValueError("inners must differ in kind: samples carry it as their name")
        return self

    def label(self, inner: Inner) -> str:
        """Name of the trial, as samples carry it."""
        return inner.kind if self.loss is None else f"{inner.kind}-{self.loss}"


@spec
class Cold:
    """A second training with some items hidden, to see whether they are ranked at all."""

    share: Share = 0.05
    """Of all items; every event of a hidden item is taken out of training and histories."""
    models: tuple[str, ...] = ("text-sequence", "hybrid")
    """Labels of the models to train once more."""


@spec
class Gates:
    """What a claim of robustness has to pass."""

    price: Share = 0.03
    """Largest relative loss of clean NDCG@10, overall, in the tail and for cold items."""
    panel: Count = 256
    """Users through whom an attacker watches rankings."""
    users: Count | None = None
    """Test users that curves are measured on (the first so many in random order); None: all."""
    success: Positive = 0.01
    """Share of eligible users whose list a promoted target must enter to count as a success."""


@spec
class Experiment:
    """`hardrank run FILE`: one dataset, one model to attack and harden, others beside it."""

    name: str
    """Of the run: it heads the report and names the default run folder."""
    seeds: Annotated[tuple[int, ...], Len(min_length=1)] = (0,)
    """Everything is trained and attacked once for each; the first one is bundled."""
    data: Source
    """Where users, items and events come from."""
    labels: LabelPolicy | None = None
    """How ratings and kinds of events become positive events; None takes every event."""
    cleaning: Cleaning | None = None
    """Which rows go before anything is split; None keeps all."""
    split: Splitter = LeaveOneOut()
    """What is held out for validation and test."""
    model: Victim
    """The victim: trained, attacked, hardened, attacked again, bundled."""
    compare: tuple[Model, ...] = ()
    """Further models for the table of clean quality."""
    hide: Share = 0.0
    """Share of the items whose events are all taken out of training and histories, so that
    every table has cold items, and every model here serves them. 0 hides none."""
    harden: AnyObjective | None = None
    """What the arm `hardened` minimises: short for one of `arms` with this objective alone."""
    arms: tuple[Arm, ...] = ()
    """Hardened arms, each compared with one control. The first is the one that is bundled."""
    beside: tuple[str, ...] = ()
    """Labels of models of `compare` that are attacked, too, as they were trained."""
    finetune: Training = Training(epochs=4, keep="last", patience=0)
    """Both arms go on from the same base for so many epochs with a fresh optimiser."""
    cold: Cold | None = None
    """None trains nothing a second time."""
    trials: tuple[Trial, ...] = ()
    """Attacks on the texts of items, through the referee."""
    curves: tuple[Curve, ...] = ()
    """Attacks on representations, over growing radii."""
    gates: Gates = Gates()
    """Limits and sizes of the checks."""

    @model_validator(mode="after")
    def _told_apart(self) -> "Experiment":
        names = [arm.name for arm in self.hardenings()]
        if len(set(names)) < len(names):
            raise ValueError(f"arms: names must differ (are {', '.join(names)})")
        labels = [label for trial in self.trials for label in trial.labels()]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"trials: {', '.join(twice)} in two trials; give one a `name`")
        return self

    def hardenings(self) -> tuple[Arm, ...]:
        """`arms`, with `harden` first where it is given."""
        short = (Arm(name="hardened", objective=self.harden),) if self.harden else ()
        return (*short, *self.arms)


_ADAPTER: TypeAdapter[Experiment] = TypeAdapter(Experiment)
_CLASSIFIERS: TypeAdapter[ClassifierExperiment] = TypeAdapter(ClassifierExperiment)
_VARIABLE = re.compile(r"\$HARDRANK_DATA\b")


def load_experiment(path: Path) -> Experiment | ClassifierExperiment:
    """A file with a `[classifier]` is a `ClassifierExperiment`.

    Raises `ConfigError` that lists all mistakes of the file, `FileNotFoundError` never."""
    return parse_experiment(read_toml(path), source=str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Raises `ConfigError` for a file that is not there, not UTF-8 or not TOML."""
    if not path.is_file():
        raise ConfigError(str(path), ["no such file"])
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigError(str(path), [f"line {line}: not UTF-8; save the file as UTF-8"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), [f"not TOML: {error}"]) from error


def parse_experiment(
    raw: Mapping[str, Any], *, source: str = "experiment"
) -> Experiment | ClassifierExperiment:
    """From nested dictionaries. `$HARDRANK_DATA` in any text stands for `data_folder()`.

    Raises `ConfigError`."""
    text = json.dumps(expanded(raw), default=str)
    classifies = "classifier" in raw
    try:  # strict JSON: lists become tuples, but "3" or true is no number
        return (_CLASSIFIERS if classifies else _ADAPTER).validate_json(text, strict=True)
    except ValidationError as error:
        root = ClassifierExperiment if classifies else Experiment
        raise ConfigError(source, mistakes(error, root)) from error


def data_folder() -> Path:
    """`HARDRANK_DATA` if it is set, else `data` or `../shared/data`, whichever is there."""
    found = os.environ.get("HARDRANK_DATA")
    places = [Path(found)] if found else [Path("data"), Path("../shared/data")]
    return next((p for p in places if p.is_dir()), places[0])


def expanded(value: Any) -> Any:
    """The same with `$HARDRANK_DATA` spelled out in every text."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda _: str(data_folder()), value)
    if isinstance(value, Mapping):
        return {k: expanded(v) for k, v in value.items()}
    if isinstance(value, Sequence):
        return [expanded(v) for v in value]
    return value
