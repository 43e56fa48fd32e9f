"""`hardrank gan probe`: draw plausible histories, find where a recommender fails, say how often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardrank.audits.regions import FIND, MEASURE, Shapes, found, measured, overall
from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.data.leaks import Split, check_leaks
from hardrank.errors import ConfigError, DataError
from hardrank.experiment.circumstance import Clock, host, versions
from hardrank.experiment.probing_draws import Drawn, Space, asked, categories, drawn
from hardrank.experiment.probing_spec import ProbeExperiment
from hardrank.experiment.reading import dataset_of
from hardrank.files import write_json, write_table, write_text
from hardrank.generators.augment import Proposer
from hardrank.generators.bags import Bags
from hardrank.recommender import Recommender

__all__ = ["Probed", "examples_of", "probed", "run_probe", "typical_of", "verdict_of"]

_EXAMPLES = 3
_TYPICAL = 6


@dataclass(frozen=True, eq=False, kw_only=True)
class Probed:
    """What was found. `findings` is `findings.json`."""

    drawn: Drawn
    space: Space
    shapes: Shapes
    samples: pl.DataFrame
    """Of `drawn`, with the `region` of each draw (-1 for none)."""
    findings: dict[str, Any]


def run_probe(
    experiment: ProbeExperiment, raw: Mapping[str, Any], run: RunContext, *,
    bundle: Path | None = None,
) -> Probed:  # fmt: skip
    """Train generator and model (or open `bundle`), probe, and write `findings.json`,
    `samples.parquet`, `run.json` and `probe.html` to `run.folder`.

    Raises `ConfigError` where neither or both name a model or a bundle shall be repaired,
    `DataError` for a bundle of another catalogue, `SchemaError` for a category that the items do
    not have, and whatever source, split, generator and model raise.
    """
    assert run.folder is not None, "a run needs a folder"
    _check(experiment, bundle)
    clock = Clock()
    with clock.stage("reading the data"):
        whole: Any = experiment  # has data, labels and cleaning, as others that are read so
        split = experiment.split.split(dataset_of(whole, run.folder))
        check_leaks(split)
        if experiment.category is not None:
            categories(split.train.items, experiment.category)
    seeded = run.seeded(derive(experiment.seed, "probe", "model"))
    with clock.stage("training the model"):
        recommender = _recommender(experiment, bundle, split, seeded)
    with clock.stage("training the generator"):
        seed = derive(experiment.seed, "probe", "generator")
        proposer = experiment.generator.fit(split.train, run.seeded(seed).at("generator"))
    with clock.stage("probing"):
        made = probed(recommender, proposer, split, experiment)
    about = {
        "name": experiment.name, "synthetic": split.train.synthetic,
        "model": experiment.model.kind if experiment.model else str(bundle),
        "protocol": split.protocol,
    }  # fmt: skip
    made = replace(made, findings=about | made.findings)
    if experiment.repair is not None:
        with clock.stage("repairing"):
            made = _repaired(experiment, made, recommender, proposer, split, seeded)
    _write(made, raw, clock, run.folder)
    return made


def _check(experiment: ProbeExperiment, bundle: Path | None) -> None:
    """All that is wrong without a look at the data."""
    wrong = []
    if (experiment.model is None) == (bundle is None):
        wrong.append("model: give [model] in the file, or --bundle, and not both")
    if experiment.repair is not None and experiment.model is None:
        wrong.append("repair: needs [model]; a bundle cannot be trained again")
    if wrong:
        raise ConfigError("probe", wrong)


def _repaired(
    experiment: ProbeExperiment, made: "Probed", recommender: Recommender, proposer: Proposer,
    split: Split, run: RunContext,
) -> "Probed":  # fmt: skip
    """With what came of the repair, asked by a generator of another seed."""
    from hardrank.experiment.probing_repair import repair

    assert experiment.model is not None
    seed = derive(experiment.seed, "probe", "fresh generator")
    fresh = experiment.generator.fit(split.train, run.seeded(seed).at("fresh"))
    found = repair(experiment.model, recommender, (proposer, fresh), split, experiment, made, run)
    return replace(made, findings=made.findings | {"repair": found})


def _write(made: "Probed", raw: Mapping[str, Any], clock: Clock, folder: Path) -> None:
    from hardrank.experiment.probing_page import probe_page

    write_table(folder / "samples.parquet", made.samples)
    write_json(folder / "findings.json", made.findings)
    write_text(folder / "probe.html", probe_page(made.findings))
    about = {"config": raw, "durations": clock.rounded(), "host": host(), "versions": versions()}
    write_json(folder / "run.json", about, default=str)


def probed(
    recommender: Recommender, proposer: Proposer, split: Split, about: ProbeExperiment
) -> Probed:
    """Regions from one half of the users, numbers from the other. Same seed, same result."""
    test = asked(recommender, split.test, about)
    made = drawn(recommender, test, proposer, split.train, about)
    quick = replace(about.latent, segments=1)
    seed = derive(about.seed, "probe", "latent")
    space = Space.of(made, quick.fit_profiles(split.train.histories(), split.train.n_items, seed))
    points = space.points(made.histories, made.samples)
    usable = (made.samples["half"] == FIND).to_numpy() & made.samples["eligible"].to_numpy()
    shapes = found(
        points[usable], made.samples["failed"].to_numpy()[usable],
        made.samples["user"].to_numpy()[usable],
        np.random.default_rng(derive(about.seed, "probe", "regions")),
        least=about.regions, most=max(about.regions, about.most),
    )  # fmt: skip
    samples = made.samples.with_columns(region=pl.Series(shapes.placed(points)))
    return Probed(
        drawn=made, space=space, shapes=shapes, samples=samples,
        findings=_findings(made, samples, len(shapes), split.train, about),
    )  # fmt: skip


def verdict_of(whole: Mapping[str, Any], regions: Sequence[Mapping[str, Any]]) -> str:
    """One sentence or two, from the numbers."""
    if not whole["draws"]:
        return "No draw could fail: no held-out item was in a list to begin with."
    if not whole["failures"]:
        return (
            f"No failure in {whole['draws']} draws of {whole['users']} users "
            f"(at most {whole['high']:.1%})."
        )
    said = (
        f"{whole['failures']} of {whole['draws']} draws fail "
        f"({whole['rate']:.1%} [{whole['low']:.1%}, {whole['high']:.1%}])."
    )
    sure = [r for r in regions if r["low"] is not None and r["low"] > whole["high"]]
    if not sure:
        return f"{said} No region fails more than the whole for certain."
    worst = max(sure, key=lambda r: r["rate"])
    return (
        f"{said} {len(sure)} of {len(regions)} regions fail more for certain; region "
        f"{worst['region']} in {worst['rate']:.1%} [{worst['low']:.1%}, {worst['high']:.1%}]."
    )


def typical_of(
    made: Drawn, samples: pl.DataFrame, region: int, train: Dataset
) -> list[dict[str, Any]]:
    """Items that histories of the region hold more often than others (finding half), by lift."""
    find = (samples["half"] == FIND).to_numpy()
    bags = Bags.of(made.histories, train.n_items)
    inside = np.flatnonzero(find & (samples["region"] == region).to_numpy())
    if not len(inside):
        return []
    mine = np.asarray(bags.matrix[inside].mean(0)).ravel()
    everyone = np.asarray(bags.matrix[np.flatnonzero(find)].mean(0)).ravel()
    enough = np.flatnonzero((mine >= 0.2) & (mine > everyone))
    order = enough[np.lexsort((enough, -(mine[enough] / everyone[enough])))][:_TYPICAL]
    return [
        {**_named(train, i), "share": float(mine[i]), "lift": float(mine[i] / everyone[i])}
        for i in order.tolist()
    ]


def examples_of(
    made: Drawn, samples: pl.DataFrame, region: int, train: Dataset
) -> list[dict[str, Any]]:
    """Failures of the measuring half, each of another user, those that changed least first."""
    rows = samples.with_row_index("row").filter(
        (pl.col("half") == MEASURE) & (pl.col("region") == region) & pl.col("failed")
    )
    rows = rows.sort("changed", "rbo", "row").unique("user", keep="first", maintain_order=True)
    out = []
    for row in rows.head(_EXAMPLES).iter_rows(named=True):
        before, after = made.before[row["row"]], made.after[row["row"]]
        out.append(
            {
                "user_id": row["user_id"], "draw": row["draw"], "changed": row["changed"],
                "rbo": row["rbo"], "rank_before": row["rank_before"],
                "rank_after": row["rank_after"],
                "left": [_named(train, int(i)) for i in before if i >= 0 and i not in after][:3],
                "came": [_named(train, int(i)) for i in after if i >= 0 and i not in before][:3],
            }
        )  # fmt: skip
    return out


def _findings(
    made: Drawn, samples: pl.DataFrame, count: int, train: Dataset, about: ProbeExperiment
) -> dict[str, Any]:
    whole, regions = overall(samples), measured(samples, count)
    for region in regions:
        number = region["region"] - 1
        region["typical"] = typical_of(made, samples, number, train)
        region["examples"] = examples_of(made, samples, number, train)
    return _about(about) | {
        "overall": whole, "verdict": verdict_of(whole, regions), "regions": regions,
    }  # fmt: skip


def _about(about: ProbeExperiment) -> dict[str, Any]:
    return {
        "failure": about.failure, "k": about.k, "keep": about.keep, "overlap": about.overlap,
        "seed": about.seed, "draws_per_user": about.draws,
    }  # fmt: skip


def _named(train: Dataset, row: int) -> dict[str, str]:
    item = train.items.row(row, named=True)
    return {"item_id": item["item_id"], "title": item.get("title") or ""}


def _recommender(
    experiment: ProbeExperiment, bundle: Path | None, split: Split, run: RunContext
) -> Recommender:
    if experiment.model is not None:
        return experiment.model.fit(split.train, replace(run, folder=None), valid=split.valid)
    from hardrank.bundle import load_bundle

    assert bundle is not None
    made = load_bundle(bundle).recommender
    if not made.items["item_id"].equals(split.train.items["item_id"]):
        raise DataError(
            f"{bundle} ranks another catalogue than {split.train.name}",
            remedy="name the data and cleaning that the bundle was made from",
        )
    return made
