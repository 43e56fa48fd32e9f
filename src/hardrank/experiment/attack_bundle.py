"""Attacks on a trained recommender in a bundle, and patches replayed on another."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from hardrank.audits import samples as table
from hardrank.audits.history import history_audit
from hardrank.audits.measure import measure
from hardrank.audits.promotion import promotion
from hardrank.audits.stealth import Stealth
from hardrank.bundle import Bundle
from hardrank.context import RunContext, derive
from hardrank.data import EVENT_COLUMNS, Dataset, Holdout
from hardrank.errors import DataError, Unsupported
from hardrank.experiment.attacked_histories import attacked_users
from hardrank.experiment.spec import Trial
from hardrank.files import write_json
from hardrank.findings import Finding
from hardrank.threats import Degrade, Demote, Match, Promote, mount_all, play_all, sample_panel
from hardrank.threats import targets as chosen
from hardrank.threats.history import HistoryCourt, plans

__all__ = ["Attacked", "attack_bundle", "replay_matches", "world_of"]

_METRICS = (
    "er_before", "er_after", "rank_before", "rank_after", "asr", "words", "similarity", "cosine",
    "perplexity", "queries", "seconds",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Attacked:
    """What a run of attacks gave."""

    matches: tuple[Match, ...]
    samples: pl.DataFrame
    findings: list[Finding]


def world_of(bundle: Bundle, name: str = "bundle") -> Dataset:
    """The catalogue and the histories that the bundle carries, as a dataset."""
    items = bundle.recommender.items
    rows = {item: n for n, item in enumerate(items["item_id"])}
    events = [
        (u, rows[item], t, None, 1.0)
        for u, history in enumerate(bundle.histories.values())
        for t, item in enumerate(history)
    ]
    return Dataset(
        name=str(bundle.about.get("dataset", name)),
        users=pl.DataFrame({"user_id": list(bundle.histories)}, schema={"user_id": pl.Utf8}),
        items=items,
        events=pl.DataFrame(events, schema=EVENT_COLUMNS, orient="row"),
        synthetic=bool(bundle.about.get("synthetic")),
    )


def attack_bundle(
    bundle: Bundle, trial: Trial, run: RunContext, *, panel: int = 256, success: float = 0.01
) -> Attacked:
    """Mount the trial's attacks; targets, panel and attacks follow from `run.seed`.

    With a folder, `matches.jsonl` is written match by match and read again when the run is
    repeated; `samples.parquet` and `findings.json` follow. Every user of the bundle counts in
    the outcome, the panel's users alone are seen by the attacker.
    """
    world, goal, seed = world_of(bundle), trial.threat.goal, run.seed
    rng = np.random.default_rng(derive(seed, "targets", repr(goal)))
    wanted = () if isinstance(goal, Degrade) else chosen(goal, world, rng)
    log = run.folder / "matches.jsonl" if run.folder else None
    queries, model = world.histories(), bundle.recommender
    if trial.threat.surface == "history":
        users = attacked_users(trial, _unheld(queries), seed)
        made = plans(model, world, users.queries, goal, wanted)
        court = HistoryCourt.of(model, world, made)
        names = [plan.name for plan in made]
        matches = play_all(
            court, trial.attacks, trial.threat, targets=names, seed=seed, log=log, run=run
        )
        samples = history_audit(
            model, world, matches, {p.name: p for p in made}, subject=_subject(bundle), seed=seed,
            k=_k(goal), note=trial.note,
        )  # fmt: skip
        return _kept(Attacked(matches, samples, _findings(samples, "history")), run)
    if trial.threat.surface != "item-text":
        raise Unsupported(
            f"a bundle is attacked on item-text or history, not {trial.threat.surface}"
        )
    stealth = Stealth.of(world, trial.threat.field)
    seen = sample_panel(queries, panel, np.random.default_rng(derive(seed, "panel")))
    matches = mount_all(
        trial.attacks, trial.threat, model, world, panel=seen, targets=wanted, seed=seed,
        judge=stealth.judge, log=log, run=run,
    )  # fmt: skip
    samples = promotion(
        model, matches, queries, subject=_subject(bundle), seed=seed, k=_k(goal),
        success_exposure=success, stealth=stealth, note=trial.note,
    )  # fmt: skip
    return _kept(Attacked(matches, samples, _findings(samples, "promotion")), run)


def replay_matches(
    bundle: Bundle, matches: Iterable[Match], run: RunContext, *, success: float = 0.01
) -> Attacked:
    """What patches crafted elsewhere do to this recommender: transfer.

    Items are found by id. Raises `DataError` on a target that this catalogue does not list
    and on patches that rewrite no item text.
    """
    world, crafted = world_of(bundle), tuple(matches)
    for match in crafted:
        if match.target not in world.item_rows or match.threat.surface != "item-text":
            raise DataError(
                f"'{match.target}' ({match.threat.surface}) cannot be replayed on {world.name}",
                remedy="replay patches of item texts on a catalogue that lists their targets",
            )
    stealth = Stealth.of(world, crafted[0].threat.field if crafted else "title")
    ks = {_k(match.threat.goal) for match in crafted}
    parts = [
        promotion(
            bundle.recommender, [m for m in crafted if _k(m.threat.goal) == k], world.histories(),
            subject=_subject(bundle), seed=run.seed, k=k, success_exposure=success,
            stealth=stealth, note=" (transfer)",
        )
        for k in sorted(ks)
    ]  # fmt: skip
    samples = table.gather(parts)
    return _kept(Attacked(crafted, samples, _findings(samples, "promotion")), run)


def _findings(samples: pl.DataFrame, audit: str) -> list[Finding]:
    made = []
    for subject, trial, k in (
        samples.select("subject", "trial", "k").unique(maintain_order=True).iter_rows()
    ):
        metrics: Sequence[str] = _METRICS
        if audit == "history":
            metrics = ("rank_before", "rank_after", "asr", "value", "events", "queries", "seconds")
        for formula in metrics:
            name = f"{formula}@{k}" if formula.startswith("er_") else formula
            made.append(
                measure(
                    samples, subject=subject, audit=audit, metric=name, formula=formula, trial=trial
                )
            )
    return made


def _kept(attacked: Attacked, run: RunContext) -> Attacked:
    if run.folder is not None:
        table.save(attacked.samples, run.folder / "samples.parquet")
        write_json(run.folder / "findings.json", [asdict(f) for f in attacked.findings])
    return attacked


def _unheld(queries: Any) -> Holdout:
    return Holdout(queries=queries, targets=np.zeros(len(queries), dtype=np.int64))


def _subject(bundle: Bundle) -> str:
    return f"{bundle.spec.kind}/{bundle.about.get('arm', 'bundle')}"


def _k(goal: Any) -> int:
    return int(goal.k) if isinstance(goal, Promote | Demote | Degrade) else 10
