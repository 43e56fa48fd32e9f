"""What each attack costs and gives away, and what attacks on histories do."""

from collections import Counter

import polars as pl

from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.layout import attack_label, number_cell, section, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.words import metric_name, spell_of

__all__ = ["costs_section", "histories_section"]

_COSTS = ("words", "similarity", "cosine", "perplexity", "queries")
_HISTORIES = ("rank_before", "rank_after", "asr", "value", "events", "queries")
_NAMES = {"value": "List kept (Jaccard)"}


def costs_section(evidence: Evidence) -> Html:
    """On the control: what a seller pays, and what a moderator could notice."""
    trials = dict.fromkeys(f.trial for f in evidence.of("promotion"))
    known = [m for m in _COSTS if any(_has(evidence, "promotion", t, m) for t in trials)]
    if not known:
        return Html("")
    rows = [_row(evidence, "promotion", CONTROL, trial, tuple(known)) for trial in trials]
    return section(
        "costs",
        "What an attack costs",
        "Means over targets on the control. Similarity and cosine compare with the original text "
        "(characters; latent meaning), perplexity is the new text's over the old one's: none is "
        "the victim's own judgement, and none proves that a moderator would not notice.",
        table("Costs", ["Attack", *(_NAMES.get(m, metric_name(m)) for m in known)], rows),
        _cheapest(evidence),
    )


def histories_section(evidence: Evidence) -> Html:
    trials = dict.fromkeys(f.trial for f in evidence.of("history"))
    if not trials:
        return Html("")
    arms = [a for a in (CONTROL, HARDENED) if evidence.of("history", subject=evidence.subject(a))]
    rows = [
        _row(evidence, "history", arm, trial, _HISTORIES, arm) for trial in trials for arm in arms
    ]
    head = ["Attack", "Arm", *(_NAMES.get(m, metric_name(m)) for m in _HISTORIES)]
    return section(
        "histories",
        "Attacks on histories",
        "Events slipped into one user's history. Rank: of the item that is to enter or leave that "
        "user's list, or the mean rank of what stood in the list.",
        table("Attacks on histories", head, rows),
    )


def _row(
    evidence: Evidence, audit: str, arm: str, trial: str, metrics: tuple[str, ...], *cells: str
) -> Html:
    subject = evidence.subject(arm)
    found = [evidence.one(audit, subject=subject, trial=trial, metric=m) for m in metrics]
    numbers = [
        number_cell(f, spell_of(m), seeds=False) for f, m in zip(found, metrics, strict=True)
    ]
    named = [tag("td", cell) for cell in cells]
    return tag("tr", tag("th", attack_label(trial), scope="row"), named, numbers)


def _has(evidence: Evidence, audit: str, trial: str, metric: str) -> bool:
    found = evidence.one(audit, subject=evidence.subject(CONTROL), trial=trial, metric=metric)
    return found is not None and found.value is not None


def _cheapest(evidence: Evidence) -> Html:
    """Which attack reached the goal on a target with the fewest queries, then words."""
    rows = evidence.rows("promotion")
    rows = rows.filter(
        (pl.col("subject") == evidence.subject(CONTROL)) & ~pl.col("excluded").fill_null(False)
    )
    won = rows.filter(pl.col("success").fill_null(False)).sort("queries", "words", "trial")
    best = won.group_by("seed", "sample", maintain_order=True).first()
    if not rows.height:
        return Html("")
    total = rows.select("seed", "sample").n_unique()
    counts = Counter(best["trial"].to_list()).most_common()
    parts = [f"{trial} {count}" for trial, count in counts]
    parts += [f"none {total - best.height}"] if best.height < total else []
    return tag("p", f"Cheapest successful attack by target: {', '.join(parts)}.", class_="note")
