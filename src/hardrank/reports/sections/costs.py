"""What each attack costs and gives away, and what attacks on histories do."""

from collections import Counter
from functools import partial

import polars as pl

from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.layout import attack_label, number_cell, section, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import metric_k
from hardrank.reports.table import gain_of
from hardrank.reports.words import metric_name, spell_of

__all__ = ["costs_section", "histories_section"]

_COSTS = ("er_after", "rank_after", "asr", "words", "similarity", "cosine", "perplexity", "queries")
_HISTORIES = ("rank_before", "rank_after", "asr", "value", "events", "queries")
_NAMES = {"value": "List kept (Jaccard)"}


def costs_section(evidence: Evidence) -> Html:
    """On the control: what a seller pays, and what a moderator could notice."""
    found = evidence.of("promotion")
    named = {metric_k(f.metric)[0]: f.metric for f in found if f.value is not None}
    known = [named[m] for m in _COSTS if m in named]
    if "words" not in named:
        return Html("")
    trials = sorted(dict.fromkeys(f.trial for f in found), key=partial(_strength, evidence))
    rows = [_row(evidence, "promotion", CONTROL, trial, tuple(known)) for trial in trials]
    return section(
        "costs",
        "What each attack wins and costs",
        "Means over targets on the control, the strongest first. Similarity and cosine compare "
        "with the original text (characters; latent meaning), perplexity is the new text's over "
        "the old one's, in powers of ten: none is the victim's own judgement, and none proves "
        "that a moderator would not notice.",
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


def _strength(evidence: Evidence, trial: str) -> tuple[float, str]:
    """Sort key: the most exposure on the control first, ties by name."""
    gain = gain_of(evidence, CONTROL, trial)
    return (-gain.value if gain is not None and gain.value is not None else 1.0, trial)


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
