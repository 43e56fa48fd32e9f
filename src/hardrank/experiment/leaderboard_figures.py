"""The figures of an entry, from the samples of its run."""

from collections.abc import Iterator, Sequence
from typing import Any

from hardrank.experiment.compare_read import FinishedRun
from hardrank.experiment.leaderboard_spec import Figure, Threat, threat_label
from hardrank.findings import Finding

__all__ = ["figures_of"]

_GROUPS = ("all", "tail", "cold")
_ATTACK = ("er_gain", "asr", "queries", "words")


def figures_of(
    run: FinishedRun, subject: str, control: str, threats: Sequence[Threat]
) -> Iterator[Figure]:
    """Clean quality and its price, every attack on both, each threat's strongest attack."""
    yield from _clean(run, subject, control)
    for threat in threats:
        yield from _attacked(run, threat, subject, control)
        yield from _strongest(run, threat, subject, control)


def _clean(run: FinishedRun, subject: str, control: str) -> Iterator[Figure]:
    versus = {"subject": control}
    for group in (g for g in _GROUPS if run.has(subject, g) and run.has(control, g)):
        for who in (subject, control):
            yield _figure(run.measure(who, "utility", "ndcg@10", group=group))
        about: dict[str, Any] = {"group": group, "versus": versus}
        yield _figure(run.measure(subject, "utility", "price(ndcg@10)", **about))
    for who in (subject, control):
        yield _figure(run.measure(who, "utility", "hr@10"))


def _attacked(
    run: FinishedRun, threat: Threat, subject: str, control: str
) -> Iterator[Figure]:  # fmt: skip
    for attack in threat.attacks:
        for who in (subject, control):
            for formula in _ATTACK:
                metric = f"{formula}@{threat.k}" if formula == "er_gain" else formula
                yield _figure(
                    run.measure(who, "promotion", metric, formula=formula, trial=attack)
                )  # fmt: skip
        versus = {"subject": control}
        yield _figure(run.measure(subject, "promotion", "defence_effect", trial=attack,
                                  versus=versus))  # fmt: skip


def _strongest(run: FinishedRun, threat: Threat, subject: str, control: str) -> Iterator[Figure]:
    """Each target's strongest attack; in doubt where one of the attacks is."""
    attacks = list(threat.attacks)
    about: dict[str, Any] = {"trial": threat_label(threat.attacks), "where": {"trial": attacks}}
    doubts = {who: _doubts(run, threat, who) for who in (subject, control)}
    for who in (subject, control):
        yield _figure(run.measure(who, "promotion", "worst(er_gain)", **about), doubts[who])
    removed = run.measure(
        subject, "promotion", "defence_effect(worst(er_gain))", versus={"subject": control}, **about
    )
    yield _figure(removed, doubts[subject] + doubts[control])


def _doubts(run: FinishedRun, threat: Threat, who: str) -> list[str]:
    metric = f"er_gain@{threat.k}"
    found = [
        run.measure(who, "promotion", metric, formula="er_gain", trial=attack)
        for attack in threat.attacks
    ]
    return list(dict.fromkeys(f.reason for f in found if not f.reliable))


def _figure(found: Finding, doubts: Sequence[str] = ()) -> Figure:
    reasons = dict.fromkeys(r for r in (found.reason, *doubts) if r)
    return Figure(
        subject=found.subject, metric=found.metric, group=found.group, trial=found.trial,
        formula=found.formula, where=found.where, versus=found.versus, value=found.value,
        low=found.low, high=found.high, n=found.n,
        reliable=found.reliable and not doubts, reason="; ".join(reasons),
    )  # fmt: skip
