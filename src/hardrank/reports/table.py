"""The comparison of control and hardened as rows, before it is HTML, Markdown or text."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.numbers import Spell, metric_k, relative, signed
from hardrank.reports.words import attack_parts, group_name, metric_name, place, spell_of

__all__ = ["Change", "Row", "comparison", "cutoff", "effect", "gain_of", "named", "price"]
__all__ += ["attacked", "flips", "main_metric", "quality_name", "shown_trials", "trials"]

_MANY = 8
"""Attacks beyond which a comparison shows the strongest alone."""

_QUALITY = ("hr", "ndcg", "mrr", "accuracy", "auc", "f1", "precision", "recall", "ece")
_PRICES = ("price", "price_ndcg")
_ATTACK = (
    *("er_before", "er_after", "er_gain", "accuracy_before", "accuracy_after"),
    *("precision_after", "recall_after", "f1_after", "asr", "rank_before", "rank_after"),
    *("words", "similarity", "queries"),
)


@dataclass(frozen=True, kw_only=True)
class Change:
    """Relative change from control to hardened, with its interval where one was computed."""

    value: float
    low: float | None = None
    high: float | None = None
    better: bool | None = None
    """None where neither direction can be told from no change."""
    says: str = ""
    """What an undecided change means, where it needs a word."""

    @property
    def spell(self) -> Spell:
        return signed(relative)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: a number of the control, the same of the hardened model, and the change."""

    heading: str
    detail: str = ""
    """The attack's options, small behind the heading."""
    label: str
    spell: Spell
    control: Finding | None
    hardened: Finding | None
    change: Change | None = None


def named(findings: tuple[Finding, ...], name: str) -> Finding | None:
    """The first whose metric is `name`, at whatever cut-off."""
    return next((f for f in findings if metric_k(f.metric)[0] == name), None)


def cutoff(evidence: Evidence) -> str:
    """The k of NDCG@k, `10` where there is no quality finding."""
    ndcg = named(evidence.of("utility"), "ndcg")
    return metric_k(ndcg.metric)[1] if ndcg else "10"


def flips(evidence: Evidence) -> bool:
    """Whether the victim is a classifier, whose decisions are flipped, not a ranker."""
    return not evidence.of("promotion") and bool(evidence.of("flip"))


def main_metric(evidence: Evidence) -> str:
    """The metric that clean quality is weighed in."""
    utility = evidence.of("utility")
    return "accuracy" if named(utility, "accuracy") and not named(utility, "ndcg") else "ndcg"


def quality_name(evidence: Evidence) -> str:
    """`NDCG@10`, `accuracy`: inside a sentence."""
    metric = main_metric(evidence)
    return metric if metric == "accuracy" else f"NDCG@{cutoff(evidence)}"


def trials(evidence: Evidence) -> tuple[str, ...]:
    """Attack labels of the promotion or flip audit, in file order."""
    subjects = {evidence.subject(CONTROL), evidence.subject(HARDENED)}
    found = (*evidence.of("promotion"), *evidence.of("flip"))
    return tuple(dict.fromkeys(f.trial for f in found if f.subject in subjects))


def shown_trials(evidence: Evidence) -> tuple[str, ...]:
    """All of them, or of many the strongest on the control; the rest has a row in the costs."""
    found = trials(evidence)
    if len(found) <= _MANY:
        return found

    def strength(trial: str) -> float:
        gain = gain_of(evidence, CONTROL, trial) or gain_of(evidence, HARDENED, trial)
        return gain.value if gain is not None and gain.value is not None else -1.0

    return tuple(sorted(found, key=strength, reverse=True)[:_MANY])


def attacked(evidence: Evidence, arm: str, trial: str) -> tuple[Finding, ...]:
    """All findings of one attack on one arm."""
    return _arm(evidence, "promotion", arm, trial=trial) or _arm(evidence, "flip", arm, trial=trial)


def gain_of(evidence: Evidence, arm: str, trial: str) -> Finding | None:
    """What one attack won on one arm: exposure, or the share of right decisions it flipped."""
    found = attacked(evidence, arm, trial)
    return named(found, "asr" if flips(evidence) else "er_gain")


def effect(evidence: Evidence, trial: str) -> Finding | None:
    """Defence effect against one attack: 1 - gain(hardened) / gain(control)."""
    return next(
        (
            f
            for f in evidence.findings
            if metric_k(f.metric)[0] == "defence_effect"
            and f.trial == trial
            and f.subject == evidence.subject(HARDENED)
        ),
        None,
    )


def price(evidence: Evidence, group: str) -> Change | None:
    """Relative change of clean NDCG@k, of a classifier accuracy; the price of robustness with
    its sign turned.

    From the audited finding if there is one, else from the two means, without interval.
    """
    for f in evidence.findings:
        same_arm = f.subject == evidence.subject(HARDENED)
        if metric_k(f.metric)[0] in _PRICES and f.group == group and same_arm:
            return None if f.value is None else _turned(f)
    metric = main_metric(evidence)
    control, hardened = (
        named(evidence.of("utility", subject=evidence.subject(arm), group=group), metric)
        for arm in (CONTROL, HARDENED)
    )
    if control is None or hardened is None or not control.value or hardened.value is None:
        return None
    return Change(value=hardened.value / control.value - 1)


def _turned(f: Finding) -> Change:
    """A loss or a share removed, as a signed change."""
    assert f.value is not None
    low = None if f.high is None else -f.high
    high = None if f.low is None else -f.low
    return Change(value=0.0 - f.value, low=low, high=high)


def _judged(change: Change, lower_is_better: bool) -> Change:
    if change.low is None or change.high is None or change.low <= 0 <= change.high:
        return change
    return replace(change, better=(change.value < 0) == lower_is_better)


def comparison(evidence: Evidence) -> tuple[Row, ...]:
    """Clean quality (all items, then groups), then each attack of `shown_trials`."""
    return (*_clean(evidence), *(r for t in shown_trials(evidence) for r in _attack(evidence, t)))


def _clean(evidence: Evidence) -> Iterator[Row]:
    groups = sorted({f.group for f in evidence.of("utility", trial="clean")}, key=place)
    main = main_metric(evidence)
    for group in groups:
        arms = [_arm(evidence, "utility", arm, group=group) for arm in (CONTROL, HARDENED)]
        for name in _QUALITY if group == "all" else (main,):
            control, hardened = (named(arm, name) for arm in arms)
            if control is None and hardened is None:
                continue
            metric = (control or hardened or arms[0][0]).metric
            change = price(evidence, group) if name == main else None
            yield Row(
                heading="Clean quality",
                label=metric_name(metric) + ("" if group == "all" else f", {group_name(group)}"),
                spell=spell_of(metric),
                control=control,
                hardened=hardened,
                change=change and _judged(change, lower_is_better=False),
            )


def _attack(evidence: Evidence, trial: str) -> Iterator[Row]:
    arms = [attacked(evidence, arm, trial) for arm in (CONTROL, HARDENED)]
    gain = "asr" if flips(evidence) else "er_gain"
    defence = effect(evidence, trial)
    attack, options = attack_parts(trial)
    for name in _ATTACK:
        control, hardened = (named(arm, name) for arm in arms)
        found = control or hardened
        if found is None:
            continue
        change = None
        if name == gain and defence is not None and defence.value is not None:
            change = _judged(_turned(defence), lower_is_better=True)
            if change.better is None and change.low is not None:
                change = replace(change, says="no effect")
        yield Row(
            heading=f"Attack: {attack}",
            detail=options,
            label=metric_name(found.metric),
            spell=spell_of(found.metric),
            control=control,
            hardened=hardened,
            change=change,
        )


def _arm(evidence: Evidence, audit: str, arm: str, **wanted: object) -> tuple[Finding, ...]:
    return evidence.of(audit, subject=evidence.subject(arm), **wanted)
