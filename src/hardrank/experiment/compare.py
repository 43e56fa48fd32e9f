"""`hardrank compare`: subjects of several runs in one table, and their paired differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from hardrank.audits.measure import measure
from hardrank.errors import ConfigError
from hardrank.experiment.compare_read import FinishedRun, differences, read_runs
from hardrank.experiment.roles import control_of, is_hardened
from hardrank.experiment.tune_cost import training_cost
from hardrank.findings import Finding

__all__ = ["Attacked", "Block", "Row", "compare", "compare_json"]

GROUPS = ("all", "tail", "cold")


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """One attack on one subject."""

    gain: Finding
    """Exposure gain."""
    effect: Finding | None
    """Gain removed against the control of the same run; None for a control."""
    difference: Finding | None
    """Gain less the reference's, paired by seed and target; None for the reference itself."""
    queries: Finding
    """What a target cost the attacker."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One subject of one run."""

    run: str
    subject: str
    clean: Mapping[str, Finding]
    """Group -> NDCG@10."""
    price: Mapping[str, Finding]
    """Group -> relative loss of NDCG@10 against the control of the same run."""
    difference: Finding | None
    """NDCG@10 less the reference's, paired by seed and user."""
    attacks: Mapping[str, Attacked] = field(default_factory=dict)
    cost: float | None = None
    """Training time over the control's, of the same stage."""

    @property
    def name(self) -> str:
        return f"{self.run}: {self.subject}"

    @property
    def findings(self) -> list[Finding]:
        found: list[Finding | None] = [*self.clean.values(), *self.price.values(), self.difference]
        for attack in self.attacks.values():
            found += [attack.gain, attack.effect, attack.difference, attack.queries]
        return [f for f in found if f is not None]

    @property
    def reasons(self) -> list[str]:
        """Why some of its numbers are not reliable; empty where all are."""
        return list(dict.fromkeys(f.reason for f in self.findings if not f.reliable))


@dataclass(frozen=True, kw_only=True)
class Block:
    """Runs that may stand in one table."""

    runs: tuple[str, ...]
    protocol: str
    fingerprint: str
    synthetic: bool
    reference: str
    """`run: subject` that differences are taken against."""
    threats: Mapping[str, str]
    """Attack -> threat model in words."""
    rows: tuple[Row, ...]


def compare(
    folders: Sequence[Path], *, anyway: bool = False, versus: str = ""
) -> tuple[list[Block], list[str]]:
    """Blocks of comparable runs, and what keeps blocks apart.

    versus: `subject` or `run: subject` that differences are taken against; without it the
    first control. Raises `ConfigError` naming every difference unless `anyway`, and for a
    `versus` that is not there.
    """
    runs = read_runs(folders)
    apart = differences(runs)
    if apart and not anyway:
        remedy = "--anyway shows them in separate blocks"
        raise ConfigError("these runs cannot be compared", [*apart, remedy])
    groups: list[list[FinishedRun]] = []
    for run in runs:
        home = next((g for g in groups if not differences([*g, run])), None)
        if home is None:
            groups.append([run])
        else:
            home.append(run)
    return [_block(group, versus if len(groups) == 1 else "") for group in groups], apart


def compare_json(blocks: Sequence[Block], apart: Sequence[str]) -> dict[str, Any]:
    """Everything that the table shows, with formulas, as JSON has it."""
    made = []
    for block in blocks:
        rows = [
            {**asdict(row), "unreliable": bool(row.reasons), "reasons": row.reasons}
            for row in block.rows
        ]
        made.append({**asdict(block), "rows": rows})
    return {"schema": 1, "blocks": made, "differences": list(apart)}


def _block(runs: Sequence[FinishedRun], versus: str) -> Block:
    names = [(run, subject) for run in runs for subject in run.subjects]
    reference = _reference(names, versus)
    # Draws of an interval come from a finding's identity, so a subject keeps the interval of
    # its run; only differences are computed from the samples of all runs together.
    pooled = pl.concat([_renamed(run) for run in runs])
    rows = [_row(run, subject, reference, pooled) for run, subject in names]
    against = next(row for row in rows if row.name == reference)
    first = runs[0].facts
    return Block(
        runs=tuple(run.name for run in runs), protocol=first.protocol,
        fingerprint=first.fingerprint, synthetic=any(run.facts.synthetic for run in runs),
        reference=reference,
        threats={a: t for run in runs for a, t in run.threats.items() if a in run.attacks},
        rows=tuple(_doubted(row, against) for row in rows),
    )  # fmt: skip


def _reference(names: Sequence[tuple[FinishedRun, str]], versus: str) -> str:
    spelt = [f"{run.name}: {subject}" for run, subject in names]
    if versus:
        found = [s for s, (_, subject) in zip(spelt, names, strict=True) if versus in (s, subject)]
        if not found:
            raise ConfigError("--versus", [f"no subject '{versus}'; has: {', '.join(spelt)}"])
        return found[0]
    controls = [s for s in spelt if s.endswith("/control")]
    return (controls or spelt)[0]


def _renamed(run: FinishedRun) -> pl.DataFrame:
    kept = run.samples.filter(pl.col("audit").is_in(["utility", "promotion"]))
    return kept.with_columns(pl.concat_str(pl.lit(f"{run.name}: "), "subject").alias("subject"))


def _row(run: FinishedRun, subject: str, reference: str, pooled: pl.DataFrame) -> Row:
    label, _, arm = subject.partition("/")
    control = control_of(subject)
    groups = [g for g in GROUPS if run.has(subject, g)]
    hardened = is_hardened(subject) and control in run.subjects
    versus = {"subject": control}
    price = {
        group: run.measure(subject, "utility", "price(ndcg@10)", group=group, versus=versus)
        for group in (groups if hardened else [])
    }
    return Row(
        run=run.name, subject=subject,
        clean={g: run.measure(subject, "utility", "ndcg@10", group=g) for g in groups},
        price=price,
        difference=_difference(pooled, f"{run.name}: {subject}", reference, "utility", "ndcg@10"),
        attacks=dict(_attacks(run, subject, hardened, pooled, reference)),
        cost=training_cost(run.folder, label, arm, run.facts.seeds),
    )  # fmt: skip


def _attacks(
    run: FinishedRun, subject: str, hardened: bool, pooled: pl.DataFrame, reference: str
) -> Iterator[tuple[str, Attacked]]:
    mine = (pl.col("subject") == subject) & (pl.col("audit") == "promotion")
    control = {"subject": control_of(subject)}
    for attack in run.samples.filter(mine)["trial"].unique(maintain_order=True):
        metric, about = f"er_gain@{run.ks[attack]}", (subject, "promotion")
        effect = None
        if hardened:
            effect = run.measure(*about, "defence_effect", trial=attack, versus=control)
        yield attack, Attacked(
            gain=run.measure(*about, metric, formula="er_gain", trial=attack), effect=effect,
            difference=_difference(
                pooled, f"{run.name}: {subject}", reference, "promotion", "er_gain", attack
            ),
            queries=run.measure(*about, "queries", trial=attack),
        )  # fmt: skip


def _difference(
    pooled: pl.DataFrame, name: str, reference: str, audit: str, metric: str, trial: str = "clean"
) -> Finding | None:
    """None for the reference itself, and for an attack that the reference did not meet."""
    both = (pl.col("subject") == reference) & (pl.col("trial") == trial)
    if name == reference or not pooled.filter(both & (pl.col("audit") == audit)).height:
        return None
    return measure(
        pooled, subject=name, audit=audit, metric=f"difference({metric})", trial=trial,
        versus={"subject": reference},
    )  # fmt: skip


def _doubted(row: Row, against: Row) -> Row:
    """A difference is as reliable as the two numbers that it is of."""
    attacks = {
        name: replace(each, difference=_as_reliable(each.difference, each.gain, other.gain))
        if (other := against.attacks.get(name)) is not None
        else each
        for name, each in row.attacks.items()
    }
    away = _as_reliable(row.difference, row.clean["all"], against.clean["all"])
    return replace(row, attacks=attacks, difference=away)


def _as_reliable(difference: Finding | None, *sides: Finding) -> Finding | None:
    doubts = dict.fromkeys(side.reason for side in sides if not side.reliable)
    if difference is None or not doubts:
        return difference
    return replace(difference, reliable=False, reason="; ".join(doubts))
