"""Train a generator of user interests, measure it, draw from it."""

import json
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Patch
from hardrank.errors import BundleError, DataError
from hardrank.experiment.gan_events import as_edits
from hardrank.experiment.gan_spec import GanExperiment, parse_gan
from hardrank.experiment.reading import dataset_of
from hardrank.files import write_json
from hardrank.types import Ints, Share

if TYPE_CHECKING:
    from hardrank.generators.distinct import MassReport
    from hardrank.generators.interest_autoencoder import InterestAutoencoder
    from hardrank.generators.interest_gan import Slim
    from hardrank.generators.interest_generator import InterestGenerator

    Model = InterestGenerator | InterestAutoencoder

__all__ = [
    "TrainedGan",
    "distil_gan",
    "draw_distinct",
    "draw_profiles",
    "open_gan",
    "train_gan",
]

_FACTS = (
    "quality", "data", "shown", "users", "held_users", "train_seconds",
    "seconds_per_useful_sample", "peak_mebibytes",
)  # fmt: skip
"""Of `quality.json`: what others read of it."""
_REMEDY = "; name a folder that `hardrank gan train` has finished"
_DECILES = np.linspace(0, 1, 11)


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedGan:
    """What stands in the folder of a generator."""

    name: str
    model: "Model"
    raw: Mapping[str, Any]
    """The experiment file."""
    facts: Mapping[str, Any]
    """`quality.json`: figures of the samples, seconds, memory, and what the plots show."""


def train_gan(experiment: GanExperiment, raw: Mapping[str, Any], run: RunContext) -> TrainedGan:
    """Train in `run.folder` (resumed where it was killed) and write down what came of it.

    Raises `Diverged` where training went wrong; the folder keeps the last good round.
    """
    folder = run.folder or Path("runs") / experiment.name
    train, known, held = _parts(experiment, folder)
    begun = time.monotonic()
    model = experiment.generator.fit(
        known, RunContext(seed=experiment.seed, folder=folder / "training", progress=run.progress)
    )
    trained = time.monotonic() - begun
    return _written(experiment, raw, folder, model, train, known, held, trained, {})


def distil_gan(
    folder: Path, out: Path, *, slim: "Slim | None" = None, steps: int = 600, progress: bool = True
) -> TrainedGan:
    """A smaller generator that learned from the one of `folder`, measured as that was, in a
    folder of its own.

    Raises `DataError` for a generator that is no interest GAN, for data that changed and for an
    `out` that is `folder`, `ConfigError` for sizes that are not smaller.
    """
    from hardrank.generators.distil import cost, distance, distil
    from hardrank.generators.interest_generator import InterestGenerator

    teacher = open_gan(folder)
    if out.resolve() == folder.resolve():
        raise DataError(f"{out} is the folder of the larger generator", remedy="name another one")
    if not isinstance(teacher.model, InterestGenerator):
        raise DataError(
            f"{folder} holds an '{teacher.model.spec.kind}'; only an 'interest-gan' is distilled"
        )
    experiment = parse_gan(teacher.raw, source=str(folder / "experiment.json"))
    train, known, held = _parts(experiment, folder)
    _same(train, teacher)
    begun = time.monotonic()
    run = RunContext(seed=experiment.seed, progress=progress)
    model = distil(teacher.model, known, run, slim=slim, steps=steps)
    trained = time.monotonic() - begun
    large, small = (cost(m, known) for m in (teacher.model, model))
    facts = {"distilled": {
        "parameters": small.parameters, "parameters_teacher": large.parameters,
        "numbers": small.numbers, "numbers_teacher": large.numbers,
        "seconds_a_draw": small.seconds, "seconds_a_draw_teacher": large.seconds,
        "distance": distance(teacher.model, model, known, seed=experiment.seed),
    }}  # fmt: skip
    return _written(experiment, teacher.raw, out, model, train, known, held, trained, facts)


def _parts(experiment: GanExperiment, folder: Path) -> tuple[Dataset, Dataset, Ints]:
    """All that may be read, what is learned from, and the users that are held out. Raises
    `DataError` for fewer than 20 users to learn from."""
    from hardrank.generators.quality import comparable

    train = _train_part(experiment, folder)
    rng = np.random.default_rng(derive(experiment.seed, "gan", "held"))
    held, kept = _held(train, experiment.held, rng)
    known = train.where(pl.col("user").is_in(kept.tolist()))
    comparable(known)  # or the training would be for nothing
    return train, known, held


def _written(
    experiment: GanExperiment, raw: Mapping[str, Any], folder: Path, model: "Model",
    train: Dataset, known: Dataset, held: Ints, trained: float, more: Mapping[str, Any],
) -> TrainedGan:  # fmt: skip
    """Measure, and write it all down."""
    from hardrank.generators.interest_generator import InterestGenerator
    from hardrank.generators.quality import measure, pair_auroc

    draws = np.random.default_rng(derive(experiment.seed, "gan", "quality"))
    begun = time.monotonic()
    quality = measure(model, known, draws, samples=experiment.samples)
    measured = time.monotonic() - begun
    useful = max(quality.unique * quality.samples, 1)
    facts: dict[str, Any] = {
        "quality": quality.to_json(), "train_seconds": round(trained, 2),
        "measure_seconds": round(measured, 2),
        "seconds_per_useful_sample": (trained + measured) / useful,
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "users": train.n_users - len(held), "held_users": len(held), "data": train.fingerprint,
        "synthetic": train.synthetic, "shown": _shown(model, known, draws),
        **more,
    }  # fmt: skip
    pairs = (train.histories().take(held).lengths >= 4).sum() >= 2
    if isinstance(model, InterestGenerator) and pairs:
        facts["pair_auroc"] = pair_auroc(model, train.histories().take(held), draws)
    model.save(folder / "generator")
    write_json(folder / "experiment.json", raw, default=str)
    write_json(folder / "quality.json", facts)
    return TrainedGan(name=experiment.name, model=model, raw=raw, facts=facts)


def open_gan(folder: Path) -> TrainedGan:
    """Raises `BundleError` where the folder is not one of `train_gan`."""
    try:
        raw = json.loads((folder / "experiment.json").read_text("utf-8"))
        facts = json.loads((folder / "quality.json").read_text("utf-8"))
        name, lacks = raw["name"], [k for k in _FACTS if k not in facts]
        model = _loaded(folder / "generator")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder} holds no trained generator ({error}){_REMEDY}") from error
    if lacks:
        raise BundleError(f"{folder}/quality.json has no '{lacks[0]}'{_REMEDY}")
    return TrainedGan(name=name, model=model, raw=raw, facts=facts)


def draw_profiles(
    folder: Path, users: int, *, length: int | None = None, keep: Share | None = None,
    seed: int = 0,
) -> Patch:  # fmt: skip
    """Profiles conditioned on so many real users drawn at random, as edits of the log, with
    ratings and times where it has such (see `hardrank.experiment.gan_events`).

    The data are read again from where they were. Raises `DataError` where they changed.
    """
    trained = open_gan(folder)
    train = _train_of(trained, folder)
    rng = np.random.default_rng(derive(seed, "gan", "sample"))
    eligible = np.flatnonzero(train.histories().lengths > 0)
    rows = rng.choice(eligible, size=users)
    drawn = trained.model.sample(train.histories().take(rows), rng, length=length, keep=keep)
    return as_edits(train, drawn, f"drawn-{seed}", rng)


def draw_distinct(
    folders: Sequence[Path], wanted: int, *, similarity: Share = 0.8, coverage: Share = 0.0,
    length: int | None = None, keep: Share | None = None, limit: int | None = None, seed: int = 0,
) -> "tuple[Patch, MassReport]":  # fmt: skip
    """So many distinct profiles of one or several generators by turns, as edits of the log, and
    how they were come by; see `hardrank.generators.distinct.mass_sample`.

    Raises `DataError` where the data changed, or two generators were trained on other data.
    """
    from hardrank.generators.distinct import mass_sample

    opened = [open_gan(folder) for folder in folders]
    train = _train_of(opened[0], folders[0])
    for trained, folder in zip(opened, folders, strict=True):
        if trained.facts["data"] != train.fingerprint:
            raise DataError(f"{folder} was trained on other data than {folders[0]}")
    rng = np.random.default_rng(derive(seed, "gan", "distinct"))
    made = mass_sample(
        [t.model for t in opened], train, rng, wanted=wanted, similarity=similarity,
        coverage=coverage, length=length, keeps=(keep,), most=limit,
    )  # fmt: skip
    return as_edits(train, made.profiles, f"distinct-{seed}", rng), made.report


def _train_of(trained: TrainedGan, folder: Path) -> Dataset:
    train = _train_part(parse_gan(trained.raw, source=str(folder / "experiment.json")), folder)
    _same(train, trained)
    return train


def _same(train: Dataset, trained: TrainedGan) -> None:
    if train.fingerprint != trained.facts["data"]:
        raise DataError(
            f"{train.name} is not what the generator was trained on",
            remedy="bring the data back, or train again",
        )


def _loaded(folder: Path) -> "Model":
    """By the kind that its spec names."""
    from hardrank.generators.interest_autoencoder import InterestAutoencoder
    from hardrank.generators.interest_generator import InterestGenerator

    kind = json.loads((folder / "spec.json").read_text("utf-8"))["spec"]["kind"]
    return (InterestAutoencoder if kind == "interest-vae" else InterestGenerator).load(folder)


def _train_part(experiment: GanExperiment, folder: Path) -> Dataset:
    data = dataset_of(cast(Any, experiment), folder)
    return data if experiment.split is None else experiment.split.split(data).train


def _held(train: Dataset, share: Share, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """User rows that are held out, and those that are learned from."""
    order = rng.permutation(train.n_users)
    cut = int(share * train.n_users)
    return np.sort(order[:cut]), np.sort(order[cut:])


def _shown(model: "Model", train: Dataset, rng: np.random.Generator) -> dict[str, Any]:
    """Deciles of length and of popularity, real and generated, for the plots."""
    histories = train.histories()
    users = np.flatnonzero(histories.lengths >= 2)
    drawn = model.sample(histories.take(rng.permutation(users)[:500]), rng)
    real = [np.unique(histories.history(int(u))) for u in users]
    return {
        what: {
            arm: [float(v) for v in np.quantile(numbers(sets), _DECILES)]
            for arm, sets in (("real", real), ("generated", drawn))
        }
        for what, numbers in (
            ("length", lambda sets: [len(s) for s in sets]),
            ("popularity", lambda sets: train.counts[np.concatenate(sets)]),
        )
    }
