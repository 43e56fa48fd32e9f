"""Worst cases as text, so that a person can judge what got through."""

from hardrank.reports.cases import Case, worst_cases
from hardrank.reports.diffs import Piece
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.layout import attack_label, section
from hardrank.reports.markup import Html, join, tag
from hardrank.reports.numbers import count, percent, plain

__all__ = ["worst_section"]

_TITLES = {HARDENED: "What still gets through the hardened model", CONTROL: "On the control model"}


def worst_section(evidence: Evidence) -> Html:
    blocks = []
    for arm in (HARDENED, CONTROL):
        cases = worst_cases(evidence, arm)
        if cases:
            blocks.append(tag("h3", _TITLES[arm]))
            blocks.append(tag("ol", [_card(case) for case in cases], class_="cases"))
    if not blocks:
        return Html("")
    lead = tag(
        "span", "Item text before and after: ", tag("del", "removed"), " and ",
        tag("ins", "added"), " words. The two strongest rewrites of each attack. Hidden "
        "characters are spelt out.",
    )  # fmt: skip
    return section("cases", "Worst cases", lead, blocks)


def _card(case: Case) -> Html:
    facts = [
        ("Mean rank", _arrow(case.rank_before, case.rank_after)),
        ("Words edited", _known(case.words)),
        ("Queries", _known(case.queries)),
        ("Similarity", "" if case.similarity is None else plain(case.similarity, 2)),
        ("Seed", _known(case.seed)),
    ]
    head = tag(
        "p", tag("b", attack_label(case.trial)), " on item ", tag("bdi", case.item),
        tag("span", percent(case.before), " → ", tag("strong", percent(case.after)),
            class_="swing", title="exposure before and after"),
        class_="case-head",
    )  # fmt: skip
    shown = [tag("div", tag("dt", k), tag("dd", v)) for k, v in facts if v]
    return tag("li", head, tag("p", difference(case.pieces), class_="diff"), tag("dl", shown))


def difference(pieces: tuple[Piece, ...]) -> Html:
    """Words with their fate; `bdi` keeps right-to-left text from reordering its neighbours."""
    parts = []
    for piece in pieces:
        words = tag("bdi", " ".join(piece.words))
        name = {"deleted": "del", "inserted": "ins"}.get(piece.op)
        parts.append(tag(name, words) if name else words)
        parts.append(Html(" "))
    return join(parts[:-1])


def _arrow(before: float | None, after: float | None) -> str:
    return "" if before is None or after is None else f"{count(before)} → {count(after)}"


def _known(value: int | None) -> str:
    return "" if value is None else count(value)
