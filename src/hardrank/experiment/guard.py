"""`hardrank guard`: fit guards of texts, measure them on attacks they never saw, and scan."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.errors import ConfigError, DataError
from hardrank.experiment.guard_reviews import ReviewsFitted, fit_reviews
from hardrank.experiment.guard_spec import GuardFitting
from hardrank.files import atomic_folder, write_json, write_table
from hardrank.guards import (
    LEARNERS,
    ChangeOfText,
    Example,
    Guard,
    Lesson,
    Listing,
    Normaliser,
    Pipeline,
    Shop,
    Verdict,
    fit_pipeline,
    load_pipeline,
)
from hardrank.guards.adversarial_text import FittedAdversarialText
from hardrank.guards.lesson import families
from hardrank.metrics.detection import recall_at_fpr
from hardrank.threats import Demote, ThreatModel, mount_all, sample_panel, targets

__all__ = ["Found", "GuardsFitted", "attacked_listings", "fit_guards", "scan_listings"]

_log = logging.getLogger("hardrank")
_GUARDS, _ITEMS, _EVALUATION = "guards", "items.parquet", "evaluation.json"
Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Found:
    """One row of the table: how many of a group of listings are stopped or mended."""

    group: str
    split: str
    """`seen`: learned from this family, other targets; `unseen`: never saw the family; `real`
    and `clean`: texts from elsewhere; `catalogue`: held-out clean listings; `reviews`: held-out
    reviews."""
    n: int
    stopped: float
    """Share that is quarantined or mended at the guards' own thresholds."""
    recall: float | None
    """The same at the stated share of false alarms; None where it is a share of clean ones."""


@dataclass(frozen=True, eq=False, kw_only=True)
class GuardsFitted:
    """What `guard fit` leaves behind."""

    pipeline: Pipeline
    rows: tuple[Found, ...]
    milliseconds: float
    """For one listing of a batch, all guards together, on this machine."""
    by_guard: Mapping[str, float]
    """Share of held-out clean listings that each guard stops."""
    reviews: ReviewsFitted | None = None
    """What the guard of reviews does, where one was asked for."""

    def with_reviews(self, made: ReviewsFitted) -> "GuardsFitted":
        """With that guard beside the others, and its rows below theirs."""
        rows = (
            Found(group="real reviews", split="reviews", n=made.real, stopped=made.false_alarms,
                  recall=None),
            Found(group="fake reviews", split="reviews", n=made.fake, stopped=made.recall,
                  recall=made.recall_at),
        )  # fmt: skip
        pipeline = replace(self.pipeline, reviews=made.guard)
        return replace(self, pipeline=pipeline, rows=self.rows + rows, reviews=made)

    def lines(self) -> list[str]:
        out = [f"{'texts':<28}{'split':<11}{'n':>6}{'stopped':>9}{'recall':>8}"]
        for row in self.rows:
            recall = "" if row.recall is None else f"{row.recall:8.3f}"
            out.append(f"{row.group:<28}{row.split:<11}{row.n:>6}{row.stopped:>9.3f}{recall}")
        return [*out, f"{self.milliseconds:.2f} ms a listing"]


def attacked_listings(spec: GuardFitting, data: Dataset, run: RunContext) -> list[Example]:
    """What every attack made of every target; targets that it left alone are not there."""
    rng = np.random.default_rng(derive(spec.seed, "guard targets"))
    victim = spec.victim.fit(data, run)
    panel = sample_panel(data.histories(), spec.panel, rng)
    wanted = targets(spec.threat.goal, data, rng)
    rows = np.argsort(-data.counts, kind="stable")[: len(wanted)]
    popular = data.items["item_id"].gather(rows).to_list()
    out: list[Example] = []
    for attack in spec.attacks:
        plans: list[tuple[ThreatModel, Sequence[str]]] = [(spec.threat, wanted)]
        if "demote" in getattr(attack, "goals", ()):
            plans.append((replace(spec.threat, goal=Demote(items=tuple(popular))), popular))
        for threat, items in plans:
            matches = mount_all(
                [attack], threat, victim, data, panel=panel, targets=items, seed=spec.seed
            )
            for error in {m.error for m in matches if m.error}:
                _log.warning("%s: %s", attack.kind, error)
            out += [_example(m.patch.rewrites()[m.target], attack.kind, spec, data)
                    for m in matches if m.target in m.patch.rewrites()]  # fmt: skip
    return out


def fit_guards(spec: GuardFitting, run: RunContext) -> GuardsFitted:
    """Into `run.folder`: `guards/`, `items.parquet` and `evaluation.json`, all of them at once in
    the place of an earlier fitting. Raises `ConfigError` for a folder of anything else, and
    `HardrankError` for what the user can mend."""
    assert run.folder is not None, "guards need a folder"
    folder = run.folder.resolve()  # a link stays one
    _ours(folder)
    data = spec.data.load()
    shop, aside = _parted(spec, data)
    examples = attacked_listings(spec, data, run)
    learned, held = _by_target(examples, spec.seed)
    orders = tuple(text for file in spec.orders for text in file.load())
    lesson = Lesson(
        shop=shop, fields=spec.fields, attacked=tuple(learned), orders=orders, seed=spec.seed
    )
    _log.info("fitting %d guards on %d attacked listings", len(spec.guards), len(learned))
    pipeline = fit_pipeline(spec.guards, lesson, _log.info)
    done = _measured(spec, pipeline, lesson, aside, held)
    if spec.reviews is not None:
        _log.info("reviews")
        done = done.with_reviews(fit_reviews(spec.reviews, spec.seed))
    table = shop.items.select("item_id", *spec.fields)
    _ours(folder)  # somebody may have written there meanwhile
    with atomic_folder(folder) as draft:
        done.pipeline.save(draft / _GUARDS)
        write_table(draft / _ITEMS, table.with_columns(events=pl.Series(shop.counts)))
        write_json(draft / _EVALUATION, _described(spec, done))
    return done


def _ours(folder: Path) -> None:
    """Another fitting may be replaced; whatever else lies there may not."""
    if not folder.exists():
        return
    wrong = None
    if not folder.is_dir():
        wrong = "is no folder"
    else:
        names = {path.name for path in folder.iterdir()}
        if strange := sorted(names - {_GUARDS, _ITEMS, _EVALUATION}):
            wrong = f"holds '{strange[0]}', which no fitting of guards wrote"
        elif names and not (folder / _GUARDS / "pipeline.json").is_file():
            wrong = f"holds no fitting of guards, but '{min(names)}'"
    if wrong:
        raise ConfigError("guard fit", [f"--out: {folder} {wrong}; choose another folder"])


def _described(spec: GuardFitting, done: GuardsFitted) -> dict[str, Any]:
    return {
        "false_alarms": spec.false_alarms, "milliseconds": done.milliseconds,
        "by_guard": dict(done.by_guard), "rows": [vars(row) for row in done.rows],
        "reviews": None if done.reviews is None else done.reviews.to_json(),
    }  # fmt: skip


def scan_listings(folder: Path, listings: Sequence[Listing]) -> list[Verdict]:
    """What the guards of `guard fit` say of listings. Raises `BundleError` for another folder."""
    pipeline = load_pipeline(folder / _GUARDS)
    table = pl.read_parquet(folder / _ITEMS)
    shop = Shop(items=table.drop("events"), counts=table["events"].to_numpy().astype(np.int64))
    return pipeline.inspect(listings, shop)


def _parted(spec: GuardFitting, data: Dataset) -> tuple[Shop, list[Listing]]:
    """The catalogue that guards know, and listings of the items that they do not."""
    whole = Lesson(
        shop=Shop(items=data.items, counts=data.counts), fields=spec.fields,
        held_out=spec.test, seed=derive(spec.seed, "guard test"),
    )  # fmt: skip
    known, hidden = whole.rows()
    shop = Shop(items=data.items[known], counts=data.counts[known])
    if min(len(known), len(hidden)) < 20:
        raise DataError(f"{data.name}: {data.n_items} items are too few to fit and to measure")
    return shop, whole.listings(hidden)


def _by_target(examples: list[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """To learn from and to measure on: no item is in both."""
    learned: list[Example] = []
    held: list[Example] = []
    for example in examples:
        half = derive(seed, "guard half", example.listing.item_id) % 2
        (held if half else learned).append(example)
    return learned, held


def _measured(
    spec: GuardFitting, pipeline: Pipeline, lesson: Lesson, aside: list[Listing],
    held: list[Example],
) -> GuardsFitted:  # fmt: skip
    start = perf_counter()
    clean = _Heard.of(pipeline, aside, lesson.shop)
    spent = 1000 * (perf_counter() - start) / len(aside)
    rows = [_row("held-out listings", "catalogue", clean.judged(), clean.judged(), None)]
    learners = [made for made in spec.guards if isinstance(made, LEARNERS)]
    for family in families(held):
        some = [e.listing for e in held if e.family == family]
        found = _Heard.of(pipeline, some, lesson.shop)
        rows.append(_row(family, "seen", found.judged(), clean.judged(), spec.false_alarms))
        if learners and len(families(lesson.attacked)) > 1:
            _log.info("measuring without %s", family)
            blind = [made.fit(lesson.without(family)) for made in learners]
            unseen, negatives = found.judged(blind), clean.judged(blind)
            rows.append(_row(family, "unseen", unseen, negatives, spec.false_alarms))
    for split, files in (("real", spec.real), ("clean", spec.clean)):
        for file in files:
            listings = [
                Listing(f"{file.name} {n}", {spec.fields[0]: text})
                for n, text in enumerate(file.load())
            ]
            at = spec.false_alarms if split == "real" else None
            found = _Heard.of(pipeline, listings, lesson.shop)
            rows.append(_row(file.name, split, found.judged(), clean.judged(), at))
    return GuardsFitted(
        pipeline=pipeline, rows=tuple(rows), milliseconds=spent, by_guard=clean.by_guard()
    )


@dataclass(frozen=True, eq=False)
class _Judged:
    scores: Doubles
    """(N,) the largest score of any guard that learned, 0.5 at its own threshold; 1 for what
    is mended, or stopped by a guard that learned nothing."""
    stopped: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Heard:
    """What the guards said of some listings, and what the learned guards read of them."""

    said: list[list[Verdict]]
    now: list[Listing]
    """The listings as the last guard read them."""
    shop: Shop
    features: Doubles | None
    """Of the guard `adversarial-text`: reading takes longer than judging."""

    @classmethod
    def of(cls, pipeline: Pipeline, listings: Sequence[Listing], shop: Shop) -> "_Heard":
        said, now = pipeline.walk(listings, shop)
        learned = [g for g in pipeline.guards if isinstance(g, FittedAdversarialText)]
        features = learned[0].reader.features(now, shop) if learned else None
        return cls(said, now, shop, features)

    def judged(self, instead: Sequence[Guard] = ()) -> _Judged:
        """instead: guards that take the places of those that learned from all families."""
        said = self.said
        for guard in instead:
            said = [
                [new if v.guard == new.guard else v for v in row]
                for row, new in zip(said, self._again(guard), strict=True)
            ]
        scores = [max(map(_comparable, row), default=0.0) for row in said]
        stopped = [any(v.action != "admit" for v in row) for row in said]
        return _Judged(np.asarray(scores), np.asarray(stopped, dtype=np.bool_))

    def _again(self, guard: Guard) -> list[Verdict]:
        if isinstance(guard, FittedAdversarialText) and self.features is not None:
            return guard.judged(self.features)
        return guard.inspect(self.now, self.shop)

    def by_guard(self) -> dict[str, float]:
        kinds = [v.guard for v in self.said[0]]
        return {
            kind: float(np.mean([row[n].action != "admit" for row in self.said]))
            for n, kind in enumerate(kinds)
        }


def _comparable(verdict: Verdict) -> float:
    if verdict.guard in (Normaliser().kind, ChangeOfText().kind):
        return float(verdict.action != "admit")
    return verdict.score


def _row(group: str, split: str, found: _Judged, clean: _Judged, at: float | None) -> Found:
    recall = None
    if at is not None:
        scores = np.concatenate([clean.scores, found.scores])
        labels = np.arange(len(scores)) >= len(clean.scores)
        recall = float(recall_at_fpr(scores, labels, at))
    return Found(
        group=group, split=split, n=len(found.scores), stopped=float(found.stopped.mean()),
        recall=recall,
    )  # fmt: skip


def _example(edit: Any, family: str, spec: GuardFitting, data: Dataset) -> Example:
    row = data.item_rows[edit.item_id]
    before = {name: data.items[name][row] or "" for name in spec.fields}
    after = before | {edit.field: edit.text}
    return Example(Listing(edit.item_id, after, before, int(data.counts[row])), family)
