"""A comparison as text for a terminal and as a page."""

from collections.abc import Sequence

from hardrank.experiment.compare import Attacked, Block, Row
from hardrank.findings import Finding
from hardrank.reports.document import document
from hardrank.reports.layout import doubts, note, number_cell, section, table
from hardrank.reports.markup import Child, Html, join, tag
from hardrank.reports.numbers import (
    Spell,
    count,
    decimal,
    interval,
    percent,
    plain,
    relative,
    signed,
)

__all__ = ["compare_page", "compare_text"]

_GROUPS = {"all": "NDCG@10", "tail": "tail", "cold": "cold"}
_GAP: Spell = signed(decimal)
_SHIFT: Spell = signed(percent)


def compare_text(blocks: Sequence[Block]) -> str:
    """Two tables a block: clean quality, then every attack."""
    parts = []
    for block in blocks:
        parts.append(f"{block.protocol}; differences are to {block.reference}")
        parts.append(_aligned([_clean_head(), *(_clean_row(row) for row in block.rows)]))
        attacked = [(row, name, each) for row in block.rows for name, each in row.attacks.items()]
        head = ("subject", "attack", "exposure gain", "removed", "difference", "n", "")
        body = [_attack_row(*each) for each in attacked]
        parts += [_aligned([head, *body])] if body else []
        reasons = dict.fromkeys(reason for row in block.rows for reason in row.reasons)
        parts += [f"unreliable: {reason}" for reason in reasons]
    return "\n\n".join(parts)


def compare_page(blocks: Sequence[Block], apart: Sequence[str]) -> str:
    """A whole HTML document."""
    runs = [name for block in blocks for name in block.runs]
    warning = (
        section(
            "apart", "Not comparable", "These runs stand in blocks of their own.",
            tag("ul", [tag("li", each) for each in apart]),
        )
        if apart else None
    )  # fmt: skip
    return document(
        "Runs side by side", "Hardrank comparison", " · ".join(runs), warning,
        [_block(block, n) for n, block in enumerate(blocks, 1)],
        synthetic=any(block.synthetic for block in blocks),
        footer="Made by Hardrank from samples.parquet of each run; the numbers with their "
        "formulas are in compare.json.",
    )  # fmt: skip


def _clean_head() -> tuple[str, ...]:
    return ("subject", *_GROUPS.values(), "difference", "price", "price, tail", "cost", "")


def _clean_row(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        *(_value(row.clean.get(group), decimal) for group in _GROUPS),
        _spelt(row.difference, _GAP),
        *(_spelt(row.price.get(group), relative) for group in ("all", "tail")),
        "-" if row.cost is None else f"{row.cost:.1f}x",
        "unreliable" if row.reasons else "",
    )


def _attack_row(row: Row, name: str, attack: Attacked) -> tuple[str, ...]:
    found = [f for f in (attack.gain, attack.effect, attack.difference) if f is not None]
    return (
        row.name, name, _spelt(attack.gain, percent), _spelt(attack.effect, relative),
        _spelt(attack.difference, _SHIFT), str(attack.gain.n),
        "" if all(f.reliable for f in found) else "unreliable",
    )  # fmt: skip


def _value(finding: Finding | None, spell: Spell) -> str:
    return "-" if finding is None or finding.value is None else spell(finding.value)


def _spelt(finding: Finding | None, spell: Spell) -> str:
    if finding is None or finding.value is None:
        return "-"
    return f"{spell(finding.value)} {interval(finding.low, finding.high, spell)}".strip()


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    padded = (zip(row, widths, strict=True) for row in rows)
    return "\n".join("  ".join(cell.ljust(w) for cell, w in row).rstrip() for row in padded)


def _block(block: Block, number: int) -> Html:
    lead = (
        f"Protocol: {block.protocol}. Brackets are 95 % bootstrap intervals; differences are "
        f"paired by seed and user or target, to {block.reference}."
    )
    title = "Subjects" if number == 1 else f"Subjects, block {number}"
    attacks = list(dict.fromkeys(name for row in block.rows for name in row.attacks))
    parts: list[Child] = [doubts(f for row in block.rows for f in row.findings), _clean(block)]
    parts += [_attack(block, name) for name in attacks]
    parts.append(note(f"Data fingerprint {block.fingerprint}."))
    return section(f"block-{number}", title, lead, parts)


def _clean(block: Block) -> Html:
    head = ["Subject", "NDCG@10", "Tail", "Cold", "Difference", "Price", "Price, tail", "Cost"]
    body = [
        tag(
            "tr", _name(row, block),
            [number_cell(row.clean.get(group), decimal, group == "all", seeds=False)
             for group in _GROUPS],
            number_cell(row.difference, _GAP, seeds=False),
            [number_cell(row.price.get(group), relative, seeds=False) for group in ("all", "tail")],
            tag("td", "–" if row.cost is None else f"{plain(row.cost, 1)}×", class_="num"),
        )
        for row in block.rows
    ]  # fmt: skip
    return table("Clean quality; the price is that against the run's own control", head, body)


def _attack(block: Block, name: str) -> Html:
    head = ["Subject", "Exposure gain", "Removed", "Difference", "Queries"]
    body = [
        tag(
            "tr", _name(row, block), number_cell(found.gain, percent, True, seeds=False),
            number_cell(found.effect, relative, seeds=False),
            number_cell(found.difference, _SHIFT, seeds=False),
            number_cell(found.queries, count, seeds=False),
        )
        for row in block.rows
        if (found := row.attacks.get(name)) is not None
    ]  # fmt: skip
    threat = note(block.threats.get(name, ""))
    return join([tag("h3", name), threat, table(f"Attack: {name}", head, body)])


def _name(row: Row, block: Block) -> Html:
    mark = tag("span", "reference", class_="small") if row.name == block.reference else None
    return tag("th", row.subject, tag("span", row.run, class_="small"), mark, scope="row")
