"""`hardrank detect`: fit a detector on attacks of one's own, and look through a log with it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.data.filtering import Detector
from hardrank.data.trust import trust_of, write_trust
from hardrank.detection import AnyDetector
from hardrank.detection.calibrator import FittedCalibrator
from hardrank.detection.evaluate import Detected, leave_one_out, table
from hardrank.detection.examples import LabelledLog, labelled
from hardrank.detection.learned_from import comparable
from hardrank.detection.parts import read
from hardrank.detection.stored import load_detector
from hardrank.detection.supervised import FittedDetector, ranked
from hardrank.detection.target_stage import ItemSuspicion, item_suspicion, top_share
from hardrank.detection.trust import calibrated
from hardrank.errors import ConfigError, DataError, LeakError, Unsupported
from hardrank.experiment.detect_spec import Fitting
from hardrank.experiment.mistakes import kind_of
from hardrank.files import atomic_folder, write_json, write_table
from hardrank.threats import targets
from hardrank.threats.profiles import play_profiles
from hardrank.types import Floats

__all__ = ["Fitted", "Scanned", "detector_of", "example_logs", "fit_detector", "scan_log"]

_log = logging.getLogger("hardrank")
Mask = NDArray[np.bool_]
_PROBABLE = 0.5
"""Who is flagged without a threshold: more likely a fraudster than not."""
_SCANNED = {"users.parquet", "items.parquet", "trust.parquet"}
_HELD: dict[str, Literal["attack", "target"]] = {"unseen attack": "attack", "known": "target"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """What `detect fit` leaves behind."""

    detector: Any
    found: Mapping[str, Mapping[str, Detected]]
    """`unseen attack` (learned from other families) and `known` (on other targets) -> family."""
    missing: Mapping[str, str]
    """Why one of both could not be measured."""

    def lines(self) -> list[str]:
        out: list[str] = []
        for name, rows in self.found.items():
            out += [f"{name}:", *(f"  {line}" for line in table(rows))]
        return out + [f"{name}: not measured: {why}" for name, why in self.missing.items()]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scanned:
    """What `detect scan` leaves behind."""

    users: pl.DataFrame
    """`user_id`, `score`, `flagged`, `reasons`, most suspicious first; those who were judged."""
    items: pl.DataFrame
    """`item_id`, `suspicion`, `suspicious_raters`, `raters`, most suspicious first."""
    trust: dict[str, float]
    """user_id -> weight: 1 for who is not flagged."""


def example_logs(spec: Fitting, run: RunContext) -> list[LabelledLog]:
    """One log for each attack and target. Raises as the source, the split and attacks do.

    An attack that this log does not let play is left out with a warning.
    """
    data: Any = spec.data
    if run.folder is not None and getattr(data, "quarantine", run.folder) is None:
        data = replace(data, quarantine=run.folder)
    train: Dataset = data.load()
    if spec.split is not None:
        train = spec.split.split(train).train
    rng = np.random.default_rng(derive(spec.seed, "targets"))
    wanted = targets(spec.threat.goal, train, rng)
    out = []
    mounted: tuple[Any, ...] = spec.attacks
    for attack in mounted:
        for target in run.track(wanted, attack.kind, len(wanted)):
            try:
                match = play_profiles(
                    attack, spec.threat, train, target=target, seed=spec.seed, run=run
                )
            except Unsupported as error:
                _log.warning("%s is left out: %s", attack.kind, error)
                break
            out.append(labelled(train, match))
    return out


def fit_detector(spec: Fitting, run: RunContext) -> Fitted:
    """Into `run.folder`: `detector/`, with `evaluation.json` in it: both at once in the place of
    an earlier fitting. The detector that is kept learned from all logs; those that are measured
    did not. Raises `HardrankError` for what the user can mend."""
    assert run.folder is not None, "a detector needs a folder"
    logs = example_logs(spec, run)
    found: dict[str, Mapping[str, Detected]] = {}
    missing: dict[str, str] = {}
    for name, by in _HELD.items():
        _log.info("measuring: %s", name)
        options = spec.evaluation
        try:
            found[name] = leave_one_out(
                spec.detector, logs, run, by=by, held_out=options.held_out,
                false_alarms=options.false_alarms, draws=options.draws,
            )  # fmt: skip
        except LeakError:
            raise
        except DataError as error:
            missing[name] = str(error)
    _log.info("fitting on all %d logs", len(logs))
    detector: Any = spec.detector.fit(logs, run)
    rows = [{"held_out": n, **d.row()} for n, rows in found.items() for d in rows.values()]
    with atomic_folder(run.folder / "detector") as draft:
        detector.save(draft)
        write_json(draft / "evaluation.json", {"rows": rows, "missing": missing})
    return Fitted(detector=detector, found=found, missing=missing)


def detector_of(name: str) -> Any:
    """A fitted detector from its folder (or that of `detect fit`), or by its kind one that
    needs no examples. Raises `ConfigError` for a name that is neither, `BundleError` for a
    folder that holds none."""
    folder = Path(name)
    if folder.is_dir():
        inside = folder / "detector"
        return load_detector(inside if inside.is_dir() else folder)
    adapter: TypeAdapter[Any] = TypeAdapter(AnyDetector)
    try:
        made = adapter.validate_python({"kind": name})
    except ValidationError as error:
        raise ConfigError(
            "detect scan", [f"'{name}' is no folder and no kind; kinds: {', '.join(_ready())}"]
        ) from error
    if name not in _ready():
        raise ConfigError(
            "detect scan", [f"'{name}' learns from examples: run `hardrank detect fit` first"]
        )
    return made


def scan_log(
    detector: Any, data: Dataset, run: RunContext, *, share: float | None = None
) -> Scanned:
    """Scores of all users, and what follows for items and trust; into `run.folder`, if any:
    `users.parquet`, `items.parquet`, `trust.parquet`, all of them at once in the place of an
    earlier scan.

    Flagged are: with `share`, that share of the users; else who is above the threshold of a
    fitted detector; else who is more likely a fraudster than not (`detection.calibrated`).
    Raises `DataError` when that is a third of all users or more, for a log in which the
    detector judges nobody, and for one without ratings or times where the detector learned from
    logs that have them; `ConfigError` for a folder that holds anything but a scan.
    """
    folder = None if run.folder is None else run.folder.resolve()  # a link stays one
    if folder is not None:
        _ours(folder)
    comparable(detector, data)
    scores = np.asarray(detector(data), dtype=np.float32)
    if np.isnan(scores).all():
        raise DataError(
            f"the detector judges none of the {data.n_users} users: {data.name} lacks what it "
            "looks at, such as times, or nobody has enough events",
            remedy="take one that needs less, such as combined; docs/detection.md says what each "
            "needs",
        )
    flagged = _flagged(detector, scores, share)
    if flagged.sum() * 3 >= data.n_users:
        raise DataError(
            f"{flagged.sum()} of {data.n_users} users would be flagged: the detector finds no "
            "border in this log",
            remedy="give a share of users to flag (--share)",
        )
    items = item_suspicion(read(data), flagged)
    made = Scanned(
        users=_users(detector, data, scores, flagged), items=_items(data, items),
        trust=trust_of(data, _doubt(detector, scores, flagged), above=0.0),
    )  # fmt: skip
    if folder is not None:
        _ours(folder)  # somebody may have written there meanwhile
        with atomic_folder(folder) as draft:
            write_table(draft / "users.parquet", made.users)
            write_table(draft / "items.parquet", made.items)
            write_trust(draft / "trust.parquet", made.trust, what="user")
    return made


def _ours(folder: Path) -> None:
    """Another scan may be replaced; whatever else lies there may not."""
    if not folder.exists():
        return
    if not folder.is_dir():
        wrong = "is no folder"
    elif strange := sorted({path.name for path in folder.iterdir()} - _SCANNED):
        wrong = f"holds '{strange[0]}', which no scan wrote"
    else:
        return
    raise ConfigError("detect scan", [f"--out: {folder} {wrong}; choose another folder"])


def _flagged(detector: Any, scores: Floats, share: float | None) -> Mask:
    if share is not None:
        return top_share(scores, share)
    threshold = getattr(detector, "threshold", None)
    if threshold is not None and np.isfinite(threshold):
        return np.asarray(np.nan_to_num(scores, nan=-np.inf) > threshold)
    return np.asarray(np.nan_to_num(calibrated(scores)) > _PROBABLE)


def _doubt(detector: Any, scores: Floats, flagged: Mask) -> Floats:
    """(U,) how likely each user is a fraudster: 0 for who is not flagged, else a half or more."""
    p = scores if isinstance(detector, FittedDetector | FittedCalibrator) else calibrated(scores)
    doubt = np.where(flagged, np.maximum(np.nan_to_num(p), _PROBABLE), 0.0)
    return np.where(np.isnan(scores), np.nan, doubt).astype(np.float32)


def _users(detector: Any, data: Dataset, scores: Floats, flagged: Mask) -> pl.DataFrame:
    judged = np.flatnonzero(~np.isnan(scores))
    judged = judged[np.argsort(-scores[judged], kind="stable")]
    suspects = judged[flagged[judged]]
    told = _reasons(detector, data, suspects)
    return pl.DataFrame(
        {
            "user_id": data.users["user_id"].gather(judged),
            "score": scores[judged],
            "flagged": flagged[judged],
            "reasons": told + [None] * (len(judged) - len(suspects)),
        },
        schema_overrides={"reasons": pl.Utf8()},
    )


def _reasons(detector: Detector, data: Dataset, users: NDArray[Any]) -> list[str]:
    """What speaks most against each of those users."""
    own = getattr(detector, "reasons", None)
    if own is not None:
        return ["; ".join(found) for found in own(data, users)]
    names, x = ranked(data)
    far = np.abs(x[users] - 0.5)
    order = np.argsort(-far, axis=1, kind="stable")[:, :3]
    return [
        "; ".join(f"{names[f]} (rank {row[f]:.3f})" for f in first)
        for row, first in zip(x[users], order, strict=True)
    ]


def _items(data: Dataset, found: ItemSuspicion) -> pl.DataFrame:
    order = np.lexsort((-found.suspects, -found.decades))
    return pl.DataFrame(
        {
            "item_id": data.items["item_id"].gather(order),
            "suspicion": found.decades[order],
            "suspicious_raters": found.suspects[order].astype(np.int64),
            "raters": found.raters[order].astype(np.int64),
        }
    )


def _ready() -> Sequence[str]:
    from hardrank.detection import DETECTORS

    return [kind for made in DETECTORS if (kind := kind_of(made))] + ["two-stage"]
