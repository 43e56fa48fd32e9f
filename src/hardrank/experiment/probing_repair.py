"""From the worst regions to a targeted repair, and whether it held on fresh draws."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hardrank.audits.catalogue import full_ranks
from hardrank.audits.regions import measured
from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Queries
from hardrank.data.leaks import Split
from hardrank.experiment.probing_draws import asked, drawn, fields_of
from hardrank.experiment.probing_spec import ProbeExperiment, RegionRepair
from hardrank.generators.augment import Proposer, with_edited_copies
from hardrank.metrics.ranking import ndcg
from hardrank.recommender import ModelSpec, Recommender
from hardrank.types import Ints

if TYPE_CHECKING:
    from hardrank.experiment.probing import Probed

__all__ = ["judged_repair", "repair", "users_inside", "with_copies_of"]

_FALL = 0.3
"""Of the worst region's failure rate, relative, that a repair is worth."""
_RISE = 0.03
"""Of any other region's failure rate, in points, that it may cost."""


def repair(
    model: ModelSpec, control: Recommender, proposers: tuple[Proposer, Proposer], split: Split,
    about: ProbeExperiment, found: "Probed", run: RunContext,
) -> dict[str, Any]:  # fmt: skip
    """Train `model` with tampered copies of the training users inside the worst regions, then
    ask it and the control with the same fresh draws, in the same regions, of users who had no
    part in drawing them up.

    proposers: the first edits the copies, the second, of another seed, the fresh draws.
    """
    what = about.repair or RegionRepair()
    inside = users_inside(split.train, about, found, what.regions)
    rng = np.random.default_rng(derive(about.seed, "probe", "copies"))
    log = with_copies_of(split.train, inside, proposers[0], rng, about, what)
    better = model.fit(log, replace(run, folder=None), valid=split.valid)
    test = asked(control, split.test, about)
    rates = []
    for recommender in (control, better):
        made = drawn(recommender, test, proposers[1], split.train, about, trial="re-audit")
        at = found.shapes.placed(found.space.points(made.histories, made.samples))
        rates.append(measured(made.samples.with_columns(region=pl.Series(at)), len(found.shapes)))
    clean = [float(ndcg(full_ranks(m, split.test), 10).mean()) for m in (control, better)]
    passed, why = judged_repair(*rates, repaired=what.regions)
    return {
        "passed": passed, "why": why, "copies": len(inside), "clean_before": clean[0],
        "clean_after": clean[1], "before": rates[0], "after": rates[1],
    }  # fmt: skip


def users_inside(train: Dataset, about: ProbeExperiment, found: "Probed", worst: int) -> Ints:
    """Rows of the users whose training history, without its last event, lies in one of the
    `worst` regions."""
    lengths = np.diff(train.offsets)
    rows = np.flatnonzero(lengths > 1)
    histories = [train.event_items[train.offsets[u] : train.offsets[u + 1]] for u in rows.tolist()]
    before = Queries.of([h[:-1].tolist() for h in histories], rows.tolist())
    last = np.array([h[-1] for h in histories], dtype=np.int64)
    table = pl.DataFrame(fields_of(train, before, last, about))
    at = found.shapes.placed(found.space.points(before, table))
    return np.asarray(rows[(at >= 0) & (at < worst)], dtype=np.int64)


def with_copies_of(
    train: Dataset, users: Ints, proposer: Proposer, rng: np.random.Generator,
    about: ProbeExperiment, what: RegionRepair,
) -> Dataset:  # fmt: skip
    """The log with a tampered copy beside each of these users and nobody else."""
    if not len(users):
        return train
    own = train.where(pl.col("user").is_in(users.tolist()))
    made = with_edited_copies(own, proposer, rng, keep=about.keep, weight=what.weight)
    copies = made.events.filter(pl.col("user") >= train.n_users)
    return replace(train, users=made.users, events=pl.concat([train.events, copies]))


def judged_repair(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], *, repaired: int = 1
) -> tuple[bool, str]:
    """Passed where the failure rate of the worst of the repaired regions falls by 30 % of it
    and that of no other region rises by more than 3 points. Not passed where no fresh draw fell
    into a repaired region; other regions without one are counted in the reason."""
    known = [
        (b["rate"], a["rate"], b["region"]) for b, a in zip(before, after, strict=True)
        if b["rate"] is not None and a["rate"] is not None
    ]  # fmt: skip
    mine = [pair for pair in known if pair[2] <= repaired]
    if not mine:
        return False, "no fresh draw in a repaired region"
    old, new, worst = max(mine)
    if old == 0:
        return False, f"region {worst} did not fail on fresh draws"
    change = f"{new / old - 1:+.0%}"
    said = f"region {worst} fails in {old:.1%} before and {new:.1%} after ({change})"
    if new > (1 - _FALL) * old + 1e-12:
        return False, f"{said}, less than -{_FALL:.0%}"
    rises = [(a - b, region) for b, a, region in known if region != worst]
    most = max(rises, default=(0.0, 0))
    if most[0] > _RISE + 1e-12:
        return False, f"{said}, but region {most[1]} fails {100 * most[0]:.1f} points more"
    unseen = len(before) - len(known)
    beside = f", {unseen} without a fresh draw" if unseen else ""
    return True, f"{said}; no other region up by more than {100 * _RISE:.0f} points{beside}"
