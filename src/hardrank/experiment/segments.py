"""`hardrank gan segments`: users by their interests, and whether that is worth anything."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardrank.bundle import save_arrays
from hardrank.context import RunContext, derive
from hardrank.data.leaks import check_leaks
from hardrank.experiment.circumstance import Clock, host, versions
from hardrank.experiment.reading import dataset_of
from hardrank.experiment.segment_ranking import ranking_gains
from hardrank.experiment.segments_spec import SegmentExperiment
from hardrank.files import write_json, write_table, write_text
from hardrank.generators.pattern_facts import described, strangers, worth_of
from hardrank.generators.patterns import LatentSegments, SegmentModel

__all__ = ["Segmented", "run_segments"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmented:
    """What the command leaves behind. `facts` is `segments.json`."""

    folder: Path
    model: SegmentModel
    facts: dict[str, Any]


def run_segments(
    experiment: SegmentExperiment, raw: Mapping[str, Any], run: RunContext
) -> Segmented:
    """Learn segments from the training part and write `segments.parquet` (a row a user: segment,
    -1 for none, and vector), `segments.json`, `segments.html`, `weights.safetensors`.

    Raises `DataError` for fewer than 20 users with two different items, and whatever source,
    split and models raise.
    """
    from hardrank.experiment.segments_page import segments_page

    assert run.folder is not None, "a run needs a folder"
    clock, folder = Clock(), run.folder
    with clock.stage("reading the data"):
        whole: Any = experiment  # has data, labels and cleaning, as others that are read so
        split = experiment.split.split(dataset_of(whole, folder))
        check_leaks(split)
        strangers(split.train)  # or the training would be for nothing
    seeded = run.seeded(derive(experiment.seed, "segments"))
    with clock.stage("learning segments"):
        model = experiment.segments.fit(split.train, seeded)
    with clock.stage("trying them on strangers"):
        worth = {
            spec.encoder: worth_of(spec, split.train, seeded.seed).to_json()
            for spec in _beside(experiment.segments)
        }
    with clock.stage("ranking with segments"):
        gains = ranking_gains(experiment.models, model, split, replace(seeded, folder=None))
    facts: dict[str, Any] = {
        "name": experiment.name, "synthetic": split.train.synthetic,
        "encoder": experiment.segments.encoder, "protocol": split.protocol,
        "tried": {str(k): v for k, v in model.groups.tried.items()},
        "segments": [s.to_json() for s in described(model, split.train)],
        "worth": worth, "ranking": [g.to_json() | {"line": g.line()} for g in gains],
    }  # fmt: skip
    write_table(folder / "segments.parquet", _table(model, split.train.users, split.train))
    save_arrays(folder / "weights.safetensors", model.arrays())
    write_json(folder / "segments.json", facts)
    write_text(folder / "segments.html", segments_page(facts))
    write_json(
        folder / "run.json",
        {"config": raw, "durations": clock.rounded(), "host": host(), "versions": versions()},
        default=str,
    )
    return Segmented(folder=folder, model=model, facts=facts)


def _beside(spec: LatentSegments) -> tuple[LatentSegments, LatentSegments]:
    """Both encoders, so that a user sees whether the autoencoder is worth its training."""
    return replace(spec, encoder="autoencoder"), replace(spec, encoder="svd")


def _table(model: SegmentModel, users: pl.DataFrame, train: Any) -> pl.DataFrame:
    histories = train.histories()
    vectors = np.asarray(model.latent(histories), dtype=np.float32)
    columns = {f"z{d}": vectors[:, d] for d in range(vectors.shape[1])}
    return pl.DataFrame(
        {"user_id": users["user_id"], "segment": model.assign(histories), **columns}
    )
