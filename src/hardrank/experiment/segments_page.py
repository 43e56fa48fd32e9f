"""The page of `hardrank gan segments`."""

from collections.abc import Mapping
from typing import Any

from hardrank.reports.document import document
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import count, decimal, percent, signed
from hardrank.reports.scales import Linear, nice_ticks
from hardrank.reports.svg import bottom_axis, chart, left_axis, line, mark, text

__all__ = ["segment_lines", "segments_page"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 700, 34, 230
_LISTED = 6


def segment_lines(facts: Mapping[str, Any]) -> list[str]:
    """What the terminal shows: a line a segment, then what they are worth."""
    lines = [f"{'segment':>7} {'users':>6} {'cohesion':>8}  more of (lift)"]
    for s in facts["segments"]:
        items = ", ".join(f"{_title(i)} ({i['lift']:.1f})" for i in s["items"][:3])
        lines.append(f"{s['number']:>7} {s['users']:>6} {s['cohesion']:>8.2f}  {items}")
    for encoder, worth in facts["worth"].items():
        lines.append(f"{encoder}: {_worth(worth)}")
    return [*lines, *(g["line"] for g in facts["ranking"])]


def segments_page(facts: Mapping[str, Any]) -> str:
    """A whole HTML document without scripts or requests, from `segments.json`."""
    users = sum(s["users"] for s in facts["segments"])
    about = f"{len(facts['segments'])} segments of {users} users, found by: {facts['encoder']}"
    parts = [
        tag("section", tag("h2", "Segments"), tag("p", _LEAD, class_="note"), _segments(facts)),
        tag("section", tag("h2", "Worth"), tag("p", _WORTH, class_="note"), _worths(facts)),
    ]
    if facts["tried"]:
        parts.insert(1, tag("section", tag("h2", "How many"), _tried(facts["tried"])))
    if facts["ranking"]:
        parts.append(tag("section", tag("h2", "As a feature for ranking"), _ranking(facts)))
    return document(
        facts["name"], "Segments of users", about, *parts, synthetic=bool(facts["synthetic"])
    )


_LEAD = (
    "Cohesion is the mean silhouette of the users' vectors: 1 apart from all others, near 0 "
    "melting into a neighbour. In brackets the lift: how many times as many of the segment's users "
    "have the item as of all users."
)
_WORTH = (
    "Each encoder was trained on either half of the users and tried on the other. Stability: the "
    "adjusted Rand index of both trainings' segments, 0 what chance gives. Bits: what it saves per "
    "event of a stranger to know the segment, found from half of the items; 0 or below is nothing."
)


def _segments(facts: Mapping[str, Any]) -> Html:
    rows = [
        tag("tr", tag("th", str(s["number"]), scope="row"), tag("td", str(s["users"])),
            tag("td", percent(s["share"])), tag("td", decimal(s["cohesion"])),
            tag("td", count(s["mean_length"])),
            tag("td", ", ".join(f"{_title(i)} ({i['lift']:.1f})" for i in s["items"][:_LISTED])
                or "nothing in particular"))
        for s in facts["segments"]
    ]  # fmt: skip
    heads = ("segment", "users", "share", "cohesion", "items of a user", "more of")
    return _table(heads, rows, "Segments")


def _worths(facts: Mapping[str, Any]) -> Html:
    rows = [
        tag("tr", tag("th", encoder, scope="row"), tag("td", decimal(w["stability"])),
            tag("td", f"{signed(decimal)(w['bits'])} ({signed(decimal)(w['bits_low'])} to "
                      f"{signed(decimal)(w['bits_high'])})"),
            tag("td", " and ".join(str(n) for n in w["segments"])))
        for encoder, w in facts["worth"].items()
    ]  # fmt: skip
    return _table(("encoder", "stability", "bits per event", "segments chosen"), rows, "Worth")


def _ranking(facts: Mapping[str, Any]) -> Html:
    rows = [
        tag("tr", tag("th", g["model"], scope="row"), tag("td", decimal(g["alone"])),
            tag("td", decimal(g["with_popularity"])), tag("td", decimal(g["with_segments"])),
            tag("td", f"{signed(decimal)(g['over_alone'][0])} "
                      f"({signed(decimal)(g['over_alone'][1])} to "
                      f"{signed(decimal)(g['over_alone'][2])})"),
            tag("td", "gain" if g["gain"] else "no gain"))
        for g in facts["ranking"]
    ]  # fmt: skip
    heads = ("model", "NDCG@10 alone", "with popularity", "with segments",
             "segments less alone (95 %)", "verdict")  # fmt: skip
    return _table(heads, rows, "Ranking")


def _tried(tried: Mapping[str, float]) -> Html:
    points = [(float(k), v) for k, v in tried.items()]
    xs = [k for k, _ in points]
    ys = nice_ticks(min(0.0, *(v for _, v in points)), max(v for _, v in points))
    across = Linear(min(xs) - 0.5, max(xs) + 0.5, _LEFT, _RIGHT)
    up = Linear(ys[0], ys[-1], _BOTTOM, _TOP)
    placed = [(across(k), up(v)) for k, v in points]
    drawn = [
        left_axis([(v, up(v)) for v in ys], _LEFT, _RIGHT, decimal),
        bottom_axis([(k, across(k)) for k in xs], _BOTTOM, None, "segments", (_LEFT + _RIGHT) / 2),
        text(_LEFT - 50, _TOP - 16, "silhouette of users who were held out", "label", "start"),
        line(placed, "hardened"),
        *(
            mark(x, y, "hardened", decimal(v))
            for (x, y), (_, v) in zip(placed, points, strict=True)
        ),
    ]
    said = "Mean silhouette of held-out users for each number of segments."
    return chart(720, 280, "Silhouette by number of segments", said, *drawn)


def _table(heads: tuple[str, ...], rows: list[Html], name: str) -> Html:
    head = tag("thead", tag("tr", [tag("th", h, scope="col") for h in heads]))
    made = tag("table", head, tag("tbody", rows))
    return tag("div", made, class_="scroll", role="region", tabindex=0, aria_label=name)


def _title(item: Mapping[str, Any]) -> str:
    return str(item["title"] or item["item_id"])


def _worth(worth: Mapping[str, Any]) -> str:
    return (
        f"stability {worth['stability']:.2f}, saves {worth['bits']:+.3f} "
        f"[{worth['bits_low']:+.3f}, {worth['bits_high']:+.3f}] bits per event of a stranger"
    )
