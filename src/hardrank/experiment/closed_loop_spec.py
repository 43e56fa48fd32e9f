"""What a `[loop]` table can say, and every mistake in it at once."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import TypeAdapter, ValidationError, model_validator

from hardrank.attacks import AnyAttack
from hardrank.errors import ConfigError
from hardrank.experiment.arm_spec import AnyObjective, ForgeSpec
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import Experiment, Trial, expanded, parse_experiment, read_toml
from hardrank.hardening import Discrete
from hardrank.models.sequence.influence import Influence
from hardrank.types import Count, NonNegative, Share, spec

__all__ = ["ClosedLoop", "Loop", "LoopStep", "load_loop", "parse_loop"]

Group = Literal["all", "head", "mid", "tail", "cold"]


@spec
class LoopStep:
    """What one round adds to the best arm so far; what it does not name stays."""

    weak: bool = False
    """Train `discrete` on texts of every attack that was the weakest spot of a round so far."""
    objective: AnyObjective | None = None
    """Takes the place of the arm's objective (and of its forge)."""
    forge: ForgeSpec | None = None
    """Writes the texts of `discrete`, `recognition` and `text-augmentation`."""
    influence: Influence | None = None
    """Takes the place of the arm's bound on what texts do."""

    @model_validator(mode="after")
    def _says_something(self) -> "LoopStep":
        if self.weak and self.objective is not None:
            raise ValueError("give one of weak and objective: both say what training minimises")
        if not self.weak and self.objective is None and self.influence is None:
            raise ValueError("give weak, objective or influence")
        forged = ("discrete", "recognition", "text-augmentation")
        wants = getattr(self.objective, "kind", "") in forged
        if wants != (self.forge is not None):
            raise ValueError(
                f"a forge belongs to the objectives {', '.join(forged)}, and they need one; "
                "weak = true makes its own"
            )
        return self


@spec
class Loop:
    """`hardrank harden FILE`: attack, find the weakest spot, train against it, attack again.

    Everything is measured on validation events, with targets that the final audit does not
    attack; test events are not looked at.
    """

    rounds: Count = 4
    """Rounds of training at most; fewer where `steps` are given and used up."""
    steps: tuple[LoopStep, ...] = ()
    """What the rounds try, in this order; empty for `weak` in each."""
    least_gain: NonNegative = 0.005
    """Fall of the strongest attack's exposure gain (a share of users) that a round is worth."""
    patience: Count = 2
    """Rounds in a row below `least_gain` after which the loop stops."""
    price: Share | None = None
    """Largest relative loss of clean NDCG@10 against the control; None for `gates.price`."""
    groups: Annotated[tuple[Group, ...], Len(min_length=1)] = ("all", "tail")
    """Groups in which `price` has to hold."""
    trials: tuple[Trial, ...] = ()
    """Attacks of the loop; empty for those of the experiment."""
    seeds: tuple[int, ...] = ()
    """Seeds of training for every round; empty for the experiment's first."""
    users: Count | None = None
    """Validation users to measure on (so many at random); None for all."""
    objective: Discrete = Discrete()
    """Of `weak` rounds; its weight doubles and halves as rounds ask for."""
    items: Count = 64
    """Items that a `weak` round's attacks rewrite each time."""
    every: Count = 1
    """Epochs from one time to the next."""
    panel: Count = 128
    """Users through whose training histories these attacks watch rankings."""
    queries: Count | None = None
    """Most queries that they may spend on one text; None for as many as in the trial."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ClosedLoop:
    """A file with a `[loop]` table, read."""

    raw: Mapping[str, Any]
    """The file without `[loop]`, as TOML had it."""
    experiment: Experiment
    loop: Loop

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Those that every round is attacked with."""
        return self.loop.trials or tuple(filter(_promotes, self.experiment.trials))

    @property
    def attacks(self) -> dict[str, tuple[AnyAttack, Trial]]:
        """By label, as samples carry it."""
        return {
            label: (attack, trial)
            for trial in self.trials
            for label, attack in zip(trial.labels(), trial.attacks, strict=True)
        }

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of training."""
        return self.loop.seeds or self.experiment.seeds[:1]

    @property
    def price(self) -> float:
        own = self.loop.price
        return self.experiment.gates.price if own is None else own


_ADAPTER: TypeAdapter[Loop] = TypeAdapter(Loop)


def load_loop(path: Path) -> ClosedLoop:
    """Raises `ConfigError` that lists all mistakes of the file."""
    return parse_loop(read_toml(path), source=str(path))


def parse_loop(raw: Mapping[str, Any], *, source: str = "loop") -> ClosedLoop:
    """From nested dictionaries; see `load_loop`."""
    if "loop" not in raw:
        raise ConfigError(source, ["loop: missing; write [loop], if only with rounds = 4"])
    rest = {key: value for key, value in raw.items() if key != "loop"}
    experiment = parse_experiment(rest, source=source)
    if not isinstance(experiment, Experiment):
        raise ConfigError(source, ["classifier: only recommenders are hardened in a loop"])
    try:
        text = json.dumps(expanded(raw["loop"]), default=str)
        loop = _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigError(source, [f"loop.{m}" for m in mistakes(error, Loop)]) from error
    made = ClosedLoop(raw=rest, experiment=experiment, loop=loop)
    if wrong := list(dict.fromkeys(_clashes(made))):
        raise ConfigError(source, wrong)
    return made


def _promotes(trial: Trial) -> bool:
    return trial.threat.goal.kind == "promote" and trial.threat.surface == "item-text"


def _clashes(made: ClosedLoop) -> Iterator[str]:
    """What is right by itself and wrong beside the rest of the file."""
    loop, where = made.loop, "loop.trials" if made.loop.trials else "trials"
    weak = not loop.steps or any(step.weak for step in loop.steps)
    if not made.trials:
        yield "loop.trials: no attack promotes items by their text, so there is no weak spot"
    for trial in made.trials:
        if not _promotes(trial):
            yield f"{where}: the loop is measured by attacks that promote items by their text"
            continue
        if not isinstance(trial.threat.goal.items, str):  # type: ignore[union-attr]
            yield (
                f"{where}: names the target items; give the loop a selection such as "
                "unpopular:20, so that it never sees the targets of the audit"
            )
        if weak and trial.threat.field != "title":
            yield (
                f"{where}: attacks write '{trial.threat.field}', but texts to train on are "
                "written for 'title'; give the loop `steps` without weak"
            )
    labels = [label for trial in made.trials for label in trial.labels()]
    for label in sorted({x for x in labels if labels.count(x) > 1}):
        yield f"{where}: {label} in two trials; give one a `name`"
    ks = {t.threat.goal.k for t in made.trials if _promotes(t)}  # type: ignore[union-attr]
    if len(ks) > 1:
        yield f"{where}: exposure in lists of {_listed(ks)} items cannot be compared; use one k"


def _listed(numbers: set[int]) -> str:
    return " and ".join(map(str, sorted(numbers)))
