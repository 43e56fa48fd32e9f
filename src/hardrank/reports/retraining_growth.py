"""The part of a retraining's page on the cap: what new accounts gave, and what was cut of it."""

from collections.abc import Mapping
from typing import Any

from hardrank.reports.layout import note, section, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import count

__all__ = ["growth_section"]

_COLUMNS = ["Item", "Events before", "By new accounts", "Allowed", "Cut", "Cut before"]
_COUNTS = ("earlier", "given", "allowed", "cut", "cut_before")


def growth_section(found: Mapping[str, Any] | None) -> Html:
    """The items that lost most events. found: as in `spec.json` under `retraining.growth`; None
    where nobody asked for a cap, and then there is nothing to show."""
    if found is None:
        return Html("")
    lead = (
        "New accounts may give an item what earlier users' choices foretell, and "
        f"{count(found['slack'])} standard deviations more. Of {count(found['given'])} events of "
        f"new accounts {count(found['cut'])} are beyond that, drawn by lot, and nothing was "
        "trained on them."
    )
    if not found["most"]:
        body = [note("No item was given more than that.")]
    else:
        body = [
            table("Items that lost most events to the cap", _COLUMNS, map(_row, found["most"])),
            note(
                "An item in this table may be pushed, and it may be a hit: a launch, a season, a "
                "campaign of the shop. Counts do not tell the two apart, so look at it. Where it "
                "is a hit, name it in growth.except_items and retrain: its events come back."
            ),
        ]
    if left := found["items"] - len(found["most"]):
        body.append(note(f"{count(left)} more items lost events: growth.parquet has them all."))
    if found["exempt"]:
        body.append(
            note(
                f"{count(found['exempt'])} events of new accounts are on items that are exempt: "
                "whoever pushes one of these is not held back by the cap."
            )
        )
    return section("growth", "What new accounts may do for an item", lead, *body)


def _row(item: Mapping[str, Any]) -> Html:
    name = f"{item['item_id']} (new in the catalogue)" if item["fresh"] else item["item_id"]
    cells = [tag("td", count(item[key]), class_="num") for key in _COUNTS]
    return tag("tr", tag("th", name, scope="row"), cells)
