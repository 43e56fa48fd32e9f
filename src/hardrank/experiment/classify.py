"""`hardrank run` for a text classifier: from a file of labelled texts to a report."""

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from hardrank.audits import samples as table
from hardrank.audits.checks import check_samples, judge_findings
from hardrank.audits.checks import findings_of as gate_findings
from hardrank.audits.flip import decisions, flip_curve, row_names
from hardrank.context import RunContext, derive
from hardrank.data.labelled import Labelled, LabelledSplit, check_text_leaks
from hardrank.errors import Unsupported
from hardrank.experiment.circumstance import Clock, Result, host, versions
from hardrank.experiment.classify_arms import (
    TrainedClassifier,
    check_arms,
    classifier_arms,
    classifier_bases,
    known_to,
)
from hardrank.experiment.classify_baselines import majority, tfidf_logistic
from hardrank.experiment.classify_findings import classifier_findings
from hardrank.experiment.classify_gates import classifier_checks
from hardrank.experiment.classify_spec import ClassifierExperiment, FlipCurve
from hardrank.experiment.stages import kept_samples, key_of
from hardrank.files import write_json
from hardrank.reports import render
from hardrank.types import Ints

__all__ = ["run_classifier"]

_log = logging.getLogger("hardrank")


def run_classifier(experiment: ClassifierExperiment, run: RunContext) -> Result:
    """Everything into `run.folder`. Run again, it resumes: a finished stage whose inputs are
    the same is not done again, an interrupted training goes on where it stood.

    Raises `HardrankError` for anything the user can mend.
    """
    assert run.folder is not None, "a run needs a folder"
    clock, started = Clock(), datetime.now(UTC)
    with clock.stage("reading the data"):
        data, split = _split(experiment)
        names = row_names(data, split.test)
    _log.info("%s: %d texts; %s", experiment.data.path.name, len(data), split.protocol)
    check_arms(experiment, split, run)
    first = known_to(experiment, split, experiment.seeds[0])
    parts: list[pl.DataFrame] = []
    subjects: list[TrainedClassifier] = []
    with clock.stage("baselines"):
        for label, made in (("majority", majority), ("tfidf-logistic", tfidf_logistic)):
            parts.append(
                decisions(made(first), split.test, subject=f"{label}/base",
                          seed=experiment.seeds[0], names=names)
            )  # fmt: skip
            _say(parts[-1])
    with clock.stage("training and hardening"):
        for base in classifier_bases(experiment, split, run):
            base.model.encoder.encode(split.test.texts)  # kept for the next run
            arms = classifier_arms(experiment, base, split, run)
            subjects += arms
            for trained in (base, *arms):
                parts.append(_clean(trained, split.test, names, run))
                _say(parts[-1])
    with clock.stage("robustness curves"):
        for curve in experiment.curves:
            for arm in subjects:
                parts.append(_curve(curve, arm, split.test, names, run))
                _log.info("%s seed %d attacked at %s", arm.subject, arm.seed, curve.site)
    with clock.stage("findings and report"):
        samples = table.gather(parts)
        findings = classifier_findings(experiment, samples, _protocol(experiment, split))
        asked = classifier_checks(experiment, samples, findings, subjects, split.test)
        samples = table.gather([samples, check_samples(asked)])
        findings = judge_findings([*findings, *gate_findings(asked)], asked)
        table.save(samples, run.folder / "samples.parquet")
        write_json(run.folder / "findings.json", [asdict(f) for f in findings])
        write_json(run.folder / "run.json", _facts(experiment, data, split, clock, started))
        report = render(run.folder)
    return Result(folder=run.folder, report=report, bundle=None, findings=findings)


def _split(experiment: ClassifierExperiment) -> tuple[Labelled, LabelledSplit]:
    """One split for all seeds."""
    data = experiment.data.load()
    if len(data.names) != 2:
        raise Unsupported(
            f"a classifier experiment needs two classes, {experiment.data.path} has "
            f"{len(data.names)}: {', '.join(data.names)}"
        )
    split = experiment.data.split(data, np.random.default_rng(derive(0, "split")))
    check_text_leaks(split)
    return data, split


def _clean(
    subject: TrainedClassifier, test: Labelled, names: list[str], run: RunContext
) -> pl.DataFrame:
    return kept_samples(
        _folder(run, "utility", subject), key_of("decisions", subject.digest, test.fingerprint),
        lambda: decisions(
            subject.model.probabilities(test.texts), test, subject=subject.subject,
            seed=subject.seed, names=names,
        ),
    )  # fmt: skip


def _curve(
    curve: FlipCurve, subject: TrainedClassifier, test: Labelled, names: list[str], run: RunContext
) -> pl.DataFrame:
    """Samples of one curve, one trial for each inner maximiser."""
    radii = (0.0, *curve.radii, *((curve.unbounded,) if curve.unbounded else ()))
    rows = _some(len(test), curve.texts)
    chosen, called = test.take(rows), [names[r] for r in rows]
    about = (curve.site,) if curve.loss is None else (curve.site, curve.loss)
    made = [
        kept_samples(
            _folder(run, f"curve-{key_of(*about, inner)[:8]}", subject),
            key_of(*about, inner, radii, subject.digest, chosen.fingerprint, subject.seed),
            lambda inner=inner: flip_curve(  # type: ignore[misc]
                subject.model, chosen, site=curve.site, inner=inner, radii=radii,
                subject=subject.subject, seed=subject.seed, trial=curve.label(inner),
                loss=curve.loss, names=called,
            ),
        )
        for inner in curve.inners
    ]  # fmt: skip
    return table.gather(made)


def _some(count: int, wanted: int | None) -> Ints:
    """The same for every arm and seed."""
    order = np.random.default_rng(derive(0, "texts")).permutation(count)
    return np.sort(order[:wanted])


def _folder(run: RunContext, name: str, subject: TrainedClassifier) -> Path:
    assert run.folder is not None
    return run.folder / "stages" / name / subject.spec.kind / f"{subject.arm}-{subject.seed}"


def _protocol(experiment: ClassifierExperiment, split: LabelledSplit) -> str:
    share = experiment.labelled_share
    known = f"; {100 * share:g} % of the training texts keep their labels" if share < 1 else ""
    return (
        f"{split.protocol}{known}; a text is given class 1, {split.test.names[1]}, from a "
        "calibrated probability of 0.5 up"
    )


def _facts(
    experiment: ClassifierExperiment,
    data: Labelled,
    split: LabelledSplit,
    clock: Clock,
    started: datetime,
) -> dict[str, Any]:
    """What the report says beside the numbers; see `hardrank.reports.evidence.RunFacts`."""
    adapter = TypeAdapter(ClassifierExperiment)
    return {
        "name": experiment.name,
        "model": experiment.classifier.kind,
        "data_card": _card(data, split),
        "config": adapter.dump_python(experiment, mode="json", exclude_none=True),
        "versions": versions(),
        "seeds": list(experiment.seeds),
        "protocol": _protocol(experiment, split),
        "durations": clock.rounded(),
        "host": host(),
        "threats": [_threat(curve) for curve in experiment.curves],
        "fingerprint": data.fingerprint,
        "started": started.isoformat(timespec="seconds"),
    }


def _threat(curve: FlipCurve) -> str:
    tried = ", ".join(inner.kind for inner in curve.inners)
    return (
        f"Flip the decision on a test text. The attacker knows the model, its gradients and the "
        f"true class, and moves the {curve.site.replace('-', ' ')} by at most a share of their "
        f"mean norm ({curve.claim:g} where one number is given). Tried: {tried}. No edit of the "
        f"text itself is made: this bounds such edits, it is not one."
    )


def _card(data: Labelled, split: LabelledSplit) -> str:
    lengths = [len(text.split()) for text in data.texts]
    lines = [f"# Data card: {len(data)} labelled texts", ""]
    parts = {"training": split.train, "validation": split.valid, "test": split.test}
    for name, part in parts.items():
        counts = np.bincount(part.labels, minlength=len(data.names))
        of = ", ".join(f"{n} {c}" for n, c in zip(data.names, counts.tolist(), strict=True))
        lines.append(f"- {name}: {len(part)} texts ({of})")
    middle, longest = int(np.median(lengths)), max(lengths)
    lines += [f"- words in a text: median {middle}, most {longest}", "",
              f"Fingerprint: `{data.fingerprint}`", ""]  # fmt: skip
    return "\n".join(lines)


def _say(samples: pl.DataFrame) -> None:
    right = float(samples["success"].cast(pl.Float64).mean())  # type: ignore[arg-type]
    _log.info("%s seed %d: accuracy %.4f", samples["subject"][0], samples["seed"][0], right)
