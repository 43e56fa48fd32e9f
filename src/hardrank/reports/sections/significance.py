"""Every hardened arm against the control, over every attack: is the difference more than luck?"""

from dataclasses import dataclass

from hardrank.findings import Finding, holm
from hardrank.reports.evidence import CONTROL, Evidence
from hardrank.reports.layout import attack_label, number_cell, section, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import metric_k, percent, relative
from hardrank.reports.table import named

__all__ = ["Compared", "compared", "significance_section", "told"]

_LEVEL = 0.05
"""Of the whole table: the chance that any of its words is wrong where nothing differs."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One attack, one arm beside the control."""

    arm: str
    trial: str
    control: Finding | None
    hardened: Finding | None
    effect: Finding | None
    """Share of the control's gain that is gone."""
    p: float | None
    adjusted: float | None = None
    """By Holm over all rows."""

    @property
    def verdict(self) -> str:
        """`gain`, `none` or `loss`; empty without an interval."""
        return told(self.effect, self.adjusted)


def told(effect: Finding | None, p: float | None) -> str:
    """`gain` (less is won by the attacker) or `loss` where the 95 % interval of the effect
    excludes 0 and p, corrected, is below 0.05; else `none`. Empty where either is missing."""
    if effect is None or effect.low is None or effect.high is None or p is None:
        return ""
    if p >= _LEVEL:
        return "none"
    return "gain" if effect.low > 0 else "loss" if effect.high < 0 else "none"


def compared(evidence: Evidence) -> tuple[Compared, ...]:
    """Arms in file order, each with its attacks; the worst case over all of them first."""
    rows = []
    for arm in evidence.arms:
        if arm == CONTROL:
            continue
        mine = [f for f in evidence.findings if f.subject == evidence.subject(arm)]
        tested = [f for f in mine if f.metric == "p_value"]
        for p in sorted(tested, key=lambda f: f.audit != "worst-case"):
            rows.append(_compared(evidence, arm, p))
    known = [n for n, row in enumerate(rows) if row.p is not None]
    for n, adjusted in zip(known, holm([rows[n].p or 0.0 for n in known]), strict=True):
        rows[n] = _with(rows[n], adjusted)
    return tuple(rows)


def _compared(evidence: Evidence, arm: str, p: Finding) -> Compared:
    sides = [
        evidence.of(p.audit, subject=evidence.subject(a), trial=p.trial) for a in (CONTROL, arm)
    ]
    return Compared(
        arm=arm, trial=p.trial, control=named(sides[0], "er_gain"),
        hardened=named(sides[1], "er_gain"), effect=named(sides[1], "defence_effect"), p=p.value,
    )  # fmt: skip


def _with(row: Compared, adjusted: float) -> Compared:
    return Compared(**{**vars(row), "adjusted": adjusted})


def significance_section(evidence: Evidence) -> Html:
    rows = compared(evidence)
    if not rows:
        return Html("")
    lead = (
        "Exposure gain of each attack on the control and on each hardened arm. p: a paired "
        "sign-flip test over targets; corrected by Holm over every row, so that one of many "
        "does not look real by luck. The word needs both: an interval without 0 and a "
        "corrected p below 0.05."
    )
    body: list[Html] = []
    for arm in dict.fromkeys(row.arm for row in rows):
        heading = tag("th", evidence.shown(arm), colspan=7, scope="rowgroup")
        body.append(tag("tr", heading, class_="group"))
        body += [_row(row) for row in rows if row.arm == arm]
    head = ["Attack", "Gain, control", "Gain, hardened", "Removed", "p", "p, Holm", "Verdict"]
    made = table("Every arm against the control", head, body, "numbers compared")
    title = "Every arm against the control"
    return section("significance", title, lead, made, _quality(evidence))


def _row(row: Compared) -> Html:
    return tag(
        "tr", tag("th", attack_label(row.trial), scope="row"),
        number_cell(row.control, percent, seeds=False),
        number_cell(row.hardened, percent, seeds=False),
        number_cell(row.effect, relative, seeds=False),
        _chance(row.p), _chance(row.adjusted), _word(row.verdict),
    )  # fmt: skip


def _quality(evidence: Evidence) -> Html:
    """What it costs: gain, none or loss of clean quality, and whether the margin is kept."""
    body = []
    for arm in evidence.arms:
        rows = evidence.of("utility", subject=evidence.subject(arm))
        for price in (f for f in rows if metric_k(f.metric)[0].startswith("price")):
            same = [f for f in rows if f.group == price.group]
            tested = next((f for f in same if f.metric.startswith("p_noninferior")), None)
            body.append(_cost(evidence.shown(arm), price, tested))
    if not body:
        return Html("")
    head = ["Arm", "Items", "Loss of NDCG@10", "Margin", "p of a larger loss", "Verdict"]
    return tag(
        "div", tag("h3", "And clean quality"),
        tag("p", "Non-inferiority: below 0.05, a loss as large as the margin is ruled out.",
            class_="lead"),
        table("Clean quality against the control", head, body, "numbers compared"),
    )  # fmt: skip


def _cost(arm: str, price: Finding, tested: Finding | None) -> Html:
    margin = tested.metric.partition("@")[2] if tested is not None else ""
    word = ""
    if price.low is not None and price.high is not None:
        word = "loss" if price.low > 0 else "gain" if price.high < 0 else "none"
    return tag(
        "tr", tag("th", arm, scope="row"), tag("td", price.group, class_="num"),
        number_cell(price, relative, seeds=False),
        tag("td", relative(float(margin)) if margin else "–", class_="num"),
        _chance(tested.value if tested is not None else None), _word(word),
    )  # fmt: skip


def _chance(p: float | None) -> Html:
    shown = "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
    return tag("td", shown, class_="num")


def _word(word: str) -> Html:
    kind = {"gain": "small judged good", "loss": "small judged bad"}.get(word, "small")
    return tag("td", tag("span", word or "no interval", class_=kind), class_="num")
