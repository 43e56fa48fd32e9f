"""All models, baselines included, in one table: one row a model."""

from itertools import groupby

from hardrank.reports.evidence import Evidence
from hardrank.reports.layout import doubts, note, number_cell, scroll, section
from hardrank.reports.markup import Html, tag
from hardrank.reports.models import ModelRow, Models, models
from hardrank.reports.words import spell_of

__all__ = ["quality_section"]


def quality_section(evidence: Evidence) -> Html:
    found = models(evidence)
    if found is None:
        return Html("")
    trained = [r for r in found.rows if not r.stage]
    staged = [r for r in found.rows if r.stage]
    body = [_row(evidence, found, row) for row in trained]
    if staged:
        apart = tag("th", "After the hardening stage", colspan=len(found.columns) + 1,
                    scope="rowgroup")  # fmt: skip
        body.append(tag("tr", apart, class_="group"))
        body += [_row(evidence, found, row) for row in staged]
    caption = "Clean quality"
    made = tag("table", tag("caption", caption), tag("thead", _head(found)), tag("tbody", body),
               class_="numbers wide")  # fmt: skip
    lead = "One row a model; the best of each column, among models as trained, is bold."
    if any(c.hidden for c in found.columns):
        lead += " Cold items were in no training event: only text can rank them."
    return section(
        "quality",
        "Quality of every model",
        lead,
        doubts(f for row in found.rows for f in row.cells.values()),
        scroll(caption, made),
        [note(text) for text in found.notes],
    )


def _head(found: Models) -> list[Html]:
    """Two lines: what was ranked, then the metrics."""
    tops = [(name, len(list(group))) for name, group in groupby(c.heading for c in found.columns)]
    first = tag("th", "Model", scope="col", rowspan=2)
    over = [tag("th", name, scope="colgroup", colspan=width) for name, width in tops]
    under = [tag("th", c.label, scope="col") for c in found.columns]
    return [tag("tr", first, over, class_="over"), tag("tr", under, class_="under")]


def _row(evidence: Evidence, found: Models, row: ModelRow) -> Html:
    name = [row.model, tag("span", row.stage, class_="small")] if row.stage else row.model
    cells = []
    for column in found.columns:
        cell = row.cells.get(column)
        value = cell.value if cell is not None and not row.stage else None
        top = value is not None and value == found.best(column)
        cells.append(number_cell(cell, spell_of(column.metric), top, seeds=False))
    ours = row.model == evidence.model
    return tag("tr", tag("th", name, scope="row"), cells, class_="ours" if ours else None)
