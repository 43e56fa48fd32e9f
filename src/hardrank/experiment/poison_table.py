"""The findings of poisoned logs as tables for a terminal."""

from collections.abc import Iterator, Mapping, Sequence

from hardrank.findings import Finding
from hardrank.reports.labels import Label, labels

__all__ = ["poison_tables"]


def poison_tables(findings: Sequence[Finding], *, k: int) -> list[str]:
    """Exposure of the targets (T-HR@k) by attack and victim, quality, then detection."""
    names = labels(dict.fromkeys(f.trial for f in findings))
    return [
        f"T-HR@{k} in %: share of real users, strangers to the target, who see it",
        *_grid(findings, names, "promotion", f"er_after@{k}", first=f"er_before@{k}"),
        *_grid(findings, names, "worst-case", f"er_after@{k}")[1:],
        "",
        "clean NDCG@10 of each victim, and what the defence costs",
        *_quality(findings),
        *_detection(findings, names),
    ]


def _grid(
    findings: Sequence[Finding],
    names: Mapping[str, Label],
    audit: str,
    metric: str,
    first: str | None = None,
) -> list[str]:
    """Trials down by their short names, subjects across, in percent; `first` fills a row
    `no attack`."""
    rows = [f for f in findings if f.audit == audit and f.metric == metric]
    subjects = list(dict.fromkeys(f.subject for f in rows))
    table = [["attack", *subjects]]
    if first:
        clean = {f.subject: f for f in findings if f.audit == audit and f.metric == first}
        table.append(["no attack", *(_percent(clean.get(s)) for s in subjects)])
    for trial in dict.fromkeys(f.trial for f in rows):
        found = {f.subject: f for f in rows if f.trial == trial}
        table.append([names[trial].text, *(_percent(found.get(s)) for s in subjects)])
    return list(_aligned(table))


def _quality(findings: Sequence[Finding]) -> list[str]:
    clean = [f for f in findings if f.audit == "utility" and f.group == "all"]
    table = [["victim", "ndcg@10", "price %"]]
    for subject in dict.fromkeys(f.subject for f in clean):
        of = {f.metric: f for f in clean if f.subject == subject}
        value = of["ndcg@10"].value
        table.append(
            [subject, "-" if value is None else f"{value:.4f}", _percent(of.get("price(ndcg@10)"))]
        )
    return list(_aligned(table))


def _detection(findings: Sequence[Finding], names: Mapping[str, Label]) -> list[str]:
    rows = [f for f in findings if f.audit.startswith("detection-")]
    if not rows:
        return []
    out = []
    for figure, title in (("auroc", "AUROC"), ("recall", "recall at 1 % false positives")):
        out += ["", f"{title} of each detector, in %"]
        out += _grid(findings, names, f"detection-{figure}", figure)
    return out


def _percent(finding: Finding | None) -> str:
    if finding is None or finding.value is None:
        return "-"
    return f"{100 * finding.value:.2f}"


def _aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[c]) for row in table) for c in range(len(table[0]))]
    for row in table:
        first, *rest = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        yield "  ".join(cells).rstrip()
