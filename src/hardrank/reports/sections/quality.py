"""All models, baselines included, warm and cold in one table."""

from hardrank.findings import Finding
from hardrank.reports.evidence import Evidence
from hardrank.reports.layout import note, number_cell, section, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import metric_k
from hardrank.reports.words import metric_name, place, spell_of

__all__ = ["quality_section"]

_METRICS = ("hr", "ndcg", "mrr")
_GROUPS = ("all", "warm", "cold")
"""Where warm items are stated, `all` (warm and cold together) is left to the findings."""


def quality_section(evidence: Evidence) -> Html:
    found = [f for f in evidence.of("utility", trial="clean") if metric_k(f.metric)[0] in _METRICS]
    groups = {f.group for f in found} & set(_GROUPS)
    shown = groups - {"all"} if "warm" in groups else groups
    columns = sorted(
        {(f.group, f.metric) for f in found if f.group in shown},
        key=lambda c: (place(c[0]), _METRICS.index(metric_k(c[1])[0])),
    )
    if not columns:
        return Html("")
    cells = {(f.subject, f.group, f.metric): f for f in found}
    best = {column: _best(found, column) for column in columns}
    subjects = sorted({f.subject for f in found}, key=lambda s: (-_headline(cells, s, columns), s))
    body = [_row(evidence, subject, columns, cells, best) for subject in subjects]
    head = ["Model", *(f"{group.capitalize()} {metric_name(metric)}" for group, metric in columns)]
    protocols = dict.fromkeys(f.protocol for f in found if f.protocol)
    stated = list(protocols) or [evidence.facts.protocol or "not stated"]
    return section(
        "quality",
        "Quality of every model",
        "Warm items were in training, cold items were not. The best of each column is bold.",
        table("Clean ranking quality", head, body, "numbers wide"),
        [note([tag("b", "Protocol. "), text]) for text in stated],
    )


Columns = list[tuple[str, str]]
Cells = dict[tuple[str, str, str], Finding]


def _best(found: list[Finding], column: tuple[str, str]) -> float | None:
    values = [f.value for f in found if (f.group, f.metric) == column and f.value is not None]
    return max(values, default=None)


def _headline(cells: Cells, subject: str, columns: Columns) -> float:
    """What the table is sorted by: NDCG of the first group."""
    for group, metric in columns:
        if metric_k(metric)[0] == "ndcg":
            found = cells.get((subject, group, metric))
            return found.value if found and found.value is not None else -1.0
    return -1.0


def _row(
    evidence: Evidence,
    subject: str,
    columns: Columns,
    cells: Cells,
    best: dict[tuple[str, str], float | None],
) -> Html:
    model, _, arm = subject.partition("/")
    label = [model, tag("span", arm, class_="small")] if arm not in ("", "base") else [model]
    made = []
    for column in columns:
        found = cells.get((subject, *column))
        top = found is not None and found.value is not None and found.value == best[column]
        made.append(number_cell(found, spell_of(column[1]), lead=top))
    return tag(
        "tr",
        tag("th", label, scope="row"),
        made,
        class_="ours" if model == evidence.model else None,
    )
