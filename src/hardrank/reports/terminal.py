"""The verdict table at the end of a run, for a terminal."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

import polars as pl

from hardrank.findings import Finding
from hardrank.reports.evidence import Evidence, RunFacts, refuse_lonely
from hardrank.reports.markup import visible
from hardrank.reports.numbers import Spell, interval
from hardrank.reports.table import Change, Row, comparison
from hardrank.reports.verdict import verdict
from hardrank.reports.words import doubts

__all__ = ["summary_table"]

_SHOWN = ("hr", "ndcg", "er_before", "er_after", "er_gain", "asr")
_WIDTH = 96
_WIDEST = 100
_BETWEEN = 2 + 3 * 2
"""Indent and gaps of a line of the table."""


def summary_table(findings: Sequence[Finding], *, model: str = "") -> str:
    """Verdict, then control and hardened side by side with 95 % intervals; plain text of at
    most 100 columns. `!` marks numbers that are not reliable.

    `model` names the compared model where several were hardened.
    Raises `SchemaError` where a hardened arm has no control.
    """
    refuse_lonely(findings)
    facts = RunFacts(name="", model=model)
    evidence = Evidence(findings=tuple(findings), samples=pl.DataFrame(), facts=facts)
    found = verdict(evidence)
    rows = [row for row in comparison(evidence) if _metric(row).startswith(_SHOWN)]
    lines = [f"Verdict: {found.label}", *_wrapped(found.text)]
    lines += [line for caveat in found.caveats for line in _wrapped(f"* {caveat}")]
    numbers = [f for row in rows for f in (row.control, row.hardened)]
    lines += [line for why in doubts(numbers) for line in _wrapped(_marked(why))]
    return "\n".join(line.rstrip() for line in [*lines, "", *_table(rows)])


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """At most 100 columns: where the intervals of the changes do not fit, the page has them."""
    lines = _cells(rows, ranged=True)
    if sum(_widths(lines)) + _BETWEEN > _WIDEST:
        lines = _cells(rows, ranged=False)
    widths = _widths(lines)
    yield _line(lines[0], widths)
    numbered = zip(rows, lines[1:], strict=True)
    for heading, group in groupby(numbered, key=lambda pair: _heading(pair[0])):
        yield textwrap.shorten(visible(heading), _WIDTH, placeholder="…")
        yield from (_line(cell, widths) for _, cell in group)


def _heading(row: Row) -> str:
    return f"{row.heading} ({row.detail})" if row.detail else row.heading


def _cells(rows: Sequence[Row], *, ranged: bool) -> list[tuple[str, ...]]:
    head = ("", "control", "hardened", "change")
    return [head] + [
        (
            textwrap.shorten(visible(r.label), 24, placeholder="…"),
            _number(r.control, r.spell),
            _number(r.hardened, r.spell),
            _change(r.change, ranged=ranged),
        )
        for r in rows
    ]


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(line[column]) for line in lines) for column in range(4)]


def _metric(row: Row) -> str:
    found = row.control or row.hardened
    return found.metric if found else ""


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(visible(text), _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _marked(why: str) -> str:
    return f"! {why}" if why.startswith("Unreliable") else why


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = f"  {cells[0]:<{widths[0]}}"
    return first + "".join(f"  {c:>{w}}" for c, w in zip(cells[1:], widths[1:], strict=True))


def _number(found: Finding | None, spell: Spell) -> str:
    """`!` where the number is not reliable, else a space, so that columns line up."""
    if found is None:
        return "- "
    if found.value is None:
        return "no value "
    flag = " " if found.reliable else "!"
    return f"{spell(found.value)} {interval(found.low, found.high, spell)}".rstrip() + flag


def _change(change: Change | None, *, ranged: bool) -> str:
    if change is None:
        return ""
    spell = change.spell
    around = interval(change.low, change.high, spell) if ranged else ""
    return f"{spell(change.value)} {around}".rstrip()
