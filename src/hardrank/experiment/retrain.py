"""`hardrank retrain`: a challenger from new events, measured against the champion."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from hardrank.bundle import Bundle, load_bundle, load_guards, save_bundle
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.errors import Unsupported
from hardrank.experiment.circumstance import versions
from hardrank.experiment.retrain_compare import Compared, compared, told
from hardrank.experiment.retrain_decision import Verdict, exposures
from hardrank.experiment.retrain_facts import facts_of, reading
from hardrank.experiment.retrain_growth import Grown, forget, grown
from hardrank.experiment.retrain_log import Merged, known_of, merged, read_events
from hardrank.experiment.retrain_measure import (
    Contender,
    exposure,
    measured,
    pushed,
    questions,
)
from hardrank.experiment.retrain_screen import Screened, screened
from hardrank.experiment.retrain_spec import Retraining
from hardrank.experiment.retrain_split import Cut, cut
from hardrank.experiment.retrain_start import Begun, begun
from hardrank.experiment.retrain_work import alone, began_with, begin, free, work_folder
from hardrank.experiment.stages import kept_model, key_of
from hardrank.files import digest_file, write_json, write_table
from hardrank.recommender import Recommender
from hardrank.reports.retraining import retraining_page
from hardrank.serve.lifecycle import Figures, challenge

if TYPE_CHECKING:
    from hardrank.serve.store import Store

__all__ = ["Retrained", "retrain", "work_folder"]

_log = logging.getLogger("hardrank")


@dataclass(frozen=True, eq=False, kw_only=True)
class Retrained:
    """What a retraining leaves behind."""

    bundle: Path
    digest: str
    work: Path
    """Quarantined users, events beyond the cap, exposure of every item, the decision once more."""
    verdict: Verdict
    champion: Figures
    challenger: Figures
    screened: Screened
    grown: Grown | None = None
    """What the cap on growth kept from training; None where there is no cap."""

    def lines(self) -> list[str]:
        facts, found = self.verdict.facts, self.screened
        out = [
            f"{found.flagged.height} of {found.judged} users of the store are quarantined",
            *(self.grown.said() if self.grown else ()),
            f"trained {facts['began']}",
            *told(facts["quality"]),
        ]
        out += [
            f"'{name}' succeeds at {share:.1%}, at the champion {self.champion.attacks[name]:.1%}"
            for name, share in self.challenger.attacks.items()
            if name in self.champion.attacks
        ]
        out += [f"'{name}' could not be measured on both" for name in facts["unmeasured"]]
        word = "promote" if self.verdict.decision.promote else "refuse"
        return [*out, *(f"{word}: {reason}" for reason in self.verdict.decision.reasons)]


def retrain(spec: Retraining, out: Path, store: "Store", run: RunContext) -> Retrained:
    """Read, screen, train, measure, decide, and write the challenger's bundle to `out`.

    Interrupted and run again, it reads the store up to where it read it first, and goes on
    from the last checkpoint. The bundle appears whole or not at all, and only a finished
    retraining lets the next one read further.

    Raises `ConfigError` where `out` is taken or another retraining is at it, `BundleError` for a
    champion that is incomplete or altered, `StoreError`, `DataError` where there is nothing to
    learn from, and whatever training raises.
    """
    with alone(out) as work:
        return _retrained(spec, out, store, work, run)


def _retrained(
    spec: Retraining, out: Path, store: "Store", work: Path, run: RunContext
) -> Retrained:
    folder = Path(spec.champion)
    champion = load_bundle(folder, run)
    live = digest_file(folder / "SHA256SUMS")
    key = key_of(spec, live)
    events = read_events(store, began_with(work, key))
    until = events[-1].sequence if events else 0
    log = merged(spec, champion, events, store, known_of(champion, events))
    _log.info("%d users, %d items, %d events", log.data.n_users, log.data.n_items,
              log.data.n_events)  # fmt: skip
    found = screened(log, spec.screen)
    write_table(work / "quarantine.parquet", found.flagged)
    _log.info("%d of %d users are quarantined", found.flagged.height, found.judged)
    parts = cut(found.log, spec)
    held_back = _held_back(spec, champion, found.log, parts, work)
    parts = held_back.parts if held_back else parts
    begin(work, key, until)
    context = replace(run, seed=spec.seed, folder=work / "training")
    made, start = _trained("model", spec, champion, parts, parts.train, work, context)
    twin = _without_newcomers(spec, champion, found.log, parts, work, context)
    both = _measured(spec, champion, made, twin, found.log, parts, work, context)
    verdict = Verdict(
        decision=challenge(both.champion, both.challenger, spec.floors),
        champion=live,
        facts=facts_of(spec, found, held_back, start, both)
        | reading(events, found.log, parts, held_back),
    )
    moved = exposures(both.champion, both.challenger)
    write_table(work / "exposure.parquet", moved)  # before the bundle, which ends it all
    _written(out, spec, champion, made, found.log, verdict, moved)
    digest = digest_file(out / "SHA256SUMS")
    write_json(work / "decision.json", {"digest": digest, **verdict.described()})
    return Retrained(
        bundle=out, digest=digest, work=work, verdict=verdict, champion=both.champion,
        challenger=both.challenger, screened=found, grown=held_back,
    )  # fmt: skip


def _held_back(
    spec: Retraining, champion: Bundle, log: Merged, parts: Cut, work: Path
) -> Grown | None:
    if spec.growth is None:
        forget(work)
        return None
    out = grown(spec.growth, log, parts, champion.recommender.items["item_id"], spec.seed)
    out.save(work)
    for line in out.said():
        _log.info("%s", line)
    return out


def _model(spec: Retraining, champion: Bundle) -> Any:
    made: Any = spec.model or champion.spec
    if spec.training is None:
        return made
    if not hasattr(made, "training"):
        raise Unsupported(f"`training` is of sequence models; '{made.kind}' has its own fields")
    return replace(made, training=spec.training)


def _trained(
    name: str, spec: Retraining, champion: Bundle, parts: Cut, train: Dataset, work: Path,
    run: RunContext,
) -> tuple[Recommender, Begun]:  # fmt: skip
    model = _model(spec, champion)
    start = begun(model, champion, train, run, warm=spec.warm)
    key = key_of(spec, train.fingerprint, parts.valid.fingerprint, _bytes(start.start))
    made = kept_model(
        work / name, key, model, train.items, run,
        lambda: model.fit(
            train, run, valid=parts.valid, objective=spec.objective, start=start.start
        ),
    )  # fmt: skip
    return made, start


def _without_newcomers(
    spec: Retraining, champion: Bundle, log: Merged, parts: Cut, work: Path, run: RunContext
) -> Recommender | None:
    """The same training without what newcomers did since the champion was trained: that sets it
    apart from the challenger. None where that is nothing, or nobody looks."""
    theirs = log.doubtful[parts.learned]
    if not theirs.any() or not spec.floors.exposure_factor:
        return None
    train = parts.train.where(pl.Series(~theirs))
    return _trained("twin", spec, champion, parts, train, work, run)[0]


def _bytes(start: Recommender | None) -> list[bytes]:
    return [] if start is None else [v.tobytes() for _, v in sorted(start.arrays().items())]


def _measured(
    spec: Retraining, champion: Bundle, made: Recommender, twin: Recommender | None, log: Merged,
    parts: Cut, work: Path, run: RunContext,
) -> Compared:  # fmt: skip
    names = log.data.users["user_id"].to_list()
    old = Contender.of("champion", champion.recommender, list(champion.histories), log.data)
    new = Contender.of("challenger", made, names, log.data)
    asked = questions(log, parts.test, spec.audit, [old, new], spec.seed)
    one, other = (
        measured(each, asked, spec.audit, spec.seed, work, run) for each in (old, new)
    )  # fmt: skip
    without = other.exposure
    if twin is not None:
        without = exposure(Contender.of("twin", twin, names, log.data), asked)
    both = compared(one, other, asked.known, spec.floors.queries)
    return replace(both, challenger=replace(both.challenger, without=without, chance=pushed(log)))


def _written(
    out: Path, spec: Retraining, champion: Bundle, made: Recommender, log: Merged,
    verdict: Verdict, table: pl.DataFrame,
) -> None:  # fmt: skip
    """Histories are those of the champion's log: the service itself adds the store's events,
    and a user whom the store alone knows stands there with none, for the row in the model."""
    about = {
        "name": spec.name,
        "arm": "retrained",
        "seed": spec.seed,
        "synthetic": log.data.synthetic,
        "dataset": log.data.name,
        "fingerprint": log.data.fingerprint,
        "versions": versions(),
        "retraining": verdict.described(),
    }
    before = log.data.where(pl.Series(log.sequence == 0))
    guards = load_guards(spec.champion)  # a promotion must not take the guards off
    moved = table.select("item_id", "without", "challenger").iter_rows()
    page = retraining_page(spec.name, verdict.described(), moved, synthetic=log.data.synthetic)
    free(out)  # another one may have ended meanwhile
    save_bundle(out, _model(spec, champion), made, before, about, report=page, guards=guards)
