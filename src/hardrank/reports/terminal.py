"""The verdict table at the end of a run, for a terminal."""

import textwrap
from collections.abc import Sequence
from itertools import groupby

import polars as pl

from hardrank.findings import Finding
from hardrank.reports.evidence import Evidence, RunFacts, refuse_lonely
from hardrank.reports.markup import visible
from hardrank.reports.numbers import Spell, interval
from hardrank.reports.table import Change, Row, comparison
from hardrank.reports.verdict import verdict

__all__ = ["summary_table"]

_SHOWN = ("hr", "ndcg", "er_before", "er_after", "er_gain", "asr")
_WIDTH = 96


def summary_table(findings: Sequence[Finding], *, model: str = "") -> str:
    """Verdict, then control and hardened side by side with 95 % intervals; plain text.

    `model` names the compared model where several were hardened.
    Raises `SchemaError` where a hardened arm has no control.
    """
    refuse_lonely(findings)
    facts = RunFacts(name="", model=model)
    evidence = Evidence(findings=tuple(findings), samples=pl.DataFrame(), facts=facts)
    found = verdict(evidence)
    rows = [row for row in comparison(evidence) if _metric(row).startswith(_SHOWN)]
    cells = [("", "control", "hardened", "change")]
    cells += [
        (r.label, _number(r.control, r.spell), _number(r.hardened, r.spell), _change(r.change))
        for r in rows
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [f"Verdict: {found.label}", *_wrapped(found.text)]
    lines += [line for caveat in found.caveats for line in _wrapped(f"* {caveat}")]
    lines += ["", _line(cells[0], widths)]
    numbered = zip(rows, cells[1:], strict=True)
    for heading, group in groupby(numbered, key=lambda pair: pair[0].heading):
        lines += [visible(heading), *(_line(cell, widths) for _, cell in group)]
    return "\n".join(line.rstrip() for line in lines)


def _metric(row: Row) -> str:
    found = row.control or row.hardened
    return found.metric if found else ""


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(visible(text), _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = f"  {cells[0]:<{widths[0]}}"
    return first + "".join(f"   {c:>{w}}" for c, w in zip(cells[1:], widths[1:], strict=True))


def _number(found: Finding | None, spell: Spell) -> str:
    if found is None:
        return "-"
    if found.value is None:
        return "no value"
    flag = "" if found.reliable else "unreliable "
    return flag + f"{spell(found.value)} {interval(found.low, found.high, spell)}".rstrip()


def _change(change: Change | None) -> str:
    if change is None:
        return ""
    spell = change.spell
    return f"{spell(change.value)} {interval(change.low, change.high, spell)}".rstrip()
