"""Small charts by hand: a frame with title and description, axes, lines, bands, marks.

Colours and fonts come from the page's style sheet through classes (`control`, `hardened`),
so that a chart follows light, dark and print. Arms differ in shape as well as in colour.
"""

from collections.abc import Sequence

from hardrank.files import digest_bytes
from hardrank.reports.evidence import CONTROL
from hardrank.reports.markup import Html, join, tag
from hardrank.reports.numbers import Spell, axis

__all__ = ["band", "bottom_axis", "chart", "left_axis", "line", "mark", "rule", "text"]

Point = tuple[float, float]


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def chart(width: int, height: int, title: str, description: str, *children: Html) -> Html:
    """An image with a name and a description for those who do not see it."""
    key = digest_bytes(title.encode(), description.encode())[:10]
    return tag(
        "svg",
        tag("title", title, id=f"t{key}"),
        tag("desc", description, id=f"d{key}"),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_labelledby=f"t{key} d{key}",
    )


def text(x: float, y: float, words: str, class_: str = "tick", anchor: str = "middle") -> Html:
    return tag("text", words, x=_px(x), y=_px(y), class_=class_, text_anchor=anchor)


def rule(x1: float, y1: float, x2: float, y2: float, class_: str = "grid") -> Html:
    return tag("line", x1=_px(x1), y1=_px(y1), x2=_px(x2), y2=_px(y2), class_=class_)


def line(points: Sequence[Point], class_: str) -> Html:
    drawn = " ".join(f"{_px(x)},{_px(y)}" for x, y in points)
    return tag("polyline", points=drawn, class_=f"line {class_}")


def band(uppers: Sequence[Point], lowers: Sequence[Point], class_: str) -> Html:
    """Area between two lines over the same x."""
    drawn = " ".join(f"{_px(x)},{_px(y)}" for x, y in (*uppers, *reversed(lowers)))
    return tag("polygon", points=drawn, class_=f"band {class_}")


def mark(x: float, y: float, arm: str, hint: str = "", size: float = 3.6) -> Html:
    """A circle for the control, a square for the hardened arm; `hint` shows on hover."""
    inside = [tag("title", hint)] if hint else []
    if arm == CONTROL:
        return tag("circle", inside, cx=_px(x), cy=_px(y), r=size, class_=f"mark {arm}")
    side = size * 1.8
    corner = {"x": _px(x - side / 2), "y": _px(y - side / 2)}
    return tag("rect", inside, **corner, width=_px(side), height=_px(side), class_=f"mark {arm}")


def left_axis(ticks: Sequence[tuple[float, float]], x: float, right: float, spell: Spell) -> Html:
    """Horizontal grid lines from `x` to `right` at (value, pixel) pairs, labels to the left."""
    lines = [rule(x, y, right, y) for _, y in ticks]
    names = zip(ticks, axis([v for v, _ in ticks], spell), strict=True)
    return join([*lines, *(text(x - 6, y + 4, name, anchor="end") for (_, y), name in names)])


def _apart(names: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Labels that do not run into the one before: about 6 pixels a character at 11 px."""
    kept: list[tuple[float, str]] = []
    for x, name in names:
        if not kept or x - kept[-1][0] >= 3.1 * (len(name) + len(kept[-1][1])) + 4:
            kept.append((x, name))
    return kept


def bottom_axis(
    ticks: Sequence[tuple[float, float]], y: float, spell: Spell | None, label: str, middle: float
) -> Html:
    """Labels below `y` at (value, pixel) pairs and the axis' name below them; without
    `spell`, values as they are. A label that would touch the one before is left out."""
    stubs = [rule(x, y, x, y + 4, "axis") for _, x in ticks]
    values = [v for v, _ in ticks]
    labels = axis(values, spell) if spell else [f"{v:g}" for v in values]
    placed = _apart([(x, name) for (_, x), name in zip(ticks, labels, strict=True)])
    names = [text(x, y + 17, name) for x, name in placed]
    return join([*stubs, *names, text(middle, y + 35, label, "label")])
