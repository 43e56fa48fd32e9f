"""The page of a tuning: what was recommended, every point clean by robust, a table of all."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardrank.reports.document import document
from hardrank.reports.layout import figure, note, section, table
from hardrank.reports.markup import Child, Html, tag
from hardrank.reports.numbers import decimal, percent, plain
from hardrank.reports.pareto_plot import STYLE, pareto_plot

__all__ = ["Choice", "Pareto", "pareto_page"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One point, or the control."""

    label: str
    """`control`, or the number of the point."""
    settings: tuple[tuple[str, str], ...]
    clean: float | None
    """NDCG@10."""
    robust: float | None
    """Exposure gain."""
    cost: float | None
    """Training time over the control's."""
    broken: tuple[str, ...] = ()
    """Limits that it does not keep, in words."""
    error: str = ""
    front: bool = False
    """No other point is at least as good in all three and better in one."""
    recommended: bool = False
    twin: int | None = None
    """An earlier point with the same settings."""

    @property
    def shown(self) -> bool:
        return self.clean is not None and self.robust is not None and self.twin is None


@dataclass(frozen=True, kw_only=True)
class Pareto:
    """All that the page is made of."""

    name: str
    synthetic: bool
    protocol: str
    threats: tuple[str, ...]
    seeds: tuple[int, ...]
    users: int
    """Validation users."""
    control: Choice
    choices: tuple[Choice, ...]
    floor: float | None
    """Least NDCG@10 that the price limit allows; None where there is no such limit."""
    price: float
    binding: str = ""
    """The limit that no point could keep, in words."""
    settled: str = ""
    """The recommended `[harden]`, as TOML."""


def pareto_page(pareto: Pareto) -> str:
    """A whole HTML document."""
    seeds = len(pareto.seeds)
    facts = (
        f"{len(pareto.choices)} points · {seeds} seed{'s' if seeds != 1 else ''} · "
        f"{pareto.users} validation users"
    )
    return document(
        pareto.name, "Hardrank tuning", facts, _verdict(pareto), _chart(pareto), _table(pareto),
        _method(pareto), synthetic=pareto.synthetic, style=STYLE,
        footer="Made by Hardrank from tune.json; every point's samples are in points/.",
    )  # fmt: skip


def _verdict(pareto: Pareto) -> Html:
    best = next((c for c in pareto.choices if c.recommended), None)
    if best is None:
        words: Child = [
            tag("p", "No point keeps every limit."),
            tag("p", f"The limit that binds is {pareto.binding}.") if pareto.binding else None,
        ]
        return _box("warn", "!", "Nothing to recommend", words)
    assert best.clean is not None and best.robust is not None
    control = pareto.control
    said = f"It brings NDCG@10 to {decimal(best.clean)} and exposure gain to {percent(best.robust)}"
    if control.clean is not None and control.robust is not None:
        said += f"; plain training has {decimal(control.clean)} and {percent(control.robust)}"
    worse = control.robust is not None and best.robust >= control.robust
    kind, sign = ("warn", "!") if worse else ("good", "✓")
    caveat = "It is no more robust than plain training." if worse else None
    words = [
        tag("p", f"{said}."), tag("p", caveat) if caveat else None, tag("pre", pareto.settled),
        note(
            "Chosen on validation events. What it is worth is measured on test events, on targets "
            "that were not looked at here, by: hardrank run recommended.toml"
        ),
    ]  # fmt: skip
    return _box(kind, sign, f"Point {best.label} is recommended", words)


def _box(kind: str, sign: str, title: str, words: Child) -> Html:
    heading = tag("h2", tag("span", sign, class_="sign", aria_hidden="true"), title,
                  class_="status", id="verdict-title")  # fmt: skip
    return tag("section", heading, words, class_=f"verdict {kind}", id="verdict",
               aria_labelledby="verdict-title")  # fmt: skip


def _chart(pareto: Pareto) -> Html:
    drawn = pareto_plot(pareto.choices, pareto.control, pareto.floor, pareto.price)
    if not drawn:
        return Html("")
    lead = (
        "Up is better clean ranking, left is less exposure gained by attackers. The line joins "
        "the points that no other one beats in both. Filled squares keep every limit, hollow "
        "ones break one; the circle is plain training, the ring is the recommendation."
    )
    caption = "Clean quality and robustness of every point"
    return section("plot", "What robustness costs", lead, figure(caption, drawn))


def _table(pareto: Pareto) -> Html:
    rows = [_row(pareto.control), *(_row(c) for c in _ordered(pareto.choices))]
    head = ["Point", "Settings", "NDCG@10", "Exposure gain", "Cost", "State"]
    lead = "The recommended point, then the front, then the others by exposure gain."
    made = table("All points, on validation users", head, rows, "points")
    return section("points", "All points", lead, made)


def _ordered(choices: Sequence[Choice]) -> list[Choice]:
    far = float("inf")
    return sorted(
        choices,
        key=lambda c: (not c.recommended, not c.shown, not c.front,
                       far if c.robust is None else c.robust, int(c.label)),
    )  # fmt: skip


def _row(choice: Choice) -> Html:
    settings = "; ".join(f"{name} = {value}" for name, value in choice.settings)
    return tag(
        "tr",
        tag("th", choice.label, scope="row"),
        tag("td", settings or "plain training", class_="settings"),
        tag("td", "–" if choice.clean is None else decimal(choice.clean), class_="num"),
        tag("td", "–" if choice.robust is None else percent(choice.robust), class_="num"),
        tag("td", "–" if choice.cost is None else f"{plain(choice.cost, 1)}×", class_="num"),
        tag("td", _state(choice)),
        class_="ours" if choice.recommended else None,
    )


def _state(choice: Choice) -> Child:
    if choice.label == "control":
        return "reference"
    if choice.twin is not None:
        return f"same as point {choice.twin}"
    if choice.error:
        return choice.error
    words = [w for w, on in (("recommended", choice.recommended), ("front", choice.front)) if on]
    if choice.broken:
        return [", ".join(words), tag("span", "breaks " + "; ".join(choice.broken), class_="small")]
    return ", ".join(words) or "keeps every limit"


def _method(pareto: Pareto) -> Html:
    words = [
        tag("p", f"Protocol: {pareto.protocol}."),
        tag("ul", [tag("li", threat) for threat in dict.fromkeys(pareto.threats)]),
        tag(
            "p",
            "NDCG@10 ranks each validation user's held-out item among all unseen items. Exposure "
            "gain is the share of users who get a target after its strongest attack less the "
            "share before, mean over targets. Cost is the time of training over that of plain "
            "training from the same base. Each point goes on from one shared base.",
        ),
    ]
    return section("method", "How it was measured", "", words)
