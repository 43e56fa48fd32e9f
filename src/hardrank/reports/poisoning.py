"""The page of a poisoning run: what fake users won, what defences gave back, who was found."""

from collections.abc import Sequence
from pathlib import Path

from hardrank.files import write_text
from hardrank.findings import Finding
from hardrank.reports.document import document
from hardrank.reports.evidence import CONTROL
from hardrank.reports.labels import legend_of
from hardrank.reports.layout import figure, note, number_cell, section
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import count, decimal, percent, plain, signed
from hardrank.reports.poisoning_charts import STYLE, dots, portrait, roc
from hardrank.reports.poisoning_coverage import coverage
from hardrank.reports.poisoning_evidence import ADAPTIVE, Poisoning, read_poisoning
from hardrank.reports.poisoning_gates import gates
from hardrank.reports.poisoning_grids import arm_named, grid, more, subject_head, told, wide
from hardrank.reports.poisoning_verdict import verdict

__all__ = ["poisoning_page"]

_LOOKS = {
    "popularity": "popularity (TV)", "js": "popularity (JS, bits)", "ratings": "ratings (TV)",
    "length": "length (KS)", "overlap": "overlap above real",
}  # fmt: skip
_FIRST = 3
"""Attacks whose profiles are shown unfolded."""


def poisoning_page(folder: Path) -> Path:
    """Write `report.html` from `findings.json`, `run.json`, `profiles.json` and `roc.json`.

    Raises `SchemaError` where `findings.json` holds none.
    """
    read = read_poisoning(folder)
    seeds, aims = len(read.facts["seeds"]), len(read.facts["targets"])
    facts = (
        f"{read.facts['model']} · {aims} target{'s' if aims != 1 else ''} · {seeds} "
        f"seed{'s' if seeds != 1 else ''}"
    )
    built = (
        ("exposure", "Exposure", _exposure(read)), ("defences", "Defences", _defences(read)),
        ("quality", "Quality", _quality(read)), ("detection", "Detection", _detection(read)),
        ("profiles", "Profiles", _profiles(read)), ("coverage", "Coverage", coverage(read)),
        ("gates", "Trust", gates(read)), ("method", "Method", _method(read)),
    )  # fmt: skip
    parts = [(key, name, made) for key, name, made in built if made]
    page = document(
        read.facts["name"], "Hardrank poisoning", facts, verdict(read), _contents(parts),
        [made for _, _, made in parts], synthetic=bool(read.facts.get("synthetic")), style=STYLE,
        footer="Made by Hardrank from findings.json; every sample is in samples.parquet.",
    )  # fmt: skip
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _contents(parts: Sequence[tuple[str, str, Html | None]]) -> Html:
    links = [tag("li", tag("a", name, href=f"#{key}")) for key, name, _ in parts]
    return tag("nav", tag("ul", links), class_="contents", aria_label="Contents")


def _exposure(read: Poisoning) -> Html:
    lead = (
        f"Share of real users, strangers to the target, whose top {read.k} holds it, after the "
        "victim was trained on the poisoned log (T-HR). The hollow mark is before the attack, "
        "the thin line a 95 % interval; all charts have one scale."
    )
    pairs = {victim: _pairs(read, f"{victim}/{CONTROL}") for victim in read.victims}
    most = max((v for rows in pairs.values() for _, before, after in rows
                for f in (before, after) if f for v in (f.value, f.high) if v is not None),
               default=0.0)  # fmt: skip
    charts = [
        figure(tag("b", victim), dots(rows, f"T-HR@{read.k}", victim, most))
        for victim, rows in pairs.items() if rows
    ]  # fmt: skip
    k = read.k
    rest = [grid(read, f"T-HR@{n} by attack", "promotion", f"er_after@{n}", percent)
            for n in read.facts["config"]["ks"][:-1]]  # fmt: skip
    rest += [
        grid(read, "Prediction shift: mean score of the target, after less before", "promotion",
             "shift", signed(lambda v: plain(v, 3))),
        grid(read, f"T-NDCG@{k}: place of the target in those lists", "target-ndcg",
             f"target_ndcg@{k}", decimal),
        grid(read, "Success: share of targets that leave all but few lists, having stood in more"
             if read.demote else
             "Success: share of targets that enter enough lists and did not before",
             "promotion", "asr", percent),
    ]  # fmt: skip
    return section(
        "exposure", "Exposure before and after", lead,
        tag("div", charts, class_="pair two" if len(charts) in (2, 4) else "pair"),
        grid(read, f"T-HR@{k} by attack", "promotion", f"er_after@{k}", percent,
             first=f"er_before@{k}"),
        told(read, read.of(audit="promotion", metric=f"er_after@{k}")),
        _compared(read), more("Other lengths of lists, scores, places, success", rest),
    )  # fmt: skip


def _pairs(read: Poisoning, subject: str) -> list[tuple[str, Finding | None, Finding]]:
    rows = read.of(subject=subject, audit="promotion", metric=f"er_after@{read.k}")
    rows = [f for f in rows if f.value is not None]
    rows.sort(key=lambda f: (f.value or 0) * (1 if read.demote else -1))
    return [
        (read.drawn(f.trial), read.one(subject=subject, audit="promotion", trial=f.trial,
                           metric=f"er_before@{read.k}"), f)
        for f in rows
    ]  # fmt: skip


def _compared(read: Poisoning) -> Html | None:
    rows = [f for f in read.findings if f.metric.startswith(f"difference@{read.k}(")]
    if not rows:
        return None
    heads = list(dict.fromkeys((f.subject.partition("/")[0], f.metric) for f in rows))
    found = {(f.trial, f.subject.partition("/")[0], f.metric): f for f in rows}
    trials = {f.trial for f in rows}
    body = [
        tag("tr", tag("th", read.shown(t), scope="row"),
            [number_cell(found.get((t, *head)), signed(percent), seeds=False) for head in heads])
        for t in read.strongest_first if t in trials
    ]  # fmt: skip
    named = [f"{victim}/against {metric.partition('(')[2][:-1]}" for victim, metric in heads]
    won = "Loss of" if read.demote else "Gain in"
    caption = f"{won} T-HR@{read.k} beyond the simple attacks, without defence"
    return wide(caption, subject_head("attack", named), body)


def _defences(read: Poisoning) -> Html | None:
    if not read.arms:
        return None
    rows = read.of(audit="worst-case")
    body = []
    for subject in read.subjects:
        for trial in dict.fromkeys(f.trial for f in rows if f.subject == subject):
            found = {f.metric: f for f in rows if f.subject == subject and f.trial == trial}
            price = read.one(subject=subject, audit="utility", metric="price(ndcg@10)",
                             group="all")  # fmt: skip
            wanted = (found.get(f"er_after@{read.k}"), found.get(f"defence_effect@{read.k}"), price)
            knows = tag("span", "who knows the defence", class_="small")
            bad = tag("span", "unreliable", class_="small flag bad")
            name = tag(
                "th",
                arm_named(subject),
                knows if trial != "all attacks" else None,
                bad if any(f and not f.reliable for f in wanted) else None,
                scope="row",
            )
            cells = [number_cell(f, percent, seeds=f is not price, flag=False) for f in wanted]
            body.append(tag("tr", name, cells))
    lead = (
        "Against an attacker who picks the strongest attack for each target"
        f"{', the one that leaves least' if read.demote else ''}; who knows the "
        "defence may also use the adaptive ones. A detector never met the family of the attack "
        "that it is asked about; the adaptive attacker has the one that met them all. Above "
        "100\N{NO-BREAK SPACE}%: the "
        f"targets end {'higher' if read.demote else 'lower'} than they stood before the attack."
    )
    effect = "loss given back" if read.demote else "gain taken away"
    heads = ["arm and attacker", f"T-HR@{read.k}", effect, "price in NDCG@10"]
    undone = "loss of T-HR@{} that the defence gives back" if read.demote else (
        "gain (T-HR@{}) that the defence takes away")  # fmt: skip
    effects = grid(
        read, f"Share of each attack's {undone.format(read.k)}", "promotion",
        f"defence_effect@{read.k}", percent,
    )  # fmt: skip
    unknown = [f for f in read.of(audit="promotion", metric=f"defence_effect@{read.k}")
               if f.value is None]  # fmt: skip
    head = [tag("tr", [tag("th", h, scope="col") for h in heads])]
    made = wide("Worst cases", head, body, lined=True) if body else None
    return section("defences", "Defences", lead, made,
                   told(read, (f for f in rows if "defence_effect" in f.metric)), effects,
                   told(read, unknown))  # fmt: skip


def _quality(read: Poisoning) -> Html:
    groups = ("all", "head", "mid", "tail", "cold")
    have = [g for g in groups if read.of(audit="utility", metric="ndcg@10", group=g)]
    found = {(f.subject, f.group): f for f in read.of(audit="utility", metric="ndcg@10")}
    body = [
        tag("tr", tag("th", arm_named(s), scope="row"),
            [number_cell(found.get((s, g)), decimal) for g in have])
        for s in read.subjects
    ]  # fmt: skip
    head = [tag("tr", [tag("th", h, scope="col") for h in ("arm", *have)])]
    lead = "Of real users only, on held-out items; fake users count nowhere."
    return section(
        "quality", "Quality", lead,
        wide("NDCG@10 on the clean log, by popularity of the held-out item", head, body),
        told(read, found.values()),
        grid(read, "Share of clean NDCG@10 lost under attack", "poisoned", "drop(ndcg@10)",
             signed(percent)),
    )  # fmt: skip


def _detection(read: Poisoning) -> Html | None:
    if not read.of(metric="auroc"):
        return None
    lead = (
        "Told fake users from real ones in each poisoned log; a detector that learns was trained "
        "on the other families of attacks and for other targets. Recall is at 1 % false positives."
    )
    drawn = roc({read.called(name): points for name, points in read.rocs.items()})
    return section(
        "detection", "Detection", lead,
        figure("Share of fake users found (up) by share of real users flagged (right); all attacks "
               "together, ranks within each log", drawn) if drawn else None,
        grid(read, "Recall at 1 % false positives", "detection-recall", "recall", percent),
        grid(read, "AUROC", "detection-auroc", "auroc", decimal),
        more("Average precision",
             grid(read, "Average precision", "detection-ap", "ap", decimal)),
    )  # fmt: skip


def _profiles(read: Poisoning) -> Html | None:
    if not read.portraits:
        return None
    shown = [t for t in read.strongest_first if t in read.portraits["attacks"]]
    drawn = [_portraits(read, name) for name in shown]
    lead = (
        "Fake profiles (bars) beside those of real users (line), the strongest attacks first: "
        "shares of profiles by length, of events by popularity decile (9 the most popular) and "
        "by rating. TV: total variation; JS: Jensen-Shannon divergence; KS: the largest gap "
        "between the two cumulative distributions."
    )
    found = {(f.trial, f.metric): f for f in read.findings if f.audit.startswith("disguise-")}
    trials = {t for t, _ in found}
    have = [m for m in _LOOKS if any(metric == m for _, metric in found)]
    body = [
        tag("tr", tag("th", read.shown(trial), scope="row"),
            [number_cell(found.get((trial, m)), lambda v: plain(v, 3), seeds=False)
             for m in have])
        for trial in read.strongest_first if trial in trials
    ]  # fmt: skip
    head = [tag("tr", [tag("th", h, scope="col") for h in ("attack", *(_LOOKS[m] for m in have))])]
    looks = wide("Distance of fake from real profiles; 0 is a perfect disguise", head, body)
    return section(
        "profiles", "Real and fake profiles", lead, looks, drawn[:_FIRST],
        more(f"{len(drawn) - _FIRST} more attacks", drawn[_FIRST:]),
    )  # fmt: skip


def _portraits(read: Poisoning, name: str) -> Html:
    bins, real = read.portraits["bins"], read.portraits["real"]
    fake = read.portraits["attacks"][name]
    charts = [portrait(what, bins[what], real[what], fake[what])
              for what in ("length", "popularity", "rating") if bins[what]]  # fmt: skip
    return tag("div", tag("h3", read.shown(name)), charts, class_="portraits")


def _method(read: Poisoning) -> Html:
    facts = read.facts
    versions = ", ".join(f"{n} {v}" for n, v in facts["versions"].items())
    seeds = ", ".join(map(str, facts["seeds"]))
    spent = sum(facts["durations"].values())
    adaptive = sorted({read.called(f.trial).removesuffix(ADAPTIVE) for f in read.findings
                       if f.trial.endswith(ADAPTIVE)})  # fmt: skip
    knows = f" Attacks that know the defence: {', '.join(adaptive)}." if adaptive else ""
    protocol = facts["protocol"][:1].upper() + facts["protocol"][1:]
    return section(
        "method", "Method", "",
        tag("p", protocol + "."), [tag("p", t + knows) for t in facts["threats"]],
        note(f"Targets: {', '.join(facts['targets'])}. Seeds: {seeds}. "
             f"The last call took {count(spent)} seconds. {versions}. "
             f"Data: {facts['fingerprint'][:16]}."),
        legend_of(read.labels.values()),
    )  # fmt: skip
