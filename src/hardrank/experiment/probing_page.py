"""The page of `hardrank gan probe`: regions, how often each fails, and examples."""

from collections.abc import Mapping, Sequence
from typing import Any

from hardrank.reports.document import document
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import decimal, percent
from hardrank.reports.scales import Linear, nice_ticks
from hardrank.reports.svg import bottom_axis, chart, mark, rule, text

__all__ = ["probe_page", "region_lines"]

_LEFT, _RIGHT, _ROW = 110, 700, 34
_FIELDS = 4
_FAILURES = {
    "changes": "the top {k} has an overlap (RBO) below {overlap} with the one before",
    "leaves": "the held-out item was in the top {k} and is not any more",
    "misses": "the held-out item is not in the top {k}",
}


def region_lines(findings: Mapping[str, Any]) -> list[str]:
    """What the terminal shows: the verdict, then a line a region, worst first."""
    lines = [findings["verdict"]]
    if findings["regions"]:
        lines.append(f"{'region':>6} {'fails':>7} {'95 %':>16} {'draws':>6} {'share':>6}  more of")
    for r in findings["regions"]:
        typical = ", ".join(f"{_title(t)} ({t['lift']:.1f})" for t in r["typical"][:3])
        known = r["rate"] is not None
        rate = f"{r['rate']:>7.1%}" if known else f"{'–':>7}"
        around = f"{r['low']:.1%} to {r['high']:.1%}" if known else ""
        share = f"{r['share']:.1%}" if r["share"] is not None else "–"
        lines.append(f"{r['region']:>6} {rate} {around:>16} {r['draws']:>6} {share:>6}  {typical}")
    if "repair" in findings:
        made = findings["repair"]
        lines.append(f"repair {'held' if made['passed'] else 'did not hold'}: {made['why']}")
    return lines


def probe_page(findings: Mapping[str, Any]) -> str:
    """A whole HTML document without scripts or requests, from `findings.json`."""
    about, regions = findings["overall"], findings["regions"]
    facts = (
        f"{findings['model']}; {about['draws']} draws of {about['users']} users in the measuring "
        f"half, {findings['draws_per_user']} each; at least {percent(findings['keep'])} of a "
        "history stays"
    )
    failure = _FAILURES[findings["failure"]].format(**findings)
    lead = (
        f"A draw fails if {failure}. Regions are clusters of failures, drawn up on one half of "
        "the users; every number is of the other half. Worst first, by the first half."
    )
    parts = [tag("section", tag("h2", "Regions of failure"), tag("p", findings["verdict"]),
                 tag("p", lead, class_="note"))]  # fmt: skip
    if regions:
        parts += [
            tag("section", tag("h2", "Failure rate"), _rates(about, regions)),
            tag("section", tag("h2", "What the regions are"), _table(about, regions)),
            tag("section", tag("h2", "Examples"), *(_examples(r) for r in regions)),
        ]
    if "repair" in findings:
        parts.append(tag("section", tag("h2", "Repair"), *_repair(findings["repair"])))
    return document(
        findings["name"], "Where a recommender fails", facts, *parts,
        synthetic=bool(findings.get("synthetic")),
    )  # fmt: skip


def _rates(about: Mapping[str, Any], regions: Sequence[Mapping[str, Any]]) -> Html:
    """A row a region: rate and interval; the line is the rate of all draws."""
    known = [r for r in regions if r["rate"] is not None]
    top = max([about["rate"] or 0.0, *(r["high"] for r in known)])
    ticks = nice_ticks(0.0, min(max(top, 1e-3), 1.0))
    across, bottom = Linear(ticks[0], ticks[-1], _LEFT, _RIGHT), 26 + _ROW * len(regions)
    drawn = [rule(across(v), 20, across(v), bottom) for v in ticks]
    drawn.append(bottom_axis([(v, across(v)) for v in ticks], bottom, percent,
                             "share of the draws that fail", (_LEFT + _RIGHT) / 2))  # fmt: skip
    if about["rate"] is not None:
        x = across(about["rate"])
        drawn.append(rule(x, 16, x, bottom, "whisker"))
        drawn.append(text(x + 4, 14, f"all draws {percent(about['rate'])}", "label", "start"))
    for place, region in enumerate(regions):
        y = 26 + _ROW * (place + 0.5)
        drawn.append(text(_LEFT - 10, y + 4, f"region {region['region']}", "label", "end"))
        if region["rate"] is None:
            drawn.append(text(_LEFT + 6, y + 4, "no draw here", "tick", "start"))
            continue
        ends = across(region["low"]), across(region["high"])
        drawn.append(tag("g", rule(ends[0], y, ends[1], y, "thick"), class_="hardened"))
        drawn.append(mark(across(region["rate"]), y, "hardened", percent(region["rate"]), 5))
    said = "Failure rate of each region with its 95 % interval, beside the rate of all draws."
    return chart(720, bottom + 44, "Failure rate by region", said, *drawn)


def _table(about: Mapping[str, Any], regions: Sequence[Mapping[str, Any]]) -> Html:
    heads = ("region", "fails", "draws (users)", "of all failures", "lost per changed event",
             "its histories hold more of", "what else differs (all draws)")  # fmt: skip
    head = tag("thead", tag("tr", [tag("th", h, scope="col") for h in heads]))
    made = tag("table", head, tag("tbody", [_row(about, r) for r in regions]))
    note = (
        "Lost per changed event: overlap of the list (1 less RBO) over events that were replaced. "
        "In brackets how many times as often as in all draws."
    )
    return tag("div", tag("div", made, class_="scroll", role="region", tabindex=0,
                          aria_label="Regions"), tag("p", note, class_="note"))  # fmt: skip


def _row(about: Mapping[str, Any], region: Mapping[str, Any]) -> Html:
    typical = ", ".join(f"{_title(t)} ({t['lift']:.1f})" for t in region["typical"])
    return tag(
        "tr", tag("th", str(region["region"]), scope="row"),
        tag("td", tag("span", _rate(region), class_="value"),
            tag("span", _range(region), class_="small")),
        tag("td", f"{region['draws']} ({region['users']})"),
        tag("td", "–" if region["share"] is None else percent(region["share"])),
        tag("td", "–" if region["sensitivity"] is None else decimal(region["sensitivity"])),
        tag("td", typical or "–"), tag("td", _fields(about["fields"], region["fields"]) or "–"),
    )  # fmt: skip


def _fields(everyone: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """The fields whose mean is furthest from that of all draws, as a share of it."""
    known = [(n, v, everyone[n]) for n, v in own.items() if v is not None and everyone[n]]
    known.sort(key=lambda f: (-abs(f[1] / f[2] - 1), f[0]))
    return ", ".join(f"{n} {v:.2f} ({whole:.2f})" for n, v, whole in known[:_FIELDS])


def _examples(region: Mapping[str, Any]) -> Html:
    lines = []
    for e in region["examples"]:
        gone, came = (", ".join(_title(i) for i in e[what]) or "nothing"
                      for what in ("left", "came"))  # fmt: skip
        moved = f"held-out item {e['rank_before']} → {e['rank_after']}, RBO {e['rbo']:.2f}"
        lines.append(tag("li", tag("b", f"user {e['user_id']}"), f", {e['changed']} events "
                         f"replaced: {moved}. Out: {gone}. In: {came}."))  # fmt: skip
    body = tag("ul", lines) if lines else tag("p", "No failure in the measuring half.")
    return tag("div", tag("h3", f"Region {region['region']}: {_rate(region)}"), body)


def _repair(made: Mapping[str, Any]) -> list[Html]:
    rows = [
        tag("tr", tag("th", str(b["region"]), scope="row"), tag("td", f"{_rate(b)} ({_range(b)})"),
            tag("td", f"{_rate(a)} ({_range(a)})"))
        for b, a in zip(made["before"], made["after"], strict=True)
    ]  # fmt: skip
    heads = ("region", "fails before", "fails after")
    head = tag("thead", tag("tr", [tag("th", h, scope="col") for h in heads]))
    lead = (
        f"Trained again with tampered copies of {made['copies']} users, both asked with fresh "
        f"draws. Clean NDCG@10 {made['clean_before']:.4f} before, {made['clean_after']:.4f} after."
    )
    return [
        tag("p", f"{'Held' if made['passed'] else 'Did not hold'}: {made['why']}."),
        tag("p", lead, class_="note"),
        tag("div", tag("table", head, tag("tbody", rows)), class_="scroll", role="region",
            tabindex=0, aria_label="Repair"),
    ]  # fmt: skip


def _title(item: Mapping[str, Any]) -> str:
    return str(item["title"] or item["item_id"])


def _rate(region: Mapping[str, Any]) -> str:
    return "–" if region["rate"] is None else percent(region["rate"])


def _range(region: Mapping[str, Any]) -> str:
    if region["rate"] is None:
        return ""
    return f"{percent(region['low'])} to {percent(region['high'])}"
