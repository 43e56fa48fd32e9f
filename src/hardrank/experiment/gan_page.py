"""The page of a generator: figures, both losses, and real beside generated profiles."""

from collections.abc import Mapping, Sequence

from hardrank.experiment.gan import TrainedGan
from hardrank.reports.document import document
from hardrank.reports.markup import Html, join, tag
from hardrank.reports.numbers import decimal
from hardrank.reports.scales import Linear, nice_ticks
from hardrank.reports.svg import bottom_axis, chart, left_axis, line, text

__all__ = ["figures", "gan_page"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 700, 34, 250
_QUALITY = {
    "auroc": "a fresh discriminator tells real from generated (AUROC)",
    "auroc_own": "its own discriminator (AUROC)",
    "length_ks": "profile lengths (KS)",
    "popularity_ks": "popularity of items (KS)",
    "popularity_tv": "popularity groups (total variation)",
    "popularity_js": "popularity groups (Jensen-Shannon)",
    "unique": "different profiles among the draws",
    "overlap": "items in common of two generated profiles",
    "overlap_real": "items in common of two real profiles",
    "repeated": "pairs that are nearly the same",
}


def figures(trained: TrainedGan) -> list[tuple[str, str]]:
    """(what, value) in the order of the page."""
    facts = trained.facts
    rows = [(words, decimal(facts["quality"][key])) for key, words in _QUALITY.items()]
    if "pair_auroc" in facts:
        rows.append(("one user's halves against strangers, unseen users (AUROC)",
                     decimal(facts["pair_auroc"])))  # fmt: skip
    rows += [
        ("seconds of training", f"{facts['train_seconds']:.1f}"),
        ("seconds per useful sample", f"{facts['seconds_per_useful_sample']:.4f}"),
        ("peak memory, MiB", str(facts["peak_mebibytes"])),
        ("rounds", str(len(trained.model.history))),
    ]
    return [*rows, ("health", "; ".join(trained.model.warnings) or "no alarm")]


def gan_page(trained: TrainedGan) -> str:
    """A whole HTML document without scripts or requests."""
    history = trained.model.history
    shown = trained.facts["shown"]
    shares = [n / 10 for n in range(11)]
    parts = [
        _section("Sample quality", _table(figures(trained))),
        _section("Losses", _lines(
            "Losses of both players", "step", "loss",
            {"discriminator": _series(history, "loss_critic"),
             "generator": _series(history, "loss_deceive")})),
        _section("Lengths", _deciles("Profile length", "items", shares, shown["length"])),
        _section("Popularity", _deciles("Popularity of items", "events of the item", shares,
                                        shown["popularity"])),
    ]  # fmt: skip
    about = f"{trained.facts['users']} users learned from, {trained.facts['held_users']} held out"
    return document(trained.name, "Generator of user interests", about, *parts)


def _section(title: str, *body: Html) -> Html:
    return tag("section", tag("h2", title), *body)


def _table(rows: Sequence[tuple[str, str]]) -> Html:
    return tag("table", tag("tbody", [
        tag("tr", tag("th", what, scope="row"), tag("td", value)) for what, value in rows
    ]))  # fmt: skip


def _series(history: Sequence[Mapping[str, float]], key: str) -> list[tuple[float, float]]:
    return [(row["step"], row[key]) for row in history if key in row]


def _deciles(
    title: str, unit: str, shares: Sequence[float], values: Mapping[str, Sequence[float]]
) -> Html:
    lines = {arm: list(zip(shares, values[arm], strict=True)) for arm in ("real", "generated")}
    return _lines(title, "share of the profiles or events, smallest first", unit, lines)


def _lines(
    title: str, below: str, left: str, series: Mapping[str, Sequence[tuple[float, float]]]
) -> Html:
    """At most two lines; empty where there is nothing to draw."""
    points = [p for line_ in series.values() for p in line_]
    if not points:
        return tag("p", "Nothing was logged.")
    xs = nice_ticks(min(x for x, _ in points), max(x for x, _ in points))
    ys = nice_ticks(min(0.0, *(y for _, y in points)), max(y for _, y in points))
    across, up = Linear(xs[0], xs[-1], _LEFT, _RIGHT), Linear(ys[0], ys[-1], _BOTTOM, _TOP)
    drawn = []
    for (name, line_), class_ in zip(series.items(), ("control", "hardened"), strict=True):
        placed = [(across(x), up(y)) for x, y in line_]
        if placed:
            drawn += [line(placed, class_),
                      text(placed[-1][0] - 4, placed[-1][1] - 6, name, "label", "end")]  # fmt: skip
    axes = [
        left_axis([(v, up(v)) for v in ys], _LEFT, _RIGHT, decimal),
        bottom_axis([(v, across(v)) for v in xs], _BOTTOM, None, below, (_LEFT + _RIGHT) / 2),
        text(_LEFT - 6, _TOP - 16, left, "label", "end"),
    ]
    said = f"{' and '.join(series)} by {below}."
    return chart(720, 300, title, said, join([*axes, *drawn]))
