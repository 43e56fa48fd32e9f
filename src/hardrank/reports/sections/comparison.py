"""Control against hardened, clean and under each attack."""

from dataclasses import replace
from itertools import groupby

from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.layout import change_cell, doubts, number_cell, section, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.table import Row, comparison
from hardrank.reports.verdict import verdict

__all__ = ["comparison_section"]

_LEAD_METRICS = ("er_after", "er_gain", "ndcg", "accuracy")


def comparison_section(evidence: Evidence) -> Html:
    rows = comparison(evidence)
    if not rows:
        return Html("")
    both = evidence.has_hardened
    if verdict(evidence).status == "unreliable":
        rows = tuple(_unclaimed(row) for row in rows)
    body = []
    for (heading, detail), group in groupby(rows, key=lambda row: (row.heading, row.detail)):
        small = tag("span", detail, class_="options") if detail else None
        head = tag(
            "th",
            heading,
            " " if detail else None,
            small,
            colspan=4 if both else 2,
            scope="rowgroup",
        )
        body.append(tag("tr", head, class_="group"))
        body += [_row(row, both) for row in group]
    columns = ["Measure", CONTROL.capitalize()]
    columns += [HARDENED.capitalize(), "Change"] if both else []
    lead = (
        "Same data, steps and seeds; only the training objective differs. Brackets are 95 % "
        "bootstrap intervals; sd is the standard deviation between seeds."
    )
    if evidence.alias:
        lead += f" Hardened is the arm “{evidence.alias}”; the others stand under Significance."
    title = "Control and hardened, side by side" if both else "The control model"
    made = table(evidence.model, columns, body, "numbers lined stacks")
    why = doubts(f for row in rows for f in (row.control, row.hardened))
    return section("comparison", title, lead, why, made)


def _unclaimed(row: Row) -> Row:
    """No number is called better where a gate failed; worse stays worse."""
    if row.change is None or not row.change.better:
        return row
    return replace(row, change=replace(row.change, better=None))


def _row(row: Row, both: bool) -> Html:
    found = row.control or row.hardened
    lead = found is not None and found.metric.startswith(_LEAD_METRICS)
    cells = [number_cell(row.control, row.spell, lead)]
    if both:
        cells += [number_cell(row.hardened, row.spell, lead), change_cell(row.change)]
    return tag("tr", tag("th", row.label, scope="row"), cells)
