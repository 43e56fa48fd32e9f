"""The page of a generator: figures, both losses, and real beside generated profiles."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hardrank.experiment.gan import TrainedGan
from hardrank.reports.document import document
from hardrank.reports.markup import Html, join, tag
from hardrank.reports.numbers import decimal
from hardrank.reports.scales import Linear, nice_ticks
from hardrank.reports.svg import bottom_axis, chart, left_axis, line, text

if TYPE_CHECKING:
    from hardrank.generators.distinct import MassReport

__all__ = ["figures", "gan_page", "mass_figures"]

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
    rows = [
        (words, decimal(value))
        for key, words in _QUALITY.items()
        if (value := facts["quality"][key]) is not None
    ]
    if facts["quality"]["auroc_own"] is None:
        rows.append(("discriminator", f"none: an {trained.model.spec.kind} judges no profile"))
    if "pair_auroc" in facts:
        rows.append(("one user's halves against strangers, unseen users (AUROC)",
                     decimal(facts["pair_auroc"])))  # fmt: skip
    rows += [
        ("seconds of training", f"{facts['train_seconds']:.1f}"),
        ("seconds per useful sample", f"{facts['seconds_per_useful_sample']:.4f}"),
        ("peak memory, MiB", str(facts["peak_mebibytes"])),
        ("rounds", str(len(trained.model.history))),
    ]
    rows += _distilled(facts["distilled"]) if "distilled" in facts else []
    rows += _aged(trained)
    return [*rows, ("health", "; ".join(trained.model.warnings) or "no alarm")]


def mass_figures(report: "MassReport") -> list[tuple[str, str]]:
    """(what, value) of a mass generation."""
    groups = zip(report.groups, report.real_groups, strict=True)
    return [
        ("stopped", report.stopped),
        ("distinct profiles", f"{report.kept:,} of {report.drawn:,} drawn"),
        ("left out", f"{report.invalid:,} invalid, {report.near:,} nearly the same as another"),
        ("duplicates among the kept", f"{report.duplicate_rate:.2%} of {report.checked:,}, "
                                      "compared exactly with all"),
        ("items covered", f"{report.coverage:.1%} of the catalogue"),
        ("by popularity, most popular tenth first (and by real users)",
         ", ".join(f"{one:.0%} ({real:.0%})" for one, real in groups)),
        ("kept of each generator", ", ".join(f"{n:,}" for n in report.by_generator)),
    ]  # fmt: skip


def _aged(trained: TrainedGan) -> list[tuple[str, str]]:
    """The draws of each checkpoint when they were new, and one checkpoint later."""
    rows = getattr(trained.model, "transfer", ())
    pairs = [(row["success"][n], row["success"][n + 1]) for n, row in enumerate(rows[:-1])]
    if not pairs:
        return []
    said = ", ".join(f"{decimal(new)} to {decimal(old)}" for new, old in pairs)
    return [("chance that a draw looks more real than a real profile, from its checkpoint to the "
             "next", said)]  # fmt: skip


def _ageing(rows: Sequence[Mapping[str, Any]]) -> Html:
    """The transfer matrix of the checkpoints."""
    if not rows:
        return tag("p", "Not measured: no discriminator of two checkpoints after the warm-up.")
    head = tag("tr", tag("th", "draws of round"), *(
        tag("th", f"discriminator of round {row['round']}", scope="col") for row in rows
    ))  # fmt: skip
    body = [
        tag("tr", tag("th", str(row["round"]), scope="row"),
            *(tag("td", f"{v:.2f}") for v in row["success"]))
        for row in rows
    ]  # fmt: skip
    says = (
        "The chance that a discriminator takes a draw for more real than a real profile: 0.5 "
        "where it cannot tell them apart. To the right of the diagonal stands how draws age."
    )
    return join([tag("p", says), tag("table", tag("thead", head), tag("tbody", body))])


def _distilled(facts: Mapping[str, float]) -> list[tuple[str, str]]:
    """A smaller generator beside the one that it learned from."""
    counts = [(facts[key], facts[f"{key}_teacher"]) for key in ("parameters", "numbers")]
    (learned, of_learned), (held, of_held) = counts
    times = [1e3 * facts[key] for key in ("seconds_a_draw", "seconds_a_draw_teacher")]
    return [
        ("parameters, of the teacher's",
         f"{learned:,.0f} of {of_learned:,.0f} ({learned / of_learned:.1%})"),
        ("numbers held, item features included",
         f"{held:,.0f} of {of_held:,.0f} ({held / of_held:.1%})"),
        ("milliseconds a draw, and the teacher's", f"{times[0]:.3f}, {times[1]:.3f}"),
        ("total variation from the teacher", decimal(facts["distance"])),
    ]  # fmt: skip


def gan_page(trained: TrainedGan) -> str:
    """A whole HTML document without scripts or requests."""
    history = trained.model.history
    shown = trained.facts["shown"]
    shares = [n / 10 for n in range(11)]
    parts = [
        _section("Sample quality", _table(figures(trained))),
        _section("Losses", _losses(history)),
        _section("How draws age", _ageing(getattr(trained.model, "transfer", ()))),
        _section("Lengths", _deciles("Profile length", "items", shares, shown["length"])),
        _section("Popularity", _deciles("Popularity of items", "events of the item", shares,
                                        shown["popularity"])),
    ]  # fmt: skip
    about = f"{trained.facts['users']} users learned from, {trained.facts['held_users']} held out"
    return document(
        trained.name, "Generator of user interests", about, *parts,
        synthetic=bool(trained.facts.get("synthetic")),
    )  # fmt: skip


_DRAWN = {
    "loss_critic": ("Losses of both players", "loss",
                    {"discriminator": "loss_critic", "generator": "loss_deceive"}),
    "loss_kl": ("Losses of the autoencoder", "nats a profile",
                {"minus log-likelihood": "loss_likelihood", "KL of the code": "loss_kl"}),
    "loss_divergence": ("Losses of the distillation", "nats",
                        {"KL from the teacher": "loss_divergence", "": "nothing"}),
}  # fmt: skip
"""A key that only such a generator's history has -> title, unit, the lines and their keys."""


def _losses(history: Sequence[Mapping[str, float]]) -> Html:
    known = [said for key, said in _DRAWN.items() if history and key in history[0]]
    title, unit, keys = known[0] if known else next(iter(_DRAWN.values()))
    series = {name: _series(history, key) for name, key in keys.items()}
    return _lines(title, "step", unit, series)


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
    shown = {
        name: (class_, [(across(x), up(y)) for x, y in line_])
        for (name, line_), class_ in zip(series.items(), ("control", "hardened"), strict=True)
        if line_
    }
    drawn = [line(placed, class_) for class_, placed in shown.values()]
    axes = [
        left_axis([(v, up(v)) for v in ys], _LEFT, _RIGHT, decimal),
        bottom_axis([(v, across(v)) for v in xs], _BOTTOM, None, below, (_LEFT + _RIGHT) / 2),
        text(8, _TOP - 16, left, "label", "start"),
        *_legend([(name, class_) for name, (class_, _) in shown.items()]),
    ]
    said = f"{' and '.join(name for name in series if name)} by {below}."
    return chart(720, 300, title, said, join([*axes, *drawn]))


def _legend(names: Sequence[tuple[str, str]]) -> list[Html]:
    """Names of the lines above the plot: at their ends two that agree would cover each other."""
    made, x, y = list[Html](), float(_RIGHT), float(_TOP - 16)
    for name, class_ in reversed(names):
        start = x - 6.5 * len(name) - 34
        made += [
            text(x, y, name, "label", "end"),
            line([(start, y - 4), (start + 26, y - 4)], class_),
        ]
        x = start - 18
    return made
