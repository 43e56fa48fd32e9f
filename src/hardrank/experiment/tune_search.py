"""The search: asks Optuna for the next point, keeps every point, goes on where it stopped.

The ledger is a folder with `point.json` for each finished point. The study is made again from
it before every proposal, and each proposal has a sampler of its own seed, so a search that was
killed proposes what it would have proposed: point n depends on points 0 to n - 1 alone.
"""

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hardrank.context import derive
from hardrank.errors import ConfigError, DataError
from hardrank.experiment.stages import key_of
from hardrank.experiment.tune_front import Limit, Point
from hardrank.experiment.tune_space import Dimension, grid, settled
from hardrank.experiment.tune_spec import Tuning
from hardrank.files import atomic_folder, write_json, write_text

__all__ = ["Evaluate", "folder_of", "ledger", "propose", "search"]

_log = logging.getLogger("hardrank")
Evaluate = Callable[[int, Mapping[str, Any], Path], Point]
"""(number, settings, folder to fill) -> the point; the folder takes its place when finished."""


def search(tuning: Tuning, folder: Path, evaluate: Evaluate, points: int) -> list[Point]:
    """`points` points, or as many as a grid has; those that are there already are kept.

    Raises `ConfigError` where the folder holds the points of another file.
    """
    _same_search(tuning, folder)
    planned = grid(tuning.raw, tuning.tune.space) if tuning.tune.sampler == "grid" else None
    total = min(points, len(planned)) if planned is not None else points
    found = ledger(folder)[:total]
    for number in range(len(found), total):
        settings = planned[number] if planned is not None else propose(tuning, found, number)
        found.append(_played(number, settings, found, folder, evaluate))
        _log.info("point %d of %d: %s", number + 1, total, _said(found[-1]))
    return found


def folder_of(folder: Path, number: int) -> Path:
    return folder / "points" / f"{number:04d}"


def ledger(folder: Path) -> list[Point]:
    """The finished points, from 0 on without a gap."""
    found: list[Point] = []
    while (path := folder_of(folder, len(found)) / "point.json").is_file():
        found.append(_read(path))
    return found


def propose(tuning: Tuning, points: Sequence[Point], number: int) -> dict[str, Any]:
    """Settings of the next point, from what the earlier ones came to."""
    import optuna

    tune = tuning.tune
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seed = derive(tune.seed, "tune", number) % 2**32
    sampler: Any = optuna.samplers.RandomSampler(seed=seed)
    if tune.sampler == "tpe":
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=tune.startup)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    by_name = {d.name: d for d in tune.space}
    for point in points:
        study.add_trial(_frozen(optuna, point, by_name))
    trial = study.ask()
    return settled(tuning.raw, tune.space, lambda name: _asked(trial, by_name[name])).settings


def _asked(trial: Any, dimension: Dimension) -> Any:
    if dimension.values:
        places = list(range(len(dimension.values)))
        return dimension.values[trial.suggest_categorical(dimension.name, places)]
    low, high = dimension.ends
    if dimension.whole:
        return trial.suggest_int(dimension.name, low, high, log=dimension.log)
    return float(f"{trial.suggest_float(dimension.name, low, high, log=dimension.log):.6g}")


def _frozen(optuna: Any, point: Point, space: Mapping[str, Dimension]) -> Any:
    """A finished point as Optuna keeps one; a point without numbers as a failure."""
    kinds = {name: _distribution(optuna, space[name]) for name in point.settings}
    params = {name: _inner(space[name], value) for name, value in point.settings.items()}
    if not point.measured:
        state = optuna.trial.TrialState.FAIL
        return optuna.trial.create_trial(state=state, params=params, distributions=kinds)
    return optuna.trial.create_trial(
        params=params, distributions=kinds, values=[point.clean, point.robust],
        constraints={limit.name: min(limit.over, 1e6) for limit in point.limits},
    )  # fmt: skip


def _distribution(optuna: Any, dimension: Dimension) -> Any:
    kinds = optuna.distributions
    if dimension.values:
        return kinds.CategoricalDistribution(list(range(len(dimension.values))))
    made = kinds.IntDistribution if dimension.whole else kinds.FloatDistribution
    return made(*dimension.ends, log=dimension.log)


def _inner(dimension: Dimension, value: Any) -> Any:
    """Choices are known by their place; a rounded number may lie a hair outside its range."""
    if dimension.values:
        return dimension.values.index(value)
    low, high = dimension.ends
    return min(max(value, low), high)


def _played(
    number: int,
    settings: dict[str, Any],
    earlier: Sequence[Point],
    folder: Path,
    evaluate: Evaluate,
) -> Point:
    twin = next((p for p in earlier if p.settings == settings and p.measured), None)
    with atomic_folder(folder_of(folder, number)) as draft:
        if twin is not None:
            shutil.copytree(folder_of(folder, twin.number), draft, dirs_exist_ok=True)
            first = twin.number if twin.twin is None else twin.twin
            point = replace(twin, number=number, twin=first)
        else:
            point = evaluate(number, settings, draft)
        write_json(draft / "point.json", asdict(point))
    return point


def _read(path: Path) -> Point:
    try:
        row = json.loads(path.read_text("utf-8"))
        row["limits"] = tuple(Limit(**limit) for limit in row["limits"])
        return Point(**row)
    except (ValueError, TypeError, KeyError) as error:
        remedy = "remove the folder of this point and all after it, and run again"
        raise DataError(f"not a point ({error})", path=path, remedy=remedy) from error


def _same_search(tuning: Tuning, folder: Path) -> None:
    """Points of another search space or another experiment are no evidence for this one."""
    key = key_of(tuning.experiment, replace(tuning.tune, points=1))
    path = folder / "search"
    if path.is_file() and path.read_text("utf-8") != key:
        remedy = "choose another folder with --out, or remove this one"
        raise ConfigError(str(folder), [f"holds the points of another file; {remedy}"])
    if not path.is_file():
        write_text(path, key)


def _said(point: Point) -> str:
    if not point.measured:
        return point.error or "not measured"
    broken = [limit.says() for limit in point.limits if not limit.kept]
    state = f"breaks {'; '.join(broken)}" if broken else "keeps every limit"
    return f"NDCG@10 {point.clean:.4f}, exposure gain {point.robust:.4f}, {state}"
