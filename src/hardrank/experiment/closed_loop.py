"""`hardrank harden`: attack, train against the weakest spot, attack again on fresh targets."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hardrank.audits.game import Game, game_of_samples
from hardrank.context import RunContext
from hardrank.errors import ConfigError, DataError, HardrankError
from hardrank.experiment.arms import Trained
from hardrank.experiment.circumstance import host, versions
from hardrank.experiment.closed_loop_confirm import Check, confirmations
from hardrank.experiment.closed_loop_measure import LoopBench, Measures, measures_into
from hardrank.experiment.closed_loop_page import loop_page
from hardrank.experiment.closed_loop_plan import (
    Round,
    arm_of,
    best_of,
    judged,
    next_arm,
    spelt_arm,
    stopped,
    weakest,
)
from hardrank.experiment.closed_loop_recommend import recommended_toml
from hardrank.experiment.closed_loop_spec import ClosedLoop
from hardrank.experiment.closed_loop_targets import FINAL
from hardrank.experiment.reading import dataset_of, split_of
from hardrank.experiment.stages import key_of
from hardrank.experiment.tune_front import Limit
from hardrank.files import atomic_folder, write_json, write_text

__all__ = ["Hardened", "read_rounds", "run_loop"]

_log = logging.getLogger("hardrank")


@dataclass(frozen=True, eq=False, kw_only=True)
class Hardened:
    """What a closed loop leaves behind."""

    folder: Path
    page: Path
    rounds: list[Round]
    best: Round
    """Round 0, the control, where nothing helped."""
    stopped: str
    """Why there was no further round, in words."""
    checks: list[Check]
    """On targets that no round saw; none where no round was kept."""
    game: Game | None
    """Attacks against control and kept rounds, on those targets."""
    file: Path | None
    """The experiment with the best arm, for `hardrank run`."""


def run_loop(closed: ClosedLoop, run: RunContext, *, rounds: int | None = None) -> Hardened:
    """Everything into `run.folder`; run again, it goes on where it stopped.

    Raises `HardrankError` for anything the user can mend.
    """
    assert run.folder is not None, "a loop needs a folder"
    _same_loop(closed, run.folder)
    source = dataset_of(closed.experiment, run.folder)
    split = split_of(closed.experiment, source)
    _log.info("training the base")
    bench = LoopBench.of(closed, source, split, run)
    most = rounds or closed.loop.rounds
    found = read_rounds(run.folder)[: most + 1]
    while not found or not stopped(closed, found, most):
        found.append(_played(bench, found, run.folder))
        _log.info("round %d: %s", found[-1].number, found[-1].why)
    return _written(bench, found, stopped(closed, found, most))


def read_rounds(folder: Path) -> list[Round]:
    """The finished rounds, from 0 on without a gap."""
    found: list[Round] = []
    while (path := _home(folder, len(found)) / "round.json").is_file():
        found.append(_read(path))
    return found


def _home(folder: Path, number: int) -> Path:
    return folder / "rounds" / f"{number:04d}"


def _played(bench: LoopBench, rounds: Sequence[Round], folder: Path) -> Round:
    """One round; its samples, findings and decision go into a folder of its own."""
    with atomic_folder(_home(folder, len(rounds))) as draft:
        made = _trained(bench, rounds, draft) if rounds else _opened(bench, draft)
        write_json(draft / "round.json", asdict(made))
    return made


def _opened(bench: LoopBench, draft: Path) -> Round:
    """Round 0: the control as it is."""
    control = bench.models(None, 0)
    measures = bench.attack(control, [control], 0)
    measures_into(draft, measures)
    found = _measured(Round(number=0, targets=bench.targets(0)), measures, control[0])
    top = weakest(found.after)
    why = f"the control; strongest attack gains {top[1]:.4f} ({top[0]})" if top else (
        "the control; no attack could be measured"
    )  # fmt: skip
    return replace(found, why=why, weak=top[0] if top else "")


def _trained(bench: LoopBench, rounds: Sequence[Round], draft: Path) -> Round:
    """A round that cannot be trained is kept with its reason, and the loop goes on."""
    number = len(rounds)
    arm, against = next_arm(bench.closed, rounds)
    found = Round(
        number=number, arm=spelt_arm(arm), trained_on=against, targets=bench.targets(number)
    )
    standing = _standing(bench, best_of(rounds))
    try:
        models = bench.models(arm_of(found), number)
        # The best so far is attacked again: gains on other targets are no comparison.
        measures = bench.attack(bench.models(None, 0), [standing, models], number)
    except (ConfigError, DataError):
        raise
    except HardrankError as error:
        return judged(replace(found, error=str(error)), rounds)
    measures_into(draft, measures)
    before = measures.each("er_gain", standing[0].subject)
    found = _measured(replace(found, before=before), measures, models[0])
    limits = bench.limits(measures, models[0])
    return judged(replace(found, limits=limits, cost=bench.cost(models)), rounds)


def _standing(bench: LoopBench, best: Round) -> list[Trained]:
    """The best models so far, as they were trained."""
    return bench.models(arm_of(best), best.number)


def _measured(found: Round, measures: Measures, model: Trained) -> Round:
    return replace(
        found, after=measures.each("er_gain", model.subject),
        success=measures.each("asr", model.subject),
        clean=measures.quality("ndcg@10", model.subject),
    )  # fmt: skip


def _written(bench: LoopBench, rounds: list[Round], why: str) -> Hardened:
    folder, best = bench.run.folder, best_of(rounds)
    assert folder is not None
    checks, game, file = _confirmed(bench, rounds, folder)
    facts = _facts(bench)
    log = {
        **facts,
        "rounds": [asdict(r) for r in rounds],
        "best": best.number,
        "left": rounds[-1].left,
        "stopped": why,
        "checks": [asdict(check) for check in checks],
        "game": None if game is None else _as_json(game),
    }
    write_json(folder / "loop.json", log)
    page = folder / "loop.html"
    write_text(page, loop_page(facts, rounds, why, checks, game))
    return Hardened(
        folder=folder, page=page, rounds=rounds, best=best, stopped=why, checks=checks, game=game,
        file=file,
    )  # fmt: skip


def _confirmed(
    bench: LoopBench, rounds: Sequence[Round], folder: Path
) -> tuple[list[Check], Game | None, Path | None]:
    """Control and every kept round on targets that no round saw; the best one's experiment."""
    best, file = best_of(rounds), folder / "recommended.toml"
    if best.number == 0:
        file.unlink(missing_ok=True)
        return [], None, None
    kept = [r for r in rounds if r.kept]
    models = [_standing(bench, r) for r in kept]
    measures = bench.attack(models[0], models, FINAL)
    with atomic_folder(folder / "confirmed") as draft:
        measures_into(draft, measures)
    limits = bench.limits(measures, models[-1][0])
    subjects = models[0][0].subject, models[-1][0].subject
    checks = confirmations(measures, *subjects, rounds[0].weak, limits)
    arm = arm_of(best)
    assert arm is not None
    write_text(file, recommended_toml(bench.closed, arm, best.trained_on))
    return checks, game_of_samples(measures.samples), file


def _facts(bench: LoopBench) -> dict[str, Any]:
    closed, seeds = bench.closed, bench.closed.seeds
    return {
        "name": closed.experiment.name,
        "model": closed.experiment.model.kind,
        "synthetic": bench.source.synthetic,
        "fingerprint": bench.source.fingerprint,
        "protocol": f"{bench.split.protocol}; validation events; targets apart from the audit's",
        "threats": [trial.threat.describe() for trial in bench.trials(seeds[0], FINAL)],
        "attacks": list(closed.attacks),
        "confirmed_on": bench.targets(FINAL),
        "seeds": list(seeds),
        "users": [len(bench.users(seed)) for seed in seeds],
        "price": closed.price,
        "least_gain": closed.loop.least_gain,
        "versions": versions(),
        "host": host(),
    }


def _as_json(game: Game) -> dict[str, Any]:
    return {
        "attacks": game.attacks, "defences": game.defences, "payoff": game.payoff.tolist(),
        "attack_mix": game.attack_mix.tolist(), "defence_mix": game.defence_mix.tolist(),
        "value": game.value, "most": game.most, "least": game.least, "pure": game.pure,
        "pure_worst": game.pure_worst, "left_out": game.left_out,
    }  # fmt: skip


def _read(path: Path) -> Round:
    try:
        row = json.loads(path.read_text("utf-8"))
        row["limits"] = tuple(Limit(**limit) for limit in row["limits"])
        row["trained_on"] = tuple(row["trained_on"])
        row["targets"] = tuple(map(tuple, row["targets"]))
        for name in ("before", "after", "success", "clean"):
            row[name] = {key: tuple(value) for key, value in row[name].items()}
        return Round(**row)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        remedy = "remove the folder of this round and all after it, and run again"
        raise DataError(f"not a round ({error})", path=path, remedy=remedy) from error


def _same_loop(closed: ClosedLoop, folder: Path) -> None:
    """Rounds of another loop or another experiment are no evidence for this one."""
    key = key_of(closed.experiment, replace(closed.loop, rounds=1))
    path = folder / "loop"
    if path.is_file() and path.read_text("utf-8") != key:
        remedy = "choose another folder with --out, or remove this one"
        raise ConfigError(str(folder), [f"holds the rounds of another file; {remedy}"])
    if not path.is_file():
        write_text(path, key)
