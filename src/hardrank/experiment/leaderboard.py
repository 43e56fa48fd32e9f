"""`hardrank leaderboard`: entries from runs, verified from samples, built into a page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardrank import __version__
from hardrank.audits.verify import TOLERANCE
from hardrank.errors import ConfigError, DataError
from hardrank.experiment.compare_read import FinishedRun, read_run
from hardrank.experiment.leaderboard_figures import figures_of
from hardrank.experiment.leaderboard_spec import Entry, KnownData, Threat, as_json, read_entry
from hardrank.experiment.roles import control_of, is_hardened
from hardrank.experiment.spec import Trial
from hardrank.files import digest_file, write_json

__all__ = ["LEAST_SEEDS", "add_entry", "entry_of", "read_entries", "verify_entry"]

LEAST_SEEDS = 3


def add_entry(
    folder: Path, run: Path, *, citation: str, name: str = "", dataset: str = "", arm: str = ""
) -> Path:
    """Writes the entry of a run into `folder`; an entry of the same name and data is replaced.

    Raises `DataError` for a run without a control or without attacks, `ConfigError` where the
    arm is not there or is not the only one.
    """
    entry = entry_of(run, citation=citation, name=name, dataset=dataset, arm=arm)
    path = folder / f"{_slug(entry.name)}-{entry.dataset.fingerprint[:8]}.json"
    write_json(path, as_json(entry))
    return path


def entry_of(
    run: Path, *, citation: str, name: str = "", dataset: str = "", arm: str = ""
) -> Entry:
    """See `add_entry`. name: of the run where empty. dataset: the kind of its source."""
    found = read_run(run)
    subject = _subject(found, arm)
    control = control_of(subject)
    if control not in found.subjects:
        raise DataError(
            f"'{subject}' has no control arm, so nothing shows what hardening did", path=run,
            remedy="run the experiment with its control",
        )  # fmt: skip
    threats = tuple(_threats(found))
    if not threats:
        raise DataError(
            "no attack that promotes items by their text was measured",
            path=run,
            remedy="add [[trials]] and run again",
        )
    figures = tuple(figures_of(found, subject, control, threats))
    reasons = list(dict.fromkeys(f.reason for f in figures if not f.reliable))
    seeds = found.facts.seeds
    if len(seeds) < LEAST_SEEDS:
        word = "seed" if len(seeds) == 1 else "seeds"
        reasons.append(f"{len(seeds)} {word}; fewer than {LEAST_SEEDS} do not tell luck from "
                       "method")  # fmt: skip
    data = found.facts.config.get("data")
    kind = str(data.get("kind", "")) if isinstance(data, dict) else ""
    known = KnownData(
        name=dataset or kind or "unnamed", fingerprint=found.facts.fingerprint,
        synthetic=found.facts.synthetic,
    )  # fmt: skip
    return Entry(
        schema=1, name=name or found.name, citation=citation, subject=subject, control=control,
        dataset=known, protocol=found.facts.protocol, seeds=seeds, threats=threats,
        figures=figures, unreliable=bool(reasons), reasons=tuple(reasons),
        samples_sha256=digest_file(run / "samples.parquet"), hardrank=__version__,
    )  # fmt: skip


def verify_entry(path: Path, run: Path) -> list[str]:
    """Where the entry says something else than the run's samples; [] if nowhere.

    The whole entry is made again, so a figure, an interval, a flag or a reason that was
    altered comes out.
    """
    stated = read_entry(path)
    arm = stated.subject.partition("/")[2]
    again = entry_of(
        run, citation=stated.citation, name=stated.name, dataset=stated.dataset.name, arm=arm
    )
    old, new = as_json(stated), as_json(again)
    new["hardrank"] = old["hardrank"]  # a later version may find the same numbers
    return list(_differences(old, new, ""))


def read_entries(folder: Path) -> list[Entry]:
    """All entries of a folder, by name. Raises `ConfigError` with every mistake of every file."""
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise ConfigError(str(folder), ["no entries; make one with `hardrank leaderboard add`"])
    found: dict[tuple[str, str, str], Path] = {}
    entries: list[Entry] = []
    wrong: list[str] = []
    for path in paths:
        try:
            entry = read_entry(path)
        except ConfigError as error:
            wrong += [f"{path.name}: {mistake}" for mistake in error.mistakes]
            continue
        key = (entry.name, entry.dataset.fingerprint, entry.subject)
        if key in found:
            wrong.append(f"{path.name}: name: '{entry.name}' is {found[key].name} too; remove one")
        found[key] = path
        entries.append(entry)
    if wrong:
        raise ConfigError(str(folder), wrong)
    return sorted(entries, key=lambda entry: entry.name)


def _subject(run: FinishedRun, arm: str) -> str:
    model = run.facts.model or run.subjects[0].partition("/")[0]
    arms = [s.partition("/")[2] for s in run.subjects if s.partition("/")[0] == model]
    hardened = [a for a in arms if is_hardened(a)]
    if not hardened:
        raise DataError(
            f"no hardened arm of '{model}'", path=run.folder,
            remedy="an entry is a hardened model beside its control; add [harden] and run again",
        )  # fmt: skip
    if (arm and arm not in hardened) or (not arm and len(hardened) > 1):
        raise ConfigError("--arm", [f"name one of {', '.join(hardened)}"])
    return f"{model}/{arm or hardened[0]}"


def _threats(run: FinishedRun) -> Iterator[Threat]:
    """Those whose attacks promote by item text; every attack of theirs has to be there."""
    for trial in run.trials:
        if trial.threat.surface == "item-text" and trial.threat.goal.kind == "promote":
            yield _threat(run, trial)


def _threat(run: FinishedRun, trial: Trial) -> Threat:
    labels = tuple(trial.labels())
    missing = [label for label in labels if label not in run.attacks]
    if missing:
        raise DataError(
            f"the samples hold nothing of the attack '{missing[0]}'",
            path=run.folder / "samples.parquet", remedy="run the experiment again",
        )  # fmt: skip
    threat = trial.threat
    return Threat(
        description=threat.describe(), goal=threat.goal.kind, knowledge=threat.knowledge,
        surface=threat.surface, k=getattr(threat.goal, "k", 10), attacks=labels,
    )  # fmt: skip


def _slug(name: str) -> str:
    """ASCII for a file name; names of other scripts are told apart by the data's digest."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "entry"


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    """`figures.3.value: entry 0.2, run 0.4`"""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for n, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, f"{path}.{n}")
    elif isinstance(old, float) and isinstance(new, float):
        if abs(old - new) > TOLERANCE:
            yield f"{path}: entry {old}, run {new}"
    elif old != new:
        yield f"{path}: entry {old}, run {new}"
