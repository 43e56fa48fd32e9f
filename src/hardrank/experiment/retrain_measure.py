"""Champion and challenger on the same users, targets and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import betainc

from hardrank.audits.catalogue import tiles
from hardrank.audits.promotion import promotion
from hardrank.audits.stealth import Stealth
from hardrank.context import RunContext, derive
from hardrank.data import EVENT_COLUMNS, Dataset, Holdout, Queries
from hardrank.experiment.retrain_log import Merged
from hardrank.experiment.retrain_spec import Measured
from hardrank.experiment.spec import Trial
from hardrank.metrics.ranking import ranks_of_targets
from hardrank.recommender import Recommender, best
from hardrank.threats import Demote, Promote, mount_all, sample_panel
from hardrank.threats import targets as chosen
from hardrank.types import Ints

__all__ = [
    "Contender",
    "Outcome",
    "Questions",
    "exposure",
    "measured",
    "pushed",
    "questions",
]

_K = 10
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class Contender:
    """A model, and where the users and items of the merged log stand in it."""

    name: str
    model: Recommender
    users: Ints
    """(U,) its row of each user, -1 for none."""
    items: Ints
    """(I,) its row of each item, -1 for none."""

    @classmethod
    def of(cls, name: str, model: Recommender, users: Sequence[str], data: Dataset) -> "Contender":
        """users: in the order of the model's rows. Its texts become those that stand now."""
        had = {item: n for n, item in enumerate(model.items["item_id"])}
        rows = {user: n for n, user in enumerate(users)}
        return cls(
            name=name,
            model=model.on(_standing(model.items, data.items)),
            users=np.asarray([rows.get(u, -1) for u in data.users["user_id"]], dtype=np.int64),
            items=np.asarray([had.get(i, -1) for i in data.items["item_id"]], dtype=np.int64),
        )

    def asked(self, queries: Queries) -> Queries:
        """The same requests in this model's rows; items that it does not know are left out."""
        rows = self.items[queries.items]
        kept = rows >= 0
        lengths = np.bincount(queries.owners[kept], minlength=len(queries))
        users = np.where(queries.users >= 0, self.users[queries.users], -1)
        return Queries(
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            items=rows[kept], users=users.astype(np.int64), texts=queries.texts,
        )  # fmt: skip

    def gone(self) -> Ints:
        """Its rows of items that are live no more."""
        alive = np.zeros(self.model.items.height, dtype=np.bool_)
        alive[self.items[self.items >= 0]] = True
        return np.flatnonzero(~alive)


@dataclass(frozen=True, eq=False, kw_only=True)
class Questions:
    """What every contender is asked, in the rows of the merged log."""

    data: Dataset
    test: Holdout
    known: Mask
    """(Q,) held-out events of users known from before, by most of what they did."""
    shown: Queries
    """Whole histories of users known from before, nobody of whom came with the new events."""
    common: Dataset
    """The items that all contenders rank, with the events that the champion could learn from:
    targets are drawn there."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """What one contender answered."""

    gains: Doubles
    """(Q,) NDCG@10 of each held-out event."""
    exposure: Mapping[str, float]
    """Item id -> share of the users who never touched it that get it listed."""
    attacks: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    """Attack -> target -> whether it succeeds; without targets that were listed before (to
    demote: that were not), and without what could not run."""


def questions(
    log: Merged, test: Holdout, audit: Measured, contenders: Sequence[Contender], seed: int
) -> Questions:
    before = np.flatnonzero(log.users(~log.new))
    rng = np.random.default_rng(derive(seed, "users"))
    size = min(audit.users, len(before))
    rows = np.sort(rng.choice(before, size=size, replace=False)).astype(np.int64)
    common = np.all([c.items >= 0 for c in contenders], axis=0)
    return Questions(
        data=log.data, test=test, known=~log.newcomers[test.queries.users],
        shown=log.data.histories().take(rows),
        common=_among(log.data.where(pl.Series(~log.new)), common),
    )  # fmt: skip


def measured(
    one: Contender, asked: Questions, audit: Measured, seed: int, folder: Path, run: RunContext
) -> Outcome:
    """Attacks are written down one by one in `folder` and not played twice. Raises `DataError`
    for a selection of targets that is too large."""
    attacks = {
        name: outcomes
        for trial in audit.trials
        for name, outcomes in _attacked(one, asked, trial, audit, seed, folder, run).items()
    }
    return Outcome(gains=_gains(one, asked.test), exposure=exposure(one, asked), attacks=attacks)


def _gains(one: Contender, test: Holdout) -> Doubles:
    rows = one.items[test.targets]
    out = np.zeros(len(rows))
    for part, _, scores in tiles(one.model, one.asked(test.queries)):
        scores[:, one.gone()] = -np.inf
        known = rows[part] >= 0
        ranks = ranks_of_targets(scores[known], rows[part][known])
        out[part][known] = np.where(ranks <= _K, 1 / np.log2(ranks + 1), 0.0)
    return out


def exposure(one: Contender, asked: Questions) -> Mapping[str, float]:
    """Item id -> share of the users who never touched it that get it listed."""
    queries = one.asked(asked.shown)
    hits = np.zeros(one.model.items.height)
    for _, _, scores in tiles(one.model, queries):
        scores[:, one.gone()] = -np.inf
        top = best(scores, _K)
        listed = np.isfinite(np.take_along_axis(scores, top, axis=1))
        hits += np.bincount(top[listed], minlength=len(hits))
    seen = np.bincount(asked.shown.items, minlength=asked.data.n_items)
    free = np.maximum(len(asked.shown) - seen, 1)
    share = np.where(one.items >= 0, hits[one.items], 0.0) / free
    return dict(zip(asked.data.items["item_id"], np.minimum(share, 1.0).tolist(), strict=True))


def pushed(log: Merged) -> dict[str, float]:
    """Item id -> how likely at least so many of its new events are of newcomers, where these and
    the other accounts choose alike.

    Given c events of the former and h of the latter, of n and m in all, c is
    Binomial(c + h, n / (n + m)): the conditional test of two Poisson rates (Przyborowski &
    Wilenski, Biometrika 1940). Events before the champion do not count: what is new to
    everybody is no push.
    """
    came = log.doubtful
    items, size = log.data.event_items, log.data.n_items
    c, h = (np.bincount(items[part], minlength=size) for part in (came, log.new & ~came))
    part = c.sum() / max(c.sum() + h.sum(), 1)
    chance = np.where(c > 0, betainc(np.maximum(c, 1), h + 1, part), 1.0)
    return dict(zip(log.data.items["item_id"], chance.tolist(), strict=True))


def _attacked(
    one: Contender, asked: Questions, trial: Trial, audit: Measured, seed: int, folder: Path,
    run: RunContext,
) -> dict[str, dict[str, bool]]:  # fmt: skip
    goal = trial.threat.goal
    assert isinstance(goal, Promote | Demote)
    rng = np.random.default_rng(derive(seed, "targets", repr(goal)))
    wanted = chosen(goal, asked.common, rng)
    queries = one.asked(asked.shown)
    world = _world(one.model.items, queries, asked.data.synthetic)
    panel = sample_panel(queries, audit.panel, np.random.default_rng(derive(seed, "panel")))
    stealth = Stealth.of(world, trial.threat.field)
    matches = mount_all(
        trial.attacks, trial.threat, one.model, world, panel=panel, targets=wanted, seed=seed,
        judge=stealth.judge, log=folder / f"matches-{one.name}.jsonl", run=run,
    )  # fmt: skip
    samples = promotion(
        one.model, matches, queries, subject=one.name, seed=seed, k=goal.k,
        success_exposure=audit.success, note=trial.note,
    )  # fmt: skip
    found: dict[str, dict[str, bool]] = {}
    for name, target, success in samples.select("trial", "sample", "success").iter_rows():
        if success is not None:
            found.setdefault(name, {})[target] = success
    return found


def _world(items: pl.DataFrame, queries: Queries, synthetic: bool) -> Dataset:
    """The model's catalogue, and the users who are asked."""
    events = [(u, item, n, None, 1.0) for n, (u, item) in enumerate(
        zip(queries.owners.tolist(), queries.items.tolist(), strict=True))]  # fmt: skip
    return Dataset(
        name="asked", users=pl.DataFrame({"user_id": [str(n) for n in range(len(queries))]}),
        items=items, events=pl.DataFrame(events, schema=EVENT_COLUMNS, orient="row"),
        synthetic=synthetic,
    )  # fmt: skip


def _among(data: Dataset, kept: NDArray[np.bool_]) -> Dataset:
    """Only those items, in rows of their own."""
    data = data.where(pl.Series(kept[data.event_items]))
    rows = (np.cumsum(kept) - 1)[data.event_items]
    return replace(
        data,
        items=data.items.filter(pl.Series(kept)),
        events=data.events.with_columns(pl.Series("item", rows, dtype=pl.Int32())),
    )


def _standing(items: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """The same items with the texts that stand now; those of items that are gone stay."""
    texts = [
        n for n, kind in items.schema.items()
        if kind == pl.Utf8() and n != "item_id" and n in now.columns
    ]  # fmt: skip
    return items.update(now.select("item_id", *texts), on="item_id", how="left")
