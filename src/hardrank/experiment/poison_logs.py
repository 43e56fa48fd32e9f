"""The poisoned logs of a run: every attack on every target, played once and kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Patch
from hardrank.data.filtering import Detector
from hardrank.errors import Unsupported
from hardrank.experiment.poison_spec import PoisonExperiment
from hardrank.threats import Match, MatchLog, targets
from hardrank.threats.court import label
from hardrank.threats.profiles import ProfileAttack, check_profiles, play_profiles
from hardrank.threats.select import draw, members, parse

__all__ = ["Poisoned", "example_targets", "play_all", "targets_of"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Poisoned:
    """One attack on one target."""

    match: Match
    log: Dataset
    """The training log with the fake users in its last rows; none where `match.error` says why."""


def targets_of(experiment: PoisonExperiment, train: Dataset) -> tuple[str, ...]:
    """Item ids, the same for every seed."""
    goal = experiment.threat.goal
    rng = np.random.default_rng(derive(experiment.seeds[0], "targets", repr(goal)))
    return targets(goal, train, rng)


def example_targets(experiment: PoisonExperiment, train: Dataset, seed: int) -> tuple[str, ...]:
    """Ids of other items of the selection `examples`, drawn anew for each seed.

    Raises `DataError` where the group has too few.
    """
    chosen = parse(experiment.examples)
    barred = set(targets_of(experiment, train))
    rng = np.random.default_rng(derive(seed, "examples"))
    group = members(chosen, train.counts)
    inside = sum(bool(group[train.item_rows[t]]) for t in barred)
    rows = draw(replace(chosen, count=chosen.count + inside), train, rng)
    names = train.items["item_id"].gather(rows).to_list()
    return tuple(n for n in rng.permutation(names).tolist() if n not in barred)[: chosen.count]


def play_all(
    experiment: PoisonExperiment,
    attacks: Sequence[Any],
    train: Dataset,
    aims: Sequence[str],
    *,
    seed: int,
    run: RunContext,
    folder: str,
    detector: Detector | None = None,
    known: str = "",
) -> list[Poisoned]:
    """Attack by attack, target by target; where threat or log do not let an attack play, its
    match says why in `error` and its log is the clean one.

    known: what the attacker knows of the defence, part of what a kept match is found by.
    """
    assert run.folder is not None
    record = MatchLog(run.folder / folder / f"matches-{seed}.jsonl")
    done = {(m.attack, m.target, m.threat, m.victim): m for m in record}
    digest = f"{train.fingerprint[:16]}{known}"
    made: list[Poisoned] = []
    for attack in attacks:
        for aim in run.track(aims, f"{label(attack)}, seed {seed}", len(aims)):
            match = done.get((label(attack), aim, experiment.threat, digest))
            if match is None:
                match = _played(
                    attack, experiment, train, aim, seed,
                    run.at(folder, "work", str(seed)), detector,
                )  # fmt: skip
                match = replace(match, victim=digest)
                record.append(match)
            check_profiles(match.patch, experiment.threat.budget, train)
            made.append(Poisoned(match=match, log=train.apply(match.patch)))
    return made


def _played(
    attack: ProfileAttack,
    experiment: PoisonExperiment,
    train: Dataset,
    aim: str,
    seed: int,
    run: RunContext,
    detector: Detector | None,
) -> Match:
    try:
        return play_profiles(
            attack, experiment.threat, train, target=aim, seed=seed, run=run, detector=detector
        )
    except Unsupported as refusal:
        return Match(
            attack=label(attack), threat=experiment.threat, target=aim, patch=Patch(), seed=seed,
            error=str(refusal),
        )  # fmt: skip
