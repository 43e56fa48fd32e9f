"""The report as Markdown: the same verdict, tables, cases and method, for reviews and mails."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from statistics import stdev

from hardrank.findings import Finding
from hardrank.reports.cases import Case, worst_cases
from hardrank.reports.diffs import Piece
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.markup import visible
from hardrank.reports.models import models
from hardrank.reports.numbers import Spell, interval, percent, relative
from hardrank.reports.page import SYNTHETIC
from hardrank.reports.sections.coverage import coverage, uncovered
from hardrank.reports.sections.significance import compared
from hardrank.reports.table import Change, comparison
from hardrank.reports.verdict import verdict
from hardrank.reports.words import doubts, gate_name, gate_state, metric_name, spell_of

__all__ = ["markdown", "plainly"]

_MARKS = r"[\\`*_{}\[\]()#+!|~]|(?<=http):|(?<=https):|(?<=www)\."
"""What Markdown reads as markup; the last three would become links by themselves."""


def plainly(text: str) -> str:
    """Text in which nothing is Markdown, HTML or a link, on one line."""
    one = " ".join(visible(text).split())
    safe = one.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(_MARKS, r"\\\g<0>", safe)


def markdown(evidence: Evidence) -> str:
    facts, found = evidence.facts, verdict(evidence)
    lines = [f"# {plainly(facts.name)}: robustness report", ""]
    if facts.synthetic:
        lines += [f"> **{SYNTHETIC}**", ""]
    lines += [f"**{found.label}.** {plainly(found.text)}", ""]
    lines += [f"- {plainly(caveat)}" for caveat in found.caveats]
    lines += [*_comparison(evidence), *_significance(evidence), *_gates(evidence)]
    lines += [*_quality(evidence), *_curves(evidence)]
    lines += [*_cases(evidence), *_coverage(evidence), "", "## Method", ""]
    protocol = facts.protocol or next((f.protocol for f in evidence.findings if f.protocol), "")
    lines += [plainly(protocol or "Protocol not stated."), ""]
    lines += [f"- {plainly(threat)}" for threat in facts.threats]
    lines += ["", "Every number is computed again by `hardrank report verify RUN`.", ""]
    if facts.fingerprint:
        lines += [f"Data fingerprint: {plainly(facts.fingerprint)}", ""]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _number(found: Finding | None, spell: Spell) -> str:
    if found is None:
        return ""
    if found.value is None:
        return "no value"
    spread = f"sd {spell(stdev(found.per_seed))}" if len(found.per_seed) > 1 else ""
    doubt = "" if found.reliable else "unreliable"
    parts = [spell(found.value), interval(found.low, found.high, spell), spread, doubt]
    return " ".join(p for p in parts if p)


def _change(change: Change | None) -> str:
    if change is None:
        return ""
    around = interval(change.low, change.high, change.spell)
    return f"{change.spell(change.value)} {around}".strip()


def _comparison(evidence: Evidence) -> Iterator[str]:
    every = comparison(evidence)
    told = doubts(f for row in every for f in (row.control, row.hardened))
    yield from (line for why in told for line in ("", plainly(why)))
    for (heading, detail), rows in groupby(every, key=lambda row: (row.heading, row.detail)):
        yield from ("", f"## {plainly(f'{heading} ({detail})' if detail else heading)}", "")
        cells = (
            (
                plainly(r.label),
                _number(r.control, r.spell),
                _number(r.hardened, r.spell),
                _change(r.change),
            )
            for r in rows
        )
        yield from _table(("Measure", "Control", "Hardened", "Change"), cells)


def _gates(evidence: Evidence) -> Iterator[str]:
    rows = [
        (
            plainly(gate_name(f)),
            plainly(f.subject.partition("/")[2]),
            gate_state(f),
            plainly(f.reason),
            plainly("" if gate_state(f) == "passed" else f.remedy),
        )
        for f in evidence.of("gate")
        if f.subject.partition("/")[0] == evidence.model
    ]
    if rows:
        yield from ("", "## Can these figures be trusted?", "")
        yield from _table(("Check", "Arm", "State", "Why", "What to try"), rows)


def _significance(evidence: Evidence) -> Iterator[str]:
    rows = [
        [
            plainly(evidence.shown(row.arm)), plainly(row.trial), _number(row.control, percent),
            _number(row.hardened, percent), _number(row.effect, relative),
            "" if row.p is None else f"{row.p:.3f}",
            "" if row.adjusted is None else f"{row.adjusted:.3f}", row.verdict or "no interval",
        ]
        for row in compared(evidence)
    ]  # fmt: skip
    if rows:
        yield from ("", "## Every arm against the control", "")
        yield from _table(
            ("Arm", "Attack", "Gain, control", "Gain, hardened", "Removed", "p", "p, Holm",
             "Verdict"), rows
        )  # fmt: skip


def _quality(evidence: Evidence) -> Iterator[str]:
    found = models(evidence)
    if found is None:
        return
    yield from ("", "## Quality of every model", "")
    heads = [plainly(f"{c.heading}, {c.label}") for c in found.columns]
    rows = (
        [
            plainly(f"{row.model}, {row.stage}, hardening stage" if row.stage else row.model),
            *(_number(row.cells.get(c), spell_of(c.metric)) for c in found.columns),
        ]
        for row in found.rows
    )
    yield from _table(["Model", *heads], rows)
    yield from (line for note in found.notes for line in ("", plainly(note)))


def _curves(evidence: Evidence) -> Iterator[str]:
    found = [f for f in evidence.of("curve") if f.subject.partition("/")[0] == evidence.model]
    if not found:
        return
    yield from ("", "## Robustness curves", "")
    rows = (
        [
            plainly(f.subject), plainly(f.trial), plainly(str(f.where.get("goal", ""))),
            plainly(str(f.where.get("site", ""))), "" if f.radius is None else f"{f.radius:g}",
            plainly(metric_name(f.metric)), _number(f, spell_of(f.metric)),
        ]
        for f in found
    )  # fmt: skip
    yield from (line for why in doubts(found) for line in (plainly(why), ""))
    yield from _table(("Subject", "Attack", "Goal", "Site", "Radius", "Metric", "Value"), rows)


def _cases(evidence: Evidence) -> Iterator[str]:
    for arm in (HARDENED, CONTROL):
        cases = worst_cases(evidence, arm)
        if cases:
            yield from ("", f"## Worst cases, {arm}", "")
            yield from map(_case, cases)


def _case(case: Case) -> str:
    text = " ".join(map(_piece, case.pieces))
    cost = [f"{case.words} words"] if case.words is not None else []
    cost += [f"{case.queries} queries"] if case.queries is not None else []
    facts = ", ".join([plainly(case.trial), f"item {plainly(case.item)}", *cost])
    return f"- {percent(case.before)} → {percent(case.after)} ({facts}): {text}"


def _piece(piece: Piece) -> str:
    text = plainly(" ".join(piece.words))
    return {"deleted": f"~~{text}~~", "inserted": f"**{text}**"}.get(piece.op, text)


def _coverage(evidence: Evidence) -> Iterator[str]:
    rows = [
        [
            plainly(", ".join(filter(None, name))),
            *(_covered(*cells[a]) for a in cells),
        ]
        for name, cells in coverage(evidence).items()
    ]
    if rows:
        arms = [plainly(arm.capitalize()) for arm in next(iter(coverage(evidence).values()))]
        yield from ("", "## Coverage", "")
        yield from _table(("Attack", *arms), rows)
    if missing := uncovered(evidence):
        yield from ("", f"Not measured: {plainly('; '.join(missing))}.")


def _covered(state: str, why: str) -> str:
    return state if state == "unreliable" or not why else f"{state}: {plainly(why)}"
