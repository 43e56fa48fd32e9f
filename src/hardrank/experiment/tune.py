"""`hardrank tune`: the most robust `[harden]` that keeps price, cost and floors."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardrank.context import RunContext
from hardrank.errors import ConfigError, HardrankError
from hardrank.experiment.circumstance import host, versions
from hardrank.experiment.reading import dataset_of, split_of
from hardrank.experiment.roles import is_hardened
from hardrank.experiment.tune_front import Limit, Point, binding, front, recommended
from hardrank.experiment.tune_measure import Bench, Measured, samples_into
from hardrank.experiment.tune_search import search
from hardrank.experiment.tune_spec import Tuning
from hardrank.files import write_json, write_text
from hardrank.reports.pareto import Choice, Pareto, pareto_page
from hardrank.reports.sections.method import toml

__all__ = ["Tuned", "run_tuning"]

_log = logging.getLogger("hardrank")


@dataclass(frozen=True, eq=False, kw_only=True)
class Tuned:
    """What a tuning leaves behind."""

    folder: Path
    page: Path
    points: list[Point]
    front: list[Point]
    recommended: Point | None
    """None where no point keeps every limit; then `binding` says which one stands in the way."""
    binding: Limit | None
    control: Point
    """Plain training, measured alike; no candidate."""
    file: Path | None
    """The experiment with the recommended `[harden]`, for `hardrank run`."""


def run_tuning(tuning: Tuning, run: RunContext, *, points: int | None = None) -> Tuned:
    """Everything into `run.folder`; run again, it goes on where it stopped.

    Raises `HardrankError` for anything the user can mend.
    """
    assert run.folder is not None, "a tuning needs a folder"
    source = dataset_of(tuning.experiment, run.folder)
    split = split_of(tuning.experiment, source)
    _log.info("training the base")
    bench = Bench.of(tuning, source, split, run)
    control = _control(bench.control(), run.folder)

    def evaluate(number: int, settings: Mapping[str, Any], folder: Path) -> Point:
        return _evaluated(tuning, bench, number, settings, folder)

    found = search(tuning, run.folder, evaluate, points or tuning.tune.points)
    return _written(tuning, found, control, bench)


def _control(plain: Measured, folder: Path) -> Point:
    point = Point(
        number=-1, settings={}, clean=plain.clean, robust=plain.robust, cost=plain.cost,
        measures=_measures(plain),
    )  # fmt: skip
    samples_into(folder / "control", plain)
    write_json(folder / "control" / "point.json", asdict(point))
    return point


def _evaluated(
    tuning: Tuning, bench: Bench, number: int, settings: Mapping[str, Any], folder: Path
) -> Point:
    """One point; what it was trained with and every sample go into `folder`. A point that
    cannot be trained is kept with its reason: the search goes on without it."""
    raw, experiment = tuning.candidate(settings)
    write_text(folder / "experiment.toml", _spelt(raw))
    try:
        measured = bench.candidate(experiment)
    except ConfigError:
        raise
    except HardrankError as error:
        return Point(number=number, settings=dict(settings), error=str(error))
    samples_into(folder, measured)
    _forget(bench.run)
    return Point(
        number=number, settings=dict(settings), clean=measured.clean, robust=measured.robust,
        cost=measured.cost, limits=measured.limits, measures=_measures(measured),
        error="" if measured.robust is not None else "no attack could be mounted",
    )  # fmt: skip


def _forget(run: RunContext) -> None:
    """Weights of a measured point: a search of a hundred would fill the disk, and
    `hardrank run` trains the recommended one again."""
    assert run.folder is not None
    for folder in (run.folder / "models").glob("*/*-*"):
        if is_hardened(folder.name.rpartition("-")[0]):
            shutil.rmtree(folder)


def _measures(measured: Measured) -> dict[str, Any]:
    """Name -> value, low, high of every finding."""
    return {
        f"{f.subject} {f.trial} {f.metric} {f.group}": [f.value, f.low, f.high]
        for f in measured.findings
    }


def _spelt(raw: Mapping[str, Any]) -> str:
    return "\n".join(toml(raw)).strip() + "\n"


def _written(tuning: Tuning, points: list[Point], control: Point, bench: Bench) -> Tuned:
    folder = bench.run.folder
    assert folder is not None
    best, unbeaten, limit = recommended(points), front(points), binding(points)
    file = folder / "recommended.toml"
    if best is None:
        file.unlink(missing_ok=True)
    else:
        write_text(file, _spelt(tuning.candidate(best.settings)[0]))
    facts = _facts(tuning, bench)
    found = {
        "control": asdict(control),
        "points": [asdict(p) for p in points],
        "front": [p.number for p in unbeaten],
        "recommended": None if best is None else best.number,
        "binding": None if limit is None else asdict(limit),
    }
    write_json(folder / "tune.json", {**facts, **found})
    page = folder / "tune.html"
    write_text(page, pareto_page(_pareto(tuning, points, control, facts)))
    return Tuned(
        folder=folder, page=page, points=points, front=unbeaten, recommended=best, binding=limit,
        control=control, file=None if best is None else file,
    )  # fmt: skip


def _facts(tuning: Tuning, bench: Bench) -> dict[str, Any]:
    goals: list[list[Any]] = [[trial.threat.goal for trial in trials] for trials in bench.trials]
    return {
        "name": tuning.experiment.name,
        "model": tuning.experiment.model.kind,
        "synthetic": bench.source.synthetic,
        "fingerprint": bench.source.fingerprint,
        "protocol": f"{bench.split.protocol}; validation events; targets apart from the audit's",
        "threats": [trial.threat.describe() for trial in tuning.trials],
        "attacks": bench.labels,
        "targets": [[goal.items for goal in own] for own in goals],
        "seeds": [base.seed for base in bench.bases],
        "users": [len(bench.users(base.seed)) for base in bench.bases],
        "price": tuning.price,
        "cost_limit": tuning.tune.cost,
        "versions": versions(),
        "host": host(),
    }


def _pareto(
    tuning: Tuning, points: list[Point], control: Point, facts: Mapping[str, Any]
) -> Pareto:
    best, limit = recommended(points), binding(points)
    unbeaten = {p.number for p in front(points)}
    floor = None
    if control.clean is not None and "all" in tuning.tune.groups:
        floor = control.clean * (1 - tuning.price)
    key, table = tuning.root.partition(".")[0], {}
    if best is not None:
        table = {key: tuning.candidate(best.settings)[0][key]}
    return Pareto(
        name=facts["name"], synthetic=facts["synthetic"], protocol=facts["protocol"],
        threats=tuple(facts["threats"]), seeds=tuple(facts["seeds"]), users=facts["users"][0],
        control=_choice(control, False, False), floor=floor, price=tuning.price,
        choices=tuple(_choice(p, p.number in unbeaten, p is best) for p in points),
        binding="" if limit is None else limit.says(), settled=_spelt(table).strip(),
    )  # fmt: skip


def _choice(point: Point, unbeaten: bool, best: bool) -> Choice:
    return Choice(
        label="control" if point.number < 0 else str(point.number),
        settings=tuple((name, _short(value)) for name, value in point.settings.items()),
        clean=point.clean, robust=point.robust, cost=point.cost,
        broken=tuple(limit.says() for limit in point.limits if not limit.kept),
        error=point.error, front=unbeaten, recommended=best, twin=point.twin,
    )  # fmt: skip


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        rest = ", ".join(f"{k}={_short(v)}" for k, v in value.items() if k != "kind")
        return f"{value.get('kind', '')}({rest})" if rest else str(value.get("kind", ""))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
