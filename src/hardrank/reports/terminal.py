"""The verdict table at the end of a run, for a terminal."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

import polars as pl

from hardrank.findings import Finding
from hardrank.reports.evidence import Evidence, RunFacts, headlined, refuse_lonely
from hardrank.reports.markup import visible
from hardrank.reports.numbers import Spell, interval
from hardrank.reports.table import Change, Row, comparison
from hardrank.reports.verdict import verdict
from hardrank.reports.words import doubts

__all__ = ["summary_table"]

_SHOWN = ("hr", "ndcg", "er_before", "er_after", "er_gain", "asr", "accuracy", "auc")
_WIDTH = 96
_WIDEST = 100
_BETWEEN = 1 + 3 * 2
"""Indent and gaps of a line of the table."""


def summary_table(findings: Sequence[Finding], *, model: str = "") -> str:
    """Verdict, then control and hardened side by side with 95 % intervals; plain text of at
    most 100 columns. `!` marks numbers that are not reliable.

    `model` names the compared model where several were hardened.
    Raises `SchemaError` where a hardened arm has no control.
    """
    refuse_lonely(findings)
    facts = RunFacts(name="", model=model)
    evidence = headlined(Evidence(findings=tuple(findings), samples=pl.DataFrame(), facts=facts))
    found = verdict(evidence)
    rows = [row for row in comparison(evidence) if _metric(row).startswith(_SHOWN)]
    lines = [f"Verdict: {found.label}", *_wrapped(found.text)]
    lines += [line for caveat in found.caveats for line in _wrapped(f"* {caveat}")]
    numbers = [f for row in rows for f in (row.control, row.hardened)]
    lines += [line for why in doubts(numbers) for line in _wrapped(_marked(why))]
    return "\n".join(line.rstrip() for line in [*lines, "", *_table(rows)])


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """At most 100 columns: where the intervals of the changes do not fit, or those of the
    arms, they are left to the page."""
    for ranged in ("all", "arms", ""):
        lines = _cells(rows, ranged)
        if sum(_widths(lines)) + _BETWEEN <= _WIDEST:
            break
    widths = _widths(lines)
    yield _line(lines[0], widths)
    numbered = zip(rows, lines[1:], strict=True)
    for heading, group in groupby(numbered, key=lambda pair: _heading(pair[0])):
        yield textwrap.shorten(visible(heading), _WIDTH, placeholder="…")
        yield from (_line(cell, widths) for _, cell in group)


def _heading(row: Row) -> str:
    return f"{row.heading} ({row.detail})" if row.detail else row.heading


def _cells(rows: Sequence[Row], ranged: str) -> Sequence[Sequence[str]]:
    """ranged: which numbers have their intervals, `all`, `arms` or none of them."""
    head = ("", "control", "hardened", "change")
    marks = [any(map(_doubtful, arm)) for arm in zip(*map(_arms, rows), strict=True)]
    return [head] + [
        (
            textwrap.shorten(visible(r.label), 24, placeholder="…"),
            *(
                _number(f, r.spell, bool(ranged)) + ("!" if _doubtful(f) else " " if m else "")
                for f, m in zip(_arms(r), marks, strict=True)
            ),
            _change(r.change, ranged == "all"),
        )
        for r in rows
    ]


def _arms(row: Row) -> tuple[Finding | None, Finding | None]:
    return row.control, row.hardened


def _doubtful(found: Finding | None) -> bool:
    """Marked by `!`; in a column with marks the others end in a space, so that all line up."""
    return found is not None and found.value is not None and not found.reliable


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
    first = f" {cells[0]:<{widths[0]}}"
    return first + "".join(f"  {c:>{w}}" for c, w in zip(cells[1:], widths[1:], strict=True))


def _number(found: Finding | None, spell: Spell, ranged: bool) -> str:
    if found is None:
        return "-"
    if found.value is None:
        return "no value"
    return _ranged(found, spell, ranged)


def _change(change: Change | None, ranged: bool) -> str:
    return "" if change is None else _ranged(change, change.spell, ranged)


def _ranged(found: Finding | Change, spell: Spell, ranged: bool) -> str:
    assert found.value is not None
    around = interval(found.low, found.high, spell) if ranged else ""
    return f"{spell(found.value)} {around}".rstrip()
