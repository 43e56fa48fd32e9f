"""The page in a challenger's bundle: both models' figures, what newcomers did, the decision."""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import Any

from hardrank.reports.document import document
from hardrank.reports.evidence import CONTROL, HARDENED
from hardrank.reports.layout import figure, note, section, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import count, decimal, percent, relative, signed
from hardrank.reports.retraining_growth import growth_section
from hardrank.reports.scales import Linear
from hardrank.reports.svg import bottom_axis, chart, left_axis, line, mark, text

__all__ = ["Moved", "retraining_page"]

Moved = tuple[str, float, float]
"""Item id, share of lists without new accounts, share of lists in the challenger."""

_WHO = {"known": "users known from before", "all": "all users"}
_DOTS = 1_000
_TICKS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 396, 12, 352
_STYLE = ".line.even { stroke: var(--rule); stroke-width: 1; fill: none; }"


def retraining_page(
    name: str, facts: Mapping[str, Any], moved: Iterable[Moved], *, synthetic: bool = False
) -> str:
    """A whole HTML document that names items and no user. facts: as in the bundle's
    `spec.json` under `retraining`."""
    reasons = [str(reason) for reason in facts["reasons"]]
    return document(
        name, "Hardrank retraining", f"compared with the bundle {facts['champion'][:12]}",
        _verdict(bool(facts["promote"]), reasons), _figures(facts), _exposure(facts, moved),
        growth_section(facts.get("growth")), _screen(facts), synthetic=synthetic, style=_STYLE,
        footer="Made by Hardrank; the same figures are in spec.json.",
    )  # fmt: skip


def _verdict(promote: bool, reasons: Sequence[str]) -> Html:
    sign, kind = ("✓", "good") if promote else ("✕", "bad")
    words = "May take the champion's place" if promote else "Refused"
    badge = tag("span", sign, class_="sign", aria_hidden="true")
    return tag(
        "section", tag("h2", badge, words, class_=f"status {kind}", id="verdict-title"),
        tag("ul", [tag("li", reason) for reason in reasons]),
        id="verdict", class_=f"verdict {kind}", aria_labelledby="verdict-title",
    )  # fmt: skip


def _figures(facts: Mapping[str, Any]) -> Html:
    old, new = facts["figures"]["champion"], facts["figures"]["challenger"]
    quality = facts["quality"]
    decides = quality["decides"]
    asked = sorted(_WHO, key=lambda name: name != decides)
    rows = [_quality(name, quality[name]) for name in asked if quality[name]["queries"]]
    for attack in dict.fromkeys([*old["attacks"], *new["attacks"]]):
        both = [model["attacks"].get(attack) for model in (old, new)]
        cells = ["not measured" if share is None else percent(share) for share in both]
        moved = "–" if None in both else signed(percent)(both[1] - both[0])
        rows.append(_row(f"{attack}, success", *cells, moved))
    silent = [a for a in facts["unmeasured"] if a not in old["attacks"] | new["attacks"]]
    rows += [_row(f"{attack}, success", "not measured", "not measured", "–") for attack in silent]
    few = "" if decides == "known" else f", since too few events are of {_WHO['known']}"
    return section(
        "figures", "Champion and challenger",
        f"NDCG@10 on new events that neither learned from: that of {_WHO[decides]} decides{few}. "
        "Attacks on the same items, users and seeds.",
        table("Figures of both", ["", "Champion", "Challenger", "Change"], rows),
    )  # fmt: skip


def _quality(name: str, found: Mapping[str, Any]) -> Html:
    old, new = found["champion"], found["challenger"]
    change = signed(relative)(new / old - 1) if old else "–"
    who = f"NDCG@10, {count(found['queries'])} events of {_WHO[name]}"
    return _row(who, decimal(old), decimal(new), change)


def _exposure(facts: Mapping[str, Any], moved: Iterable[Moved]) -> Html:
    named = [r for r in facts["reasons"] if r.startswith("item '")]
    shown = [m for m in moved if m[1] or m[2]]
    listed = [
        _row(item["item_id"], *(percent(item[n]) for n in ("champion", "without", "challenger")))
        for item in facts["surging"]
    ]
    body = [
        table("Items that new accounts raise most",
              ["Item", "Champion", "Without new accounts", "Challenger"], listed)
    ] if listed else [note("No item gains lists through new accounts.")]  # fmt: skip
    drawn = [_plot(shown, named)] if shown else []
    twice = (
        "The challenger was trained twice, with the events of new accounts and without: above the "
        "line is what they raise. Squares are items that the decision names."
        if any(before != after for _, before, after in shown)
        else "Nothing tells what new accounts do: there are none, or nobody asked."
    )
    lead = f"Share of the lists of users known from before who never touched the item. {twice}"
    return section("exposure", "What new accounts change", lead, drawn, body)


def _plot(moved: Sequence[Moved], named: Sequence[str]) -> Html:
    order = sorted(moved, key=lambda m: (-abs(sqrt(m[2]) - sqrt(m[1])), m[0]))[:_DOTS]
    top = next(t for t in _TICKS[1:] if t >= max(max(m[1:]) for m in order) - 1e-12)
    x, y = Linear(0, sqrt(top), _LEFT, _RIGHT), Linear(0, sqrt(top), _BOTTOM, _TOP)
    ticks = [t for t in _TICKS if t <= top]
    dots = []
    for item, before, after in reversed(order):  # the largest changes on top
        told = any(reason.startswith(f"item '{item}' ") for reason in named)
        hint = f"{item}: {percent(before)} without new accounts, {percent(after)} with them"
        arm = HARDENED if told else CONTROL
        dots.append(mark(x(sqrt(before)), y(sqrt(after)), arm, hint, size=4.5 if told else 3))
    image = chart(
        _RIGHT + 14, _BOTTOM + 46, "Share of lists with and without new accounts",
        f"{len(order)} items, {len(named)} of them named by the decision",
        left_axis([(t, y(sqrt(t))) for t in ticks], _LEFT, _RIGHT, percent),
        line([(x(0), y(0)), (x(sqrt(top)), y(sqrt(top)))], "even"), *dots,
        bottom_axis([(t, x(sqrt(t))) for t in ticks], _BOTTOM, percent, "without new accounts",
                    (_LEFT + _RIGHT) / 2),
        text(_LEFT + 6, _TOP + 12, "challenger", "label", "start"),
    )  # fmt: skip
    left = len(moved) - len(order)
    more = note(f"{left} items that moved least are not drawn.") if left else Html("")
    return figure(tag("b", "Every item that is in any list"), image, more)


def _screen(facts: Mapping[str, Any]) -> Html:
    rows = [
        _row("Users with new events who were judged", count(facts["judged"])),
        _row("Of them kept out", count(facts["flagged"])),
        _row("Events on items of no catalogue, not read", count(facts["dropped"])),
    ]
    return section(
        "screen", "Who was kept out",
        f"Judged by '{facts['detector']}'. Training began {facts['began']}.",
        table("Users and events", ["", "Number"], rows),
    )  # fmt: skip


def _row(first: str, *cells: str) -> Html:
    return tag("tr", tag("th", first, scope="row"), [tag("td", c, class_="num") for c in cells])
