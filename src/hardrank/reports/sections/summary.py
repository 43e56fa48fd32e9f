"""The verdict, first on the page: a label, a few sentences, four figures, caveats."""

import re

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.faults import gates_of
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import Spell, interval, percent, relative, signed
from hardrank.reports.table import (
    Change,
    attacked,
    cutoff,
    effect,
    flips,
    named,
    price,
    quality_name,
    trials,
)
from hardrank.reports.verdict import Status, strongest, verdict
from hardrank.reports.words import attack_name, gate_state

__all__ = ["summary_section"]

_LOOKS: dict[Status, tuple[str, str]] = {
    "supported": ("✓", "good"),
    "provisional": ("!", "warn"),
    "mixed": ("!", "warn"),
    "unproven": ("!", "warn"),
    "undefended": ("–", "warn"),
    "worse": ("✕", "bad"),
    "unreliable": ("✕", "bad"),
}


def summary_section(evidence: Evidence) -> Html:
    found = verdict(evidence)
    sign, kind = _LOOKS[found.status]
    badge = tag("span", sign, class_="sign", aria_hidden="true")
    caveats = tag("ul", [tag("li", c) for c in found.caveats], class_="caveats")
    return tag(
        "section",
        tag("h2", badge, found.label, class_=f"status {kind}", id="verdict-title"),
        [tag("p", _kept(sentence)) for sentence in found.sentences],
        caveats if found.caveats else None,
        tag("div", _figures(evidence, found.status), class_="figures"),
        id="verdict",
        class_=f"verdict {kind}",
        aria_labelledby="verdict-title",
    )


def _kept(sentence: str) -> str:
    """No line break inside an interval."""
    return re.sub(r"\[([^\]]*), ", "[\\1,\N{NO-BREAK SPACE}", sentence)


def _figures(evidence: Evidence, status: Status) -> list[Html]:
    """Without what hardening won where that does not count."""
    k = cutoff(evidence)
    made = []
    gain = strongest(evidence)
    if gain is not None:
        for arm in (CONTROL,) if status == "unreliable" else (CONTROL, HARDENED):
            rows = attacked(evidence, arm, gain.trial)
            after = named(rows, "er_after") or named(rows, "er_gain")
            after = after or named(rows, "accuracy_after")
            attack = attack_name(gain.trial, trials(evidence))
            what = "Accuracy" if flips(evidence) else f"Exposure@{k}"
            label = f"{what} under {attack}, {arm}"
            made += [_stat(label, after, percent, arm)] if after else []
        removed = f"{'Flips' if flips(evidence) else 'Gain'} removed by hardening"
        defence = None if status == "unreliable" else effect(evidence, gain.trial)
        made += [_stat(removed, defence, relative, none="no effect")] if defence else []
    change = price(evidence, "all") if evidence.has_hardened else None
    if change is not None:
        label = f"Change of clean {quality_name(evidence)}"
        made.append(_stat(label, change, signed(relative), none="no change"))
    return [*made, _gates(evidence)]


def _stat(
    label: str, found: Finding | Change, spell: Spell, arm: str = "", *, none: str = ""
) -> Html:
    """`none`: what was not measured where the interval holds 0."""
    value = "no value" if found.value is None else spell(found.value)
    around = _kept(interval(found.low, found.high, spell) or "no interval")
    if none and found.low is not None and found.high is not None and found.low <= 0 <= found.high:
        around += f", {none} measured"
    return _box(label, value, around, arm)


def _box(label: str, value: str, below: str, class_: str = "") -> Html:
    return tag(
        "div",
        tag("span", label, class_="stat-label"),
        tag("span", value, class_="stat-value"),
        tag("span", below, class_="small"),
        class_=f"stat {class_}".strip(),
    )


def _gates(evidence: Evidence) -> Html:
    states = [gate_state(f) for f in gates_of(evidence)]
    told = [f"{n} {s}" for s in ("failed", "undecided", "not run") if (n := states.count(s))]
    below = (", ".join(told) or "all of them") if states else "none was run"
    return _box("Gates passed", f"{states.count('passed')} of {len(states)}", below)
