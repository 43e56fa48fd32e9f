"""What a `[tune]` table can say, and every mistake in it at once."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import TypeAdapter, ValidationError, model_validator

from hardrank.errors import ConfigError
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import Experiment, Trial, expanded, parse_experiment, read_toml
from hardrank.experiment.tune_space import Dimension, contexts, settled
from hardrank.types import Count, Natural, Positive, Share, spec

__all__ = ["Floor", "Tune", "Tuning", "load_tuning", "parse_tuning"]

Group = Literal["all", "head", "mid", "tail", "cold"]


@spec
class Floor:
    """A business limit that no recommended configuration may break, on validation users."""

    metric: Literal["ndcg@10", "hr@10", "mrr", "coverage@10", "revenue@10", "latency"]
    """`hr@10` stands for the click rate. `coverage@10`: share of the catalogue that is in
    somebody's top 10. `revenue@10`: price of the held-out item where it is in the top 10,
    else 0, per user. `latency`: median milliseconds to score the catalogue for one user."""
    group: Group = "all"
    """Users whose held-out item is in it; only of `ndcg@10`, `hr@10` and `mrr`."""
    least: float | None = None
    """The number may not be below."""
    most: float | None = None
    """The number may not be above."""
    column: str = "price"
    """Of the item table, for `revenue@10`."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Floor":
        if (self.least is None) == (self.most is None):
            raise ValueError("give one of least and most")
        if self.group != "all" and self.metric not in ("ndcg@10", "hr@10", "mrr"):
            raise ValueError(f"group: '{self.metric}' is of all users")
        return self


@spec
class Tune:
    """`hardrank tune FILE`: the search for a `[harden]` that costs little and helps much.

    Everything is measured on validation events, with targets that the final audit does not
    attack and a panel drawn apart from its panel; test events are not looked at.
    """

    space: Annotated[tuple[Dimension, ...], Len(min_length=1)]
    """What may vary; in this order, so that `harden` as a whole comes before its fields."""
    points: Count = 20
    """Configurations to train."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """`tpe`: multi-objective Tree-structured Parzen Estimator with constraints (Ozaki et al.,
    GECCO 2020). `grid`: every combination, in order; each dimension needs choices or steps."""
    startup: Natural = 8
    """Points of `tpe` that are drawn at random first."""
    seed: Natural = 0
    """Of the search alone."""
    seeds: tuple[int, ...] = ()
    """Seeds of training that every point is measured with; empty for the experiment's first."""
    price: Share | None = None
    """Largest relative loss of clean NDCG@10 against the control; None for `gates.price`."""
    groups: Annotated[tuple[Group, ...], Len(min_length=1)] = ("all", "tail")
    """Groups in which `price` has to hold."""
    sure: bool = False
    """The whole 95 % interval of the loss must stay within `price`, not only the loss."""
    floors: tuple[Floor, ...] = ()
    """Further limits."""
    cost: Positive | None = None
    """Longest training, as a multiple of the control's training time; None for any."""
    trials: tuple[Trial, ...] = ()
    """Attacks that robustness is measured with; empty for those of the experiment."""
    users: Count | None = None
    """Validation users to measure on (so many at random); None for all."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Tuning:
    """A file with a `[tune]` table, read."""

    raw: Mapping[str, Any]
    """The file without `[tune]`, as TOML had it."""
    experiment: Experiment
    tune: Tune

    def candidate(self, settings: Mapping[str, Any]) -> tuple[dict[str, Any], Experiment]:
        """The file with these settings put in: as TOML has it, and as an experiment."""
        made = settled(self.raw, self.tune.space, settings.__getitem__).raw
        parsed = parse_experiment(made)
        assert isinstance(parsed, Experiment)
        return made, parsed

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Those that robustness is measured with."""
        return self.tune.trials or tuple(filter(_promotes, self.experiment.trials))

    @property
    def root(self) -> str:
        """Where the file describes the arm that is tuned: the first hardened one."""
        harden = "harden" in self.raw or any(d.path == "harden" for d in self.tune.space)
        return "arms.0" if self.raw.get("arms") and not harden else "harden"

    @property
    def price(self) -> float:
        own = self.tune.price
        return self.experiment.gates.price if own is None else own


_ADAPTER: TypeAdapter[Tune] = TypeAdapter(Tune)


def load_tuning(path: Path) -> Tuning:
    """Raises `ConfigError` that lists all mistakes of the file."""
    return parse_tuning(read_toml(path), source=str(path))


def parse_tuning(raw: Mapping[str, Any], *, source: str = "tuning") -> Tuning:
    """From nested dictionaries; see `load_tuning`."""
    if "tune" not in raw:
        raise ConfigError(source, ["tune: missing; write [tune] with a `space` to search"])
    rest = {key: value for key, value in raw.items() if key != "tune"}
    experiment = parse_experiment(rest, source=source)
    if not isinstance(experiment, Experiment):
        raise ConfigError(source, ["classifier: only recommenders are tuned"])
    try:
        text = json.dumps(expanded(raw["tune"]), default=str)
        tune = _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigError(source, [f"tune.{m}" for m in mistakes(error, Tune)]) from error
    tuning = Tuning(raw=rest, experiment=experiment, tune=tune)
    if wrong := list(_clashes(tuning)) or list(_misfits(tuning)):
        raise ConfigError(source, list(dict.fromkeys(wrong)))
    return tuning


def _promotes(trial: Trial) -> bool:
    return trial.threat.goal.kind == "promote" and trial.threat.surface == "item-text"


def _clashes(tuning: Tuning) -> Iterator[str]:
    """What is right by itself and wrong beside the rest of the file."""
    tune, where = tuning.tune, "tune.trials" if tuning.tune.trials else "trials"
    if not tuning.trials:
        yield "tune.trials: no attack promotes items by their text, so nothing shows robustness"
    for trial in tuning.trials:
        if not _promotes(trial):
            yield f"{where}: tuning is measured by attacks that promote items by their text"
        elif not isinstance(trial.threat.goal.items, str):  # type: ignore[union-attr]
            yield (
                f"{where}: names the target items; give tuning a selection such as unpopular:20, "
                "so that it never sees the targets of the audit"
            )
    labels = [label for trial in tuning.trials for label in trial.labels()]
    for label in sorted({x for x in labels if labels.count(x) > 1}):
        yield f"{where}: {label} in two trials; give one a `name`"
    names, root = [dimension.name for dimension in tune.space], tuning.root
    for n, dimension in enumerate(tune.space):
        if not f"{dimension.path}.".startswith(f"{root}."):
            yield f"tune.space.{n}.path: '{dimension.path}' is not of {root}, which is tuned"
        if names.count(dimension.name) > 1:
            yield f"tune.space.{n}: '{dimension.name}' stands there twice"
        if tune.sampler == "grid" and not dimension.values:
            yield f"tune.space.{n}: a grid needs choices, or steps between low and high"


def _misfits(tuning: Tuning) -> Iterator[str]:
    """Values of the space that the experiment file would not take."""
    space = tuning.tune.space
    used: set[str] = set()
    for name, value, choose in contexts(tuning.raw, space):
        found = settled(tuning.raw, space, choose)
        used.update(found.settings)
        try:
            made = parse_experiment(found.raw)
        except ConfigError as error:
            yield from (f"tune.space '{name}' = {value}: {m}" for m in error.mistakes)
            continue
        if isinstance(made, Experiment) and not made.hardenings():
            yield "tune.space: leaves the experiment without [harden]"
    for n, dimension in enumerate(space):
        if dimension.name not in used:
            yield f"tune.space.{n}.when: no choice before it has such a kind"
