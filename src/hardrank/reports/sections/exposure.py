"""What each attack did to each target: exposure before and after, and positions gained."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.layout import attack_label, figure, legend, section
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import count, percent
from hardrank.reports.scales import Linear, nice_ticks, padded
from hardrank.reports.svg import bottom_axis, chart, left_axis, mark, rule, text
from hardrank.reports.words import attack_name

__all__ = ["exposure_section"]

_WIDTH, _HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 346, 12, 206


@dataclass(frozen=True)
class Target:
    """One item under one attack on one arm, averaged over seeds."""

    item: str
    before: float
    after: float
    gained: float
    """Positions: mean rank before minus after."""


def exposure_section(evidence: Evidence) -> Html:
    trials = _trials(evidence)
    if not trials:
        return Html("")
    top = max(t.after for arms in trials.values() for ts in arms.values() for t in ts)
    dots = [_dots(trial, arms, top) for trial, arms in trials.items()]
    gained = [t.gained for arms in trials.values() for ts in arms.values() for t in ts]
    span = padded(gained, floor=0.0)
    shifts = [_shifts(trial, found, span) for trial, found in trials.items()]
    arms = [a for a in (CONTROL, HARDENED) if any(a in found for found in trials.values())]
    return section(
        "targets",
        "Every target",
        "Each column is one attacked item, sorted by its exposure after the attack on the control; "
        "the stem runs from its exposure before to its exposure after. Means over seeds.",
        legend(arms),
        tag("div", dots, class_="panels"),
        tag("h3", "Positions gained"),
        tag("p", "Mean rank before minus after, over eligible users. Thin line: 10th to 90th "
            "percentile of targets; thick: the middle half; mark: the median.", class_="lead"),
        tag("div", shifts, class_="panels"),
    )  # fmt: skip


def _trials(evidence: Evidence) -> dict[str, dict[str, list[Target]]]:
    rows = evidence.rows("promotion")
    needed = {"subject", "trial", "sample", "eligible", "hits_before", "hits_after"}
    if not needed | {"rank_before", "rank_after"} <= set(rows.columns):
        return {}
    means = (
        rows.filter(pl.col("hits_after").is_not_null() & (pl.col("eligible") > 0))
        .group_by("subject", "trial", "sample", maintain_order=True)
        .agg(
            before=(pl.col("hits_before") / pl.col("eligible")).mean(),
            after=(pl.col("hits_after") / pl.col("eligible")).mean(),
            gained=(pl.col("rank_before") - pl.col("rank_after")).mean(),
        )
    )
    out: dict[str, dict[str, list[Target]]] = {}
    for row in means.iter_rows(named=True):
        model, _, arm = row["subject"].partition("/")
        if model == evidence.model and arm in (CONTROL, HARDENED):
            target = Target(row["sample"], row["before"], row["after"], row["gained"] or 0.0)
            out.setdefault(row["trial"], {}).setdefault(arm, []).append(target)
    return out


def _dots(trial: str, arms: dict[str, list[Target]], top: float) -> Html:
    lead = arms.get(CONTROL) or next(iter(arms.values()))
    order = {t.item: i for i, t in enumerate(sorted(lead, key=lambda t: (-t.after, t.item)))}
    for found in arms.values():
        for t in found:
            order.setdefault(t.item, len(order))
    marks = nice_ticks(0.0, top, wanted=4)
    y = Linear(marks[0], marks[-1], _BOTTOM, _TOP)
    x = Linear(-0.5, max(len(order) - 0.5, 0.5), _LEFT, _RIGHT)
    step = min(3.4, (_RIGHT - _LEFT) / len(order) * 0.2)
    size, cap = min(3.0, max(1.4, step * 1.1)), min(2.5, step)
    drawn = [left_axis([(v, y(v)) for v in marks], _LEFT, _RIGHT, percent)]
    for arm, offset in ((CONTROL, -step), (HARDENED, step)):
        for t in arms.get(arm, []):
            at = x(order[t.item]) + (offset if len(arms) > 1 else 0.0)
            hint = f"{t.item}, {arm}: {percent(t.before)} to {percent(t.after)}"
            drawn.append(rule(at, y(t.before), at, y(t.after), f"stem {arm}"))
            drawn.append(rule(at - cap, y(t.before), at + cap, y(t.before), f"stem {arm}"))
            drawn.append(mark(at, y(t.after), arm, hint, size=size))
    middle = (_LEFT + _RIGHT) / 2
    drawn.append(text(middle, _BOTTOM + 20, f"{len(order)} targets, most exposed first", "label"))
    image = chart(
        _WIDTH, _HEIGHT - 14, f"Exposure of each target under {attack_name(trial)}",
        _said(arms), *drawn,
    )  # fmt: skip
    caption = [tag("b", attack_label(trial)), tag("span", "Exposure per target", class_="small")]
    return figure(caption, image)


def _said(arms: dict[str, list[Target]]) -> str:
    parts = []
    for arm, found in arms.items():
        mean = sum(t.after for t in found) / len(found)
        parts.append(f"{arm}: mean {percent(mean)}, highest {percent(max(t.after for t in found))}")
    return "After the attack, " + "; ".join(parts)


def quantile(values: Sequence[float], share: float) -> float:
    """Linear between order statistics (type 7). values: non-empty."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _shifts(trial: str, arms: dict[str, list[Target]], span: tuple[float, float]) -> Html:
    marks = nice_ticks(*span, wanted=4)
    x = Linear(marks[0], marks[-1], 74, _RIGHT - 14)
    bottom = 20 + 34 * len(arms)
    drawn = [rule(x(v), 8, x(v), bottom) for v in marks]
    drawn.append(rule(x(0.0), 8, x(0.0), bottom, "axis"))
    said = []
    for row, arm in enumerate(a for a in (CONTROL, HARDENED) if a in arms):
        gained = [t.gained for t in arms[arm]]
        low, q1, median, q3, high = (quantile(gained, s) for s in (0.1, 0.25, 0.5, 0.75, 0.9))
        y = 26.0 + 34 * row
        drawn.append(text(66, y + 4, arm, "tick", "end"))
        drawn.append(rule(x(low), y, x(high), y, f"thin {arm}"))
        drawn.append(rule(x(q1), y, x(q3), y, f"thick {arm}"))
        drawn.append(mark(x(median), y, arm, f"{arm}: median {count(median)}", size=5))
        said.append(f"{arm}: median {count(median)}, middle half {count(q1)} to {count(q3)}")
    axis = bottom_axis([(v, x(v)) for v in marks], bottom, count, "positions gained", 203)
    image = chart(_WIDTH, bottom + 44, f"Positions gained under {attack_name(trial)}",
                  "; ".join(said), *drawn, axis)  # fmt: skip
    return figure(tag("b", attack_label(trial)), image)
