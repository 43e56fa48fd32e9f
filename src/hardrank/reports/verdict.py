"""The answer in a few plain sentences, computed from the findings and nothing else."""

from dataclasses import dataclass
from statistics import stdev
from typing import Literal

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.faults import (
    cause,
    dead_attacks,
    doubted,
    failed_gates,
    fault,
    gates_of,
    other_arms,
    short,
    sound_arms,
)
from hardrank.reports.numbers import Spell, interval, percent, relative, signed
from hardrank.reports.table import (
    Change,
    attacked,
    cutoff,
    effect,
    flips,
    gain_of,
    named,
    price,
    quality_name,
    trials,
)
from hardrank.reports.words import (
    attack_name,
    gate_name,
    gate_state,
    group_name,
    listed,
    too_few,
)

__all__ = ["Status", "Verdict", "strongest", "verdict"]

Status = Literal[
    "supported", "provisional", "mixed", "unproven", "worse", "unreliable", "undefended"
]

_LABELS: dict[Status, str] = {
    "supported": "Hardening works, within the stated threats",
    "provisional": "Hardening helps; provisional",
    "mixed": "Hardening helps against some attacks",
    "unproven": "No effect of hardening measured",
    "worse": "Hardening made it worse",
    "unreliable": "Unreliable",
    "undefended": "No hardened model in this run",
}
_VERBS = {1: "removes ", -1: "adds "}
_UNSTABLE = 0.02
"""Standard deviation between seeds, as a share, above which a result is called unstable."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`status` decides the colour, `label` is the headline; `sentences` say more below it;
    `caveats` are listed."""

    status: Status
    label: str
    sentences: tuple[str, ...]
    caveats: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def verdict(evidence: Evidence) -> Verdict:
    """Never speaks of robustness where a gate failed: then it is "Unreliable: ..."."""
    missed = failed_gates(evidence)
    faults = [fault(gate, evidence) for gate in missed] or doubted(evidence)
    status = _status(evidence, faults)
    sentences = [_gameable(evidence)]
    if status == "unreliable":
        sentences = [*short(faults), *_discounted(evidence), *sentences]
    elif status != "undefended":
        sentences += [_removed(evidence), _cost(evidence)]
    return Verdict(
        status=status,
        label=_label(evidence, status) + (cause(missed) if status == "unreliable" else ""),
        sentences=tuple(s for s in sentences if s),
        caveats=tuple(_caveats(evidence)),
    )


def _label(evidence: Evidence, status: Status) -> str:
    """Says of which arm, where there are several."""
    several = len([arm for arm in evidence.arms if arm != CONTROL]) > 1
    arm = f", {evidence.shown(HARDENED)} arm" if several and status == "unreliable" else ""
    return _LABELS[status] + arm


def _discounted(evidence: Evidence) -> list[str]:
    """What does not count, and the arms that nothing is held against."""
    if len([arm for arm in evidence.arms if arm != CONTROL]) < 2:
        return ["What was measured does not count as a defence."]
    said = [f"What was measured on the {evidence.shown(HARDENED)} arm does not count as a defence."]
    if sound := sound_arms(evidence):
        said.append(f"No check failed on {listed(sound)}: see the tables of all arms.")
    return said


def strongest(evidence: Evidence) -> Finding | None:
    """The largest exposure gain on the control, among attacks that ran."""
    gains = [gain_of(evidence, CONTROL, trial) for trial in trials(evidence)]
    ran = [f for f in gains if f is not None and f.value is not None]
    return max(ran, key=lambda f: f.value or 0.0, default=None)


def _status(evidence: Evidence, faults: list[str]) -> Status:
    if faults:
        return "unreliable"
    if not evidence.has_hardened:
        return "undefended"
    left_out = dead_attacks(evidence)
    directions = [_direction(effect(evidence, t)) for t in trials(evidence) if t not in left_out]
    known = [d for d in directions if d is not None]
    if any(d < 0 for d in known):
        return "worse"
    if not any(d > 0 for d in known):
        return "unproven"
    if any(d == 0 for d in known):
        return "mixed"
    return "provisional" if _provisional(evidence) else "supported"


def _direction(finding: Finding | None) -> int | None:
    """+1 or -1 where the interval excludes 0, else 0; None where nothing was measured."""
    if finding is None or finding.value is None:
        return None
    if finding.low is None or finding.high is None:
        return 0
    return 1 if finding.low > 0 else -1 if finding.high < 0 else 0


def _provisional(evidence: Evidence) -> list[str]:
    """Why a good result is not yet a claim."""
    gates = gates_of(evidence)
    missing = list(dict.fromkeys(gate_name(f) for f in gates if gate_state(f) == "not run"))
    reasons = [] if gates else ["no gate was run"]
    for f in gates:
        if gate_state(f) == "undecided":
            reasons.append(f"undecided: “{gate_name(f)}”, {too_few(f.reason) or f.reason}")
    if missing:
        reasons.append("not run: " + listed([f"“{m}”" for m in missing]))
    if len(_seeds(evidence)) == 1:
        reasons.append("a single seed: how much another seed would differ is unknown")
    return reasons + (_uncomputed(evidence) if evidence.has_hardened else [])


def _uncomputed(evidence: Evidence) -> list[str]:
    """Attacks without a defence effect, by the reason that is given for it."""
    among = trials(evidence)
    reasons: dict[str, list[str]] = {}
    for trial in among:
        found = effect(evidence, trial)
        if _direction(found) is None:
            # of several reasons the first is the one why there is no value
            why = found.reason.split("; ")[0] if found is not None else ""
            reasons.setdefault(why, []).append(attack_name(trial, among))
    return [
        f"no defence effect could be computed for {listed(names)}" + (f" ({why})" if why else "")
        for why, names in reasons.items()
    ]


def _seeds(evidence: Evidence) -> set[int]:
    arms = {evidence.subject(CONTROL), evidence.subject(HARDENED)}
    found = {s for f in evidence.findings if f.subject in arms for s in f.seeds}
    return found or set(evidence.facts.seeds)


def _caveats(evidence: Evidence) -> list[str]:
    caveats = [reason[0].upper() + reason[1:] + "." for reason in _provisional(evidence)]
    among = trials(evidence)
    for trial, why in dead_attacks(evidence).items():
        caveats.append(f"{attack_name(trial, among)} proves nothing here: {why}.")
    for trial in among:
        for arm in (CONTROL, HARDENED):
            gain = gain_of(evidence, arm, trial)
            if gain is None or len(gain.per_seed) < 2:
                continue
            spread = stdev(gain.per_seed)
            if spread > _UNSTABLE:
                caveats.append(
                    f"Unstable: {_prize(evidence)} under {attack_name(trial, among)} on the {arm} "
                    f"model varies between seeds by a standard deviation of {percent(spread)}."
                )
    return caveats + other_arms(evidence)


def _gameable(evidence: Evidence) -> str:
    gain = strongest(evidence)
    if gain is None or gain.value is None:
        return "No attack ran on the control model, so how gameable it is was not measured."
    if flips(evidence):
        return _flippable(evidence, gain)
    found = evidence.of("promotion", subject=gain.subject, trial=gain.trial)
    before, after = named(found, "er_before"), named(found, "er_after")
    k, attack = cutoff(evidence), attack_name(gain.trial, trials(evidence))
    if gain.low is not None and gain.low <= 0:
        return (
            f"No attack measurably promoted its targets on the control model; the strongest, "
            f"{attack}, changed top-{k} exposure by {_ranged(gain, signed(percent))}."
        )
    if before is None or after is None or before.value is None or after.value is None:
        return (
            f"The control model is gameable: {attack} raises a target's top-{k} exposure "
            f"by {_ranged(gain, percent)}."
        )
    return (
        f"The control model is gameable: {attack} lifts an attacked item from "
        f"{percent(before.value)} to {_ranged(after, percent)} of eligible users’ top {k}."
    )


def _prize(evidence: Evidence) -> str:
    return "success rate" if flips(evidence) else "exposure gain"


def _flippable(evidence: Evidence, gain: Finding) -> str:
    """Of a classifier."""
    assert gain.value is not None
    attack = attack_name(gain.trial, trials(evidence))
    said = f"{attack} flips {_ranged(gain, percent)} of the control model’s right decisions"
    rows = attacked(evidence, CONTROL, gain.trial)
    before, after = named(rows, "accuracy_before"), named(rows, "accuracy_after")
    if before is None or after is None or before.value is None or after.value is None:
        return f"{said}."
    return f"{said}: accuracy falls from {percent(before.value)} to {_ranged(after, percent)}."


def _removed(evidence: Evidence) -> str:
    """What hardening did to the strongest attack first, then to the others."""
    first = strongest(evidence)
    order = sorted(trials(evidence), key=lambda t: first is None or t != first.trial)
    found = [(t, f) for t in order if (f := effect(evidence, t)) and f.value is not None]
    if not found:
        return "What hardening changed could not be computed."
    ways: dict[int, list[tuple[str, Finding]]] = {1: [], -1: [], 0: []}
    for trial, one in found:
        ways[_direction(one) or 0].append((attack_name(trial, trials(evidence)), one))
    said = [_VERBS[way] + listed(_shares(evidence, ways[way], way)) for way in _VERBS if ways[way]]
    moved = [f"Hardening {listed(said)}."] if said else []
    none = [f"No effect measured on {listed(_unmoved(ways[0]))}."] if ways[0] else []
    return " ".join(moved + none)


def _unmoved(found: list[tuple[str, Finding]]) -> list[str]:
    """Intervals that hold 0: what was seen, which is not told from nothing."""
    spell = signed(relative)
    return [f"{name} ({_ranged(f, spell)} of its gain removed)" for name, f in found]


def _shares(evidence: Evidence, found: list[tuple[str, Finding]], way: int) -> list[str]:
    """What was removed or added, attack by attack."""
    parts = []
    for place, (name, f) in enumerate(found):
        share: Finding | Change = f if way == 1 else _grown(f)
        of = "of that of" if place else f"of the {_prize(evidence)} of"
        parts.append(f"{_ranged(share, relative)} {of} {name}")
    return parts


def _grown(f: Finding) -> Change:
    assert f.value is not None and f.low is not None and f.high is not None
    return Change(value=-f.value, low=-f.high, high=-f.low)


def _cost(evidence: Evidence) -> str:
    spell = signed(relative)
    parts = []
    for group in ("all", "tail", "cold"):
        change = price(evidence, group)
        if change is not None:
            where = "overall" if group == "all" else f"on {group_name(group)}"
            parts.append(f"{_ranged(change, spell)} {where}")
    if not parts:
        return "Its price in clean quality was not measured."
    return f"The price: clean {quality_name(evidence)} changes by {listed(parts)}."


def _ranged(found: Finding | Change, spell: Spell) -> str:
    assert found.value is not None
    around = interval(found.low, found.high, spell)
    return f"{spell(found.value)} {around}" if around else spell(found.value)
