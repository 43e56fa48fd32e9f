"""From the samples of `gan augment` to findings, verdicts in words, and tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from hardrank.audits.measure import measure
from hardrank.experiment.augment_logs import ARMS, BEHAVIOUR_ARMS, RIVALS
from hardrank.experiment.augment_negatives import NEGATIVE_ARMS
from hardrank.findings import Finding

__all__ = ["SPARSE", "Verdict", "augment_findings", "tables", "verdicts"]

SPARSE = "sparse"
"""The group of users with few training events; the others are `other`."""
Identity = tuple[str, str, str, str, str]
"""Subject, audit, trial, group, metric."""
_EDITS = "interest-edits"
_LEAST = 0.03
"""Gain in NDCG@10 of sparse users, relative, that a verdict asks for."""
_LEAST_UNDER_ATTACK = 0.05
"""The same under attack on histories."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One question, answered."""

    model: str
    question: str
    gain: bool
    why: str
    loss: bool = False
    """Worse than the control for certain; said of hard negatives alone."""

    def line(self) -> str:
        answer = "gain" if self.gain else "loss" if self.loss else "no gain"
        return f"{self.model}, {self.question}: {answer} ({self.why})"


def augment_findings(samples: pl.DataFrame, protocol: str) -> list[Finding]:
    """Every number of the tables, with its interval and formula."""
    return [
        *_quality(samples, protocol),
        *_under_attack(samples, protocol),
        *_false(samples, protocol),
    ]


def _quality(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    clean = samples.filter(pl.col("audit") == "utility")
    for subject in clean["subject"].unique(maintain_order=True):
        for group in ("all", SPARSE, "other"):
            about: dict[str, Any] = {"subject": subject, "audit": "utility", "group": group,
                                     "protocol": protocol}  # fmt: skip
            for metric in ("ndcg@10", "hr@10"):
                yield measure(samples, metric=metric, **about)
            yield from _compared(samples, about, "")
            arm = subject.rpartition("/")[2]
            if arm in (ARMS[1], NEGATIVE_ARMS[0]):
                yield from _compared(samples, about, RIVALS[arm])


def _under_attack(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    rows = samples.filter(pl.col("audit") == "behaviour")
    for subject, trial in rows.select("subject", "trial").unique(maintain_order=True).iter_rows():
        about: dict[str, Any] = {"subject": subject, "audit": "behaviour", "trial": trial,
                                 "protocol": protocol}  # fmt: skip
        for metric in ("ndcg@10", "events"):
            yield measure(samples, metric=metric, **about)
        if trial != "clean":
            yield measure(samples, metric="drop(ndcg@10)", versus={"trial": "clean"}, **about)
        yield from _compared(samples, about, "")
        arm = subject.rpartition("/")[2]
        if arm in RIVALS:
            yield from _compared(samples, about, RIVALS[arm])


def _false(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    rows = samples.filter(pl.col("audit") == "false-negatives")
    for subject in rows["subject"].unique(maintain_order=True):
        yield measure(
            samples, subject=subject, audit="false-negatives", metric="value", protocol=protocol
        )


def _compared(samples: pl.DataFrame, about: dict[str, Any], arm: str) -> Iterator[Finding]:
    """Against another arm of the same model and seed, paired by user; the control if unnamed."""
    model, _, own = about["subject"].rpartition("/")
    if own == (arm or "control"):
        return
    for name in ("difference", "price"):
        formula = f"{name}(ndcg@10)"
        metric = f"{formula} to {arm}" if arm else formula
        yield measure(
            samples, metric=metric, formula=formula,
            versus={"subject": f"{model}/{arm or 'control'}"}, **about,
        )  # fmt: skip


def verdicts(findings: Sequence[Finding]) -> list[Verdict]:
    """Of each model: do sparse users gain by the generator, do attacked histories, and does
    everybody by hard negatives?

    A gain is a relative one of 3 % (5 % under attack) or more, whose difference is above 0
    with its whole interval, and so is the difference to as many events drawn by popularity.
    """
    found = {(f.subject, f.audit, f.trial, f.group, f.metric): f for f in findings}
    out = []
    for model in dict.fromkeys(f.subject.rpartition("/")[0] for f in findings):
        mine = {k[1:]: f for k, f in found.items() if k[0] == f"{model}/{ARMS[1]}"}
        part = {k[3]: f for k, f in mine.items() if k[:3] == ("utility", "clean", SPARSE)}
        if part:
            out.append(_judged(model, "sparse users", part, _LEAST, ARMS[2]))
        mine = {k[1:]: f for k, f in found.items() if k[0] == f"{model}/{BEHAVIOUR_ARMS[0]}"}
        part = {k[3]: f for k, f in mine.items() if k[:2] == ("behaviour", _EDITS)}
        about = ("behaviour", _EDITS, "all", "drop(ndcg@10)")
        drop = found.get((f"{model}/{ARMS[0]}", *about))
        if part:
            out.append(_judged_under_attack(model, part, drop))
        out += _of_negatives(model, found, drop)
    return out


def _of_negatives(
    model: str, found: Mapping[Identity, Finding], drop: Finding | None
) -> list[Verdict]:
    """All test users, then those whose histories are attacked, if any are."""
    mine = {k[1:]: f for k, f in found.items() if k[0] == f"{model}/{NEGATIVE_ARMS[0]}"}
    out = []
    if part := {k[3]: f for k, f in mine.items() if k[:3] == ("utility", "clean", "all")}:
        made = _judged(model, "hard negatives", part, _LEAST, NEGATIVE_ARMS[1])
        high = part["difference(ndcg@10)"].high
        out.append(replace(made, loss=high is not None and high < 0))
    if part := {k[3]: f for k, f in mine.items() if k[:2] == ("behaviour", _EDITS)}:
        question = "hard negatives, histories under attack"
        out.append(_judged_under_attack(model, part, drop, question, NEGATIVE_ARMS[1]))
    return out


def _judged_under_attack(
    model: str,
    of: dict[str, Finding],
    drop: Finding | None,
    question: str = "histories under attack",
    rival: str = BEHAVIOUR_ARMS[1],
) -> Verdict:
    """Without harm to the control there is nothing to gain, whatever the arm does."""
    if drop is None or drop.value is None or drop.value <= 0:
        why = "the attack does the control no harm"
        return Verdict(model=model, question=question, gain=False, why=why)
    return _judged(model, question, of, _LEAST_UNDER_ATTACK, rival)


def _judged(model: str, question: str, of: dict[str, Finding], least: float, rival: str) -> Verdict:
    over, price = of["difference(ndcg@10)"], of["price(ndcg@10)"].value
    beyond = of[f"difference(ndcg@10) to {rival}"]
    gain = False
    if over.value is None or price is None:
        why = of["price(ndcg@10)"].reason or over.reason
    elif over.low is None or over.low <= 0:
        why = f"NDCG@10 {over.value:+.4f} {_interval(over)}: not above 0 for certain"
    elif -price < least:
        why = f"{-price:+.1%}, less than {least:.0%}"
    elif beyond.low is None or beyond.low <= 0:
        why = f"{-price:+.1%}, but as many events by popularity do as well"
    else:
        gain, why = True, f"{-price:+.1%}, NDCG@10 {over.value:+.4f} {_interval(over)}"
    return Verdict(model=model, question=question, gain=gain, why=why)


def _interval(finding: Finding) -> str:
    if finding.low is None or finding.high is None:
        return "[no interval]"
    return f"[{finding.low:+.4f}, {finding.high:+.4f}]"


def tables(findings: Sequence[Finding], answers: Sequence[Verdict]) -> str:
    """Markdown: verdicts first, then every arm, clean and under attack."""
    lines = ["# Generated behaviour in training", ""]
    lines += [f"- {verdict.line()}" for verdict in answers]
    lines += ["", "| arm | users | NDCG@10 | to control | to random |", "|---|---|---|---|---|"]
    clean = [f for f in findings if f.audit == "utility"]
    for subject, group in dict.fromkeys((f.subject, f.group) for f in clean):
        of = {f.metric: f for f in clean if (f.subject, f.group) == (subject, group)}
        lines.append(_row([subject, f"{group} ({of['ndcg@10'].n})"], of))
    rows = [f for f in findings if f.audit == "behaviour"]
    if rows:
        lines += ["", "| arm | histories | NDCG@10 | to control | to random | events replaced |",
                  "|---|---|---|---|---|---|"]  # fmt: skip
    for subject, trial in dict.fromkeys((f.subject, f.trial) for f in rows):
        of = {f.metric: f for f in rows if (f.subject, f.trial) == (subject, trial)}
        events = of["events"].value
        spent = "–" if events is None else f"{events:.2f}"
        lines.append(f"{_row([subject, trial], of)} {spent} |")
    false = [f for f in findings if f.audit == "false-negatives" and f.value is not None]
    if false:
        lines += ["", "| arm | negatives that are the held-out item |", "|---|---|"]
    lines += [f"| {f.subject} ({f.n}) | {f.value:.3%} |" for f in false]
    return "\n".join(lines) + "\n"


def _row(first: list[str], of: dict[str, Finding]) -> str:
    """first: the subject, then what else names the row."""
    value, rival = of["ndcg@10"].value, RIVALS.get(first[0].rpartition("/")[2], "")
    cells = [*first, "–" if value is None else f"{value:.4f}"]
    for metric in ("difference(ndcg@10)", f"difference(ndcg@10) to {rival}"):
        found = of.get(metric)
        known = found is not None and found.value is not None
        cells.append(f"{found.value:+.4f} {_interval(found)}" if known and found else "–")
    return f"| {' | '.join(cells)} |"
