"""Train a generator of user interests, measure it, draw from it."""

import json
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl

from hardrank.context import RunContext, derive
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.errors import BundleError, DataError
from hardrank.experiment.gan_spec import GanExperiment, parse_gan
from hardrank.experiment.reading import dataset_of
from hardrank.files import write_json
from hardrank.types import Ints, Share

if TYPE_CHECKING:
    from hardrank.generators.interest_generator import InterestGenerator

__all__ = ["TrainedGan", "draw_profiles", "open_gan", "train_gan"]

_DECILES = np.linspace(0, 1, 11)


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedGan:
    """What stands in the folder of a generator."""

    name: str
    model: "InterestGenerator"
    raw: Mapping[str, Any]
    """The experiment file."""
    facts: Mapping[str, Any]
    """`quality.json`: figures of the samples, seconds, memory, and what the plots show."""


def train_gan(experiment: GanExperiment, raw: Mapping[str, Any], run: RunContext) -> TrainedGan:
    """Train in `run.folder` (resumed where it was killed) and write down what came of it.

    Raises `Diverged` where training went wrong; the folder keeps the last good round.
    """
    from hardrank.generators.quality import measure, pair_auroc

    folder = run.folder or Path("runs") / experiment.name
    train = _train_part(experiment, folder)
    rng = np.random.default_rng(derive(experiment.seed, "gan", "held"))
    held, kept = _held(train, experiment.held, rng)
    known = train.where(pl.col("user").is_in(kept.tolist()))
    begun = time.monotonic()
    model = experiment.generator.fit(
        known, RunContext(seed=experiment.seed, folder=folder / "training", progress=run.progress)
    )
    trained = time.monotonic() - begun
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
        "users": len(kept), "held_users": len(held), "data": train.fingerprint,
        "shown": _shown(model, known, draws),
    }  # fmt: skip
    if (train.histories().take(held).lengths >= 4).sum() >= 2:
        facts["pair_auroc"] = pair_auroc(model, train.histories().take(held), draws)
    model.save(folder / "generator")
    write_json(folder / "experiment.json", raw, default=str)
    write_json(folder / "quality.json", facts)
    return TrainedGan(name=experiment.name, model=model, raw=raw, facts=facts)


def open_gan(folder: Path) -> TrainedGan:
    """Raises `BundleError` where the folder is not one of `train_gan`."""
    from hardrank.generators.interest_generator import InterestGenerator

    try:
        raw = json.loads((folder / "experiment.json").read_text("utf-8"))
        facts = json.loads((folder / "quality.json").read_text("utf-8"))
        model = InterestGenerator.load(folder / "generator")
        return TrainedGan(name=raw["name"], model=model, raw=raw, facts=facts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder} holds no trained generator ({error})") from error


def draw_profiles(
    folder: Path, users: int, *, length: int | None = None, keep: Share | None = None,
    seed: int = 0,
) -> Patch:  # fmt: skip
    """Profiles conditioned on so many real users drawn at random, as edits of the log.

    The data are read again from where they were. Raises `DataError` where they changed.
    """
    trained = open_gan(folder)
    train = _train_part(parse_gan(trained.raw, source=str(folder / "experiment.json")), folder)
    if train.fingerprint != trained.facts["data"]:
        raise DataError(
            f"{train.name} is not what the generator was trained on",
            remedy="bring the data back, or train again",
        )
    rng = np.random.default_rng(derive(seed, "gan", "sample"))
    eligible = np.flatnonzero(train.histories().lengths > 0)
    rows = rng.choice(eligible, size=users)
    drawn = trained.model.sample(train.histories().take(rows), rng, length=length, keep=keep)
    ids = train.items["item_id"].to_list()
    return Patch(
        tuple(
            AddProfile(user_id=f"drawn-{seed}-{n}", item_ids=tuple(ids[i] for i in items.tolist()))
            for n, items in enumerate(drawn)
        )
    )


def _train_part(experiment: GanExperiment, folder: Path) -> Dataset:
    data = dataset_of(cast(Any, experiment), folder)
    return data if experiment.split is None else experiment.split.split(data).train


def _held(train: Dataset, share: Share, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """User rows that are held out, and those that are learned from."""
    order = rng.permutation(train.n_users)
    cut = int(share * train.n_users)
    return np.sort(order[:cut]), np.sort(order[cut:])


def _shown(model: "InterestGenerator", train: Dataset, rng: np.random.Generator) -> dict[str, Any]:
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
