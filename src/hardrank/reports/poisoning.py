"""The page of a poisoning run: what fake users won, what defences gave back, who was found."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from hardrank.errors import SchemaError
from hardrank.files import write_text
from hardrank.findings import Finding
from hardrank.reports.document import document
from hardrank.reports.evidence import load_findings
from hardrank.reports.layout import attack_label, figure, note, number_cell, section, table
from hardrank.reports.markup import Child, Html, tag
from hardrank.reports.numbers import Spell, count, decimal, percent, plain, signed
from hardrank.reports.poisoning_charts import STYLE, dots, portrait, roc

__all__ = ["Poisoning", "poisoning_page"]

_LOOKS = {
    "popularity": "popularity (TV)", "js": "popularity (JS, bits)", "ratings": "ratings (TV)",
    "length": "length (KS)", "overlap": "overlap above real",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Poisoning:
    """What a run's folder says."""

    findings: tuple[Finding, ...]
    facts: dict[str, Any]
    portraits: dict[str, Any]
    rocs: dict[str, list[tuple[float, float]]]
    """Detector -> (false positives, recall) over all attacks."""

    @cached_property
    def k(self) -> int:
        return int(self.facts["config"]["ks"][-1])

    @cached_property
    def subjects(self) -> list[str]:
        return list(dict.fromkeys(f.subject for f in self.findings if f.audit == "utility"))

    def of(self, **wanted: Any) -> list[Finding]:
        return [f for f in self.findings if all(getattr(f, n) == v for n, v in wanted.items())]

    def one(self, **wanted: Any) -> Finding | None:
        return next(iter(self.of(**wanted)), None)


def poisoning_page(folder: Path) -> Path:
    """Write `report.html` from `findings.json`, `run.json`, `profiles.json` and `detection/`.

    Raises `SchemaError` where `findings.json` holds none.
    """
    read = _read(folder)
    seeds = len(read.facts["seeds"])
    facts = (
        f"{read.facts['model']} · {len(read.facts['targets'])} targets · {seeds} "
        f"seed{'s' if seeds != 1 else ''}"
    )
    page = document(
        read.facts["name"], "Hardrank poisoning", facts, _verdict(read), _exposure(read),
        _defences(read), _quality(read), _detection(read), _profiles(read), _method(read),
        synthetic=bool(read.facts.get("synthetic")), style=STYLE,
        footer="Made by Hardrank from findings.json; every sample is in samples.parquet.",
    )  # fmt: skip
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _read(folder: Path) -> Poisoning:
    findings = load_findings(folder / "findings.json")
    if not findings:
        raise SchemaError("holds no finding", path=folder / "findings.json")
    return Poisoning(
        findings=findings,
        facts=json.loads((folder / "run.json").read_text("utf-8")),
        portraits=json.loads((folder / "profiles.json").read_text("utf-8")),
        rocs=_rocs(folder / "detection"),
    )


def _rocs(folder: Path) -> dict[str, list[tuple[float, float]]]:
    from hardrank.metrics.detection import roc_curve

    parts = [pl.read_parquet(p) for p in sorted(folder.glob("*.parquet"))]
    if not parts:
        return {}
    rows = pl.concat(parts)
    out: dict[str, list[tuple[float, float]]] = {}
    for (name,), some in rows.group_by("detector", maintain_order=True):
        # scores of two logs have no common scale: ranks within each log have
        place = (pl.col("score").rank() / pl.len()).over("attack", "target", "seed")
        ranked = some.with_columns(place=place)
        false, true, _ = roc_curve(ranked["place"].to_numpy(), ranked["fake"].to_numpy())
        step = max(1, len(false) // 200)
        points = list(zip(false.tolist(), true.tolist(), strict=True))
        out[str(name)] = [*points[::step], (1.0, 1.0)]
    return out


def _verdict(read: Poisoning) -> Html:
    said: list[Child] = []
    for subject in (s for s in read.subjects if s.endswith("/control")):
        worst = _strongest(read, subject)
        if worst is None or worst.value is None:
            continue
        before = read.one(subject=subject, audit="promotion", trial=worst.trial,
                          metric=f"er_before@{read.k}")  # fmt: skip
        start = percent(before.value) if before and before.value is not None else "none"
        said.append(
            tag("p", f"{subject.partition('/')[0]}: {worst.trial} brings its targets from {start} "
                f"to {percent(worst.value)} of the top {read.k} lists of real users.")
        )  # fmt: skip
    for f in (f for f in read.findings if f.audit == "worst-case"):
        if f.metric == f"defence_effect@{read.k}" and f.value is not None:
            said.append(tag("p", _effect_said(read, f)))
    if not said:
        said.append(tag("p", "No attack could be measured."))
    heading = tag("h2", "What fake users win", class_="status", id="verdict-title")
    return tag("section", heading, said, class_="verdict warn", id="verdict",
               aria_labelledby="verdict-title")  # fmt: skip


def _effect_said(read: Poisoning, f: Finding) -> str:
    price = read.one(subject=f.subject, audit="utility", metric="price(ndcg@10)", group="all")
    paid = "" if price is None or price.value is None else (
        f", for {percent(price.value)} of clean NDCG@10"
    )  # fmt: skip
    who = "the strongest attack on each target"
    if f.trial != "all attacks":
        who += ", attackers who know the defence among them,"
    assert f.value is not None
    turned = f"loses {percent(f.value)} of its gain" if f.value >= 0 else "gains more, not less"
    return f"{f.subject}: {who} {turned}{paid}."


def _strongest(read: Poisoning, subject: str) -> Finding | None:
    rows = read.of(subject=subject, audit="promotion", metric=f"er_after@{read.k}")
    return max((f for f in rows if f.value is not None), key=lambda f: f.value or 0, default=None)


def _exposure(read: Poisoning) -> Html:
    lead = (
        f"Share of real users, strangers to the target, whose top {read.k} holds it, after the "
        "victim was trained on the poisoned log (T-HR). The hollow mark is before the attack."
    )
    victims = list(dict.fromkeys(s.partition("/")[0] for s in read.subjects))
    charts = [
        figure(victim, drawn)
        for victim in victims
        if (drawn := dots(_pairs(read, f"{victim}/control"), f"T-HR@{read.k}", victim))
    ]
    return section(
        "exposure", "Exposure before and after", lead,
        tag("div", charts, class_="pair") if charts else None,
        _grid(read, f"T-HR@{read.k} by attack", "promotion", f"er_after@{read.k}", percent),
        _grid(read, "Prediction shift: mean score of the target, after less before", "promotion",
              "shift", signed(lambda v: plain(v, 3))),
        _compared(read),
    )  # fmt: skip


def _pairs(read: Poisoning, subject: str) -> list[tuple[str, Finding | None, Finding]]:
    rows = read.of(subject=subject, audit="promotion", metric=f"er_after@{read.k}")
    rows.sort(key=lambda f: -(f.value or 0))
    return [
        (f.trial, read.one(subject=subject, audit="promotion", trial=f.trial,
                           metric=f"er_before@{read.k}"), f)
        for f in rows if f.value is not None
    ]  # fmt: skip


def _grid(read: Poisoning, caption: str, audit: str, metric: str, spell: Spell) -> Html | None:
    """Trials down, subjects across."""
    rows = [f for f in read.findings if f.audit == audit and f.metric == metric]
    across = list(dict.fromkeys(f.subject for f in rows))
    if not rows:
        return None
    found = {(f.trial, f.subject): f for f in rows}
    body = [
        tag("tr", tag("th", attack_label(trial), scope="row"),
            [number_cell(found.get((trial, s)), spell) for s in across])
        for trial in dict.fromkeys(f.trial for f in rows)
    ]  # fmt: skip
    return table(caption, ["attack", *across], body)


def _compared(read: Poisoning) -> Html | None:
    rows = [f for f in read.findings if f.metric.startswith(f"difference@{read.k}(")]
    if not rows:
        return None
    heads = list(dict.fromkeys((f.subject, f.metric) for f in rows))
    found = {(f.trial, f.subject, f.metric): f for f in rows}
    body = [
        tag("tr", tag("th", attack_label(trial), scope="row"),
            [number_cell(found.get((trial, *head)), signed(percent)) for head in heads])
        for trial in dict.fromkeys(f.trial for f in rows)
    ]  # fmt: skip
    named = [f"{s.partition('/')[0]}: against {m.partition('(')[2][:-1]}" for s, m in heads]
    return table(f"Gain in T-HR@{read.k} beyond the simple attacks", ["attack", *named], body)


def _defences(read: Poisoning) -> Html | None:
    rows = [f for f in read.findings if f.audit == "worst-case"]
    defended = [s for s in read.subjects if not s.endswith("/control")]
    if not defended:
        return None
    body = []
    for subject in read.subjects:
        for trial in dict.fromkeys(f.trial for f in rows if f.subject == subject):
            found = {f.metric: f for f in rows if f.subject == subject and f.trial == trial}
            price = read.one(subject=subject, audit="utility", metric="price(ndcg@10)",
                             group="all")  # fmt: skip
            cells = [
                number_cell(found.get(f"er_after@{read.k}"), percent),
                number_cell(found.get(f"defence_effect@{read.k}"), percent),
                number_cell(price, percent),
            ]
            body.append(tag("tr", tag("th", subject, scope="row"), tag("td", trial), cells))
    lead = (
        "Against an attacker who picks the strongest attack for each target; who knows the "
        "defence may also use the adaptive ones. A detector never met the family of the attack "
        "that it is asked about; the adaptive attacker has the one that met them all."
    )
    heads = ["arm", "attacker", f"T-HR@{read.k}", "gain taken away", "price in NDCG@10"]
    per_attack = _grid(
        read, f"Share of each attack's gain (T-HR@{read.k}) that the defence takes away",
        "promotion", f"defence_effect@{read.k}", percent,
    )  # fmt: skip
    return section("defences", "Defences", lead, table("Worst cases", heads, body), per_attack)


def _quality(read: Poisoning) -> Html:
    groups = ("all", "head", "mid", "tail", "cold")
    have = [g for g in groups if read.of(audit="utility", metric="ndcg@10", group=g)]
    body = [
        tag("tr", tag("th", s, scope="row"),
            [number_cell(read.one(subject=s, audit="utility", metric="ndcg@10", group=g), decimal)
             for g in have])
        for s in read.subjects
    ]  # fmt: skip
    lead = (
        "Of real users only, on held-out items. An attack on a few items hardly moves it: quality "
        "does not reveal poison, exposure does."
    )
    return section(
        "quality", "Quality", lead,
        table("NDCG@10 on the clean log, by popularity of the held-out item",
              ["arm", *have], body),
        _grid(read, "Share of clean NDCG@10 lost under attack", "poisoned", "drop(ndcg@10)",
              signed(percent)),
    )  # fmt: skip


def _detection(read: Poisoning) -> Html | None:
    if not read.of(metric="auroc"):
        return None
    lead = (
        "Told fake users from real ones in each poisoned log; a detector that learns was trained "
        "on the other families of attacks and for other targets. Recall is at 1 % false positives."
    )
    drawn = roc(read.rocs)
    return section(
        "detection", "Detection", lead,
        figure("All attacks together, ranks within each log", drawn) if drawn else None,
        _grid(read, "AUROC", "detection-auroc", "auroc", decimal),
        _grid(read, "Average precision", "detection-ap", "ap", decimal),
        _grid(read, "Recall at 1 % false positives", "detection-recall", "recall", percent),
    )  # fmt: skip


def _profiles(read: Poisoning) -> Html | None:
    if not read.portraits:
        return None
    bins, real = read.portraits["bins"], read.portraits["real"]
    shown = [
        tag("div", tag("h3", attack_label(name)),
            [portrait(what, bins[what], real[what], fake[what])
             for what in ("length", "popularity", "rating") if bins[what]], class_="portraits")
        for name, fake in read.portraits["attacks"].items()
    ]  # fmt: skip
    lead = "Fake profiles (bars) beside those of real users (line): shares of profiles or events."
    rows = [f for f in read.findings if f.audit.startswith("disguise-")]
    found = {(f.trial, f.metric): f for f in rows}
    body = [
        tag("tr", tag("th", attack_label(trial), scope="row"),
            [number_cell(found.get((trial, m)), lambda v: plain(v, 3)) for m in _LOOKS])
        for trial in dict.fromkeys(f.trial for f in rows)
    ]  # fmt: skip
    looks = table("Distance of fake from real profiles; 0 is a perfect disguise",
                  ["attack", *_LOOKS.values()], body)  # fmt: skip
    return section("profiles", "Real and fake profiles", lead, looks, shown)


def _method(read: Poisoning) -> Html:
    facts = read.facts
    versions = ", ".join(f"{n} {v}" for n, v in facts["versions"].items())
    seeds = ", ".join(map(str, facts["seeds"]))
    spent = sum(facts["durations"].values())
    return section(
        "method", "Method", "",
        tag("p", facts["protocol"] + "."), [tag("p", t) for t in facts["threats"]],
        note(f"Targets: {', '.join(facts['targets'])}. Seeds: {seeds}. "
             f"{count(spent)} seconds. {versions}. Data: {facts['fingerprint'][:16]}."),
    )  # fmt: skip
