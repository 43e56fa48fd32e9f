"""From samples to a finding: filter, compute, put an interval around it."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from hardrank.audits.formulas import Formula, cells, parse
from hardrank.context import derive
from hardrank.findings import Finding

__all__ = ["DRAWS", "measure", "recompute", "rows_where"]

DRAWS = 2000
"""Bootstrap draws behind each interval."""


def measure(
    samples: pl.DataFrame,
    *,
    subject: str,
    audit: str,
    metric: str,
    formula: str = "",
    where: Mapping[str, Any] | None = None,
    versus: Mapping[str, Any] | None = None,
    group: str = "all",
    trial: str = "clean",
    radius: float | None = None,
    protocol: str = "",
) -> Finding:
    """One finding over the rows that match.

    `formula` (see `hardrank.audits.formulas`) defaults to `metric`. `where` is completed by
    subject, audit, trial, and by group and radius unless they are `all` and None; a value in
    `where` wins (`{"trial": ["copycat", "greedy"]}`, `{"group": "cold"}`). `versus` says only
    what differs from `where` in the rows to compare with. Without rows, or where the number
    is not defined, the finding has value None and says why.
    Raises `ValueError` on a formula that does not exist.
    """
    identity: dict[str, Any] = {"subject": subject, "audit": audit, "trial": trial}
    identity |= {"group": group} if group != "all" else {}
    identity |= {"radius": radius} if radius is not None else {}
    chosen = identity | dict(where or {})
    name = formula or metric
    finding = Finding(
        subject=subject, audit=audit, metric=metric, value=None, group=group, trial=trial,
        radius=radius, formula=name, where=chosen, protocol=protocol,
        versus=chosen | dict(versus) if versus is not None else {},
    )  # fmt: skip
    return recompute(samples, finding)


def recompute(samples: pl.DataFrame, finding: Finding) -> Finding:
    """The same finding with value, interval, n and seeds computed from `samples` again."""
    formula = parse(finding.formula)
    rows = rows_where(samples, finding.where)
    versus = rows_where(samples, finding.versus) if finding.versus else None
    for name, side in (("where", rows), ("versus", versus)):
        if side is not None and not side.height:
            return _with(finding, reason=f"no samples match `{name}`")
    table = cells(rows, formula, versus)
    interval = formula.interval(table, np.random.default_rng(_seed(finding)), DRAWS)
    value = _number(interval.value)
    known = ~np.isnan(np.stack(table.sides)).any(axis=0)
    return _with(
        finding,
        value=value,
        low=_number(interval.low),
        high=_number(interval.high),
        n=int(known.any(axis=0).sum()),
        seeds=tuple(s for s in table.seeds if s is not None),
        per_seed=formula.per_seed(table),
        reason=finding.reason or ("" if value is not None else _why(rows, formula)),
    )


def rows_where(samples: pl.DataFrame, where: Mapping[str, Any]) -> pl.DataFrame:
    """Rows that have each value (or one of each list of values); None matches null.

    Raises `ValueError` on a column that samples do not have.
    """
    for name in where:
        if name not in samples.columns:
            raise ValueError(f"samples have no column '{name}'")
    tests = [_test(name, value, samples.schema[name]) for name, value in where.items()]
    return samples.filter(pl.all_horizontal(tests)) if tests else samples


def _test(name: str, value: Any, kind: pl.DataType) -> pl.Expr:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return pl.any_horizontal(*(_test(name, v, kind) for v in value), pl.lit(False))
    return pl.col(name).eq_missing(pl.lit(value, dtype=kind))


def _seed(finding: Finding) -> int:
    """Of the finding's identity alone: adding a finding changes no other interval."""
    f = finding
    parts = (f.where, f.versus)
    text = [json.dumps(p, sort_keys=True, ensure_ascii=False) for p in parts]
    return derive(0, "interval", f.subject, f.audit, f.metric, f.formula, *text)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _why(rows: pl.DataFrame, formula: Formula) -> str:
    errors = rows["error"].drop_nulls()
    if len(errors) == rows.height:
        return f"could not run: {errors[0]}"
    if rows["excluded"].fill_null(False).all():
        return "every target met the goal before the attack"
    if formula.compare:
        return f"not defined: the mean of {formula.name} it is compared with is not above 0"
    return f"no row has what {formula.name} reads"


def _with(finding: Finding, **changes: Any) -> Finding:
    blank: dict[str, Any] = {"value": None, "low": None, "high": None, "n": 0}
    blank |= {"seeds": (), "per_seed": ()}
    return Finding(**{**vars(finding), **blank, **changes})
