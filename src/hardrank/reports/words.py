"""What audits, metrics, groups and trials are called where people read."""

import re
from collections.abc import Callable, Iterable

from hardrank.findings import Finding
from hardrank.reports.numbers import Spell, count, decimal, metric_k, percent

__all__ = ["GROUPS", "attack_name", "attack_parts", "doubts", "gate_kind", "gate_name"]
__all__ += ["gate_state", "group_name", "listed", "metric_name", "place", "spell_of", "too_few"]

GROUPS = ("all", "warm", "head", "mid", "tail", "cold")
"""Order in which groups are shown; others follow by name."""

_METRICS = {
    "hr": "HR",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "recall": "Recall",
    "map": "MAP",
    "er": "Exposure",
    "er_before": "Exposure before",
    "er_after": "Exposure after",
    "er_gain": "Exposure gain",
    "asr": "Attack success rate",
    "rank_before": "Mean rank before",
    "rank_after": "Mean rank after",
    "rank_gain": "Mean rank gain",
    "defence_effect": "Gain removed by hardening",
    "price": "Price of robustness",
    "price_ndcg": "Price of robustness, NDCG",
    "words": "Words edited",
    "word_share": "Share of words edited",
    "chars": "Characters edited",
    "similarity": "Similarity to the original",
    "cosine": "Cosine to the original",
    "perplexity": "Perplexity, log10 of the ratio",
    "events": "Events changed",
    "queries": "Queries per target",
    "seconds": "Seconds per target",
    "auc": "Area under the ROC curve",
    "accuracy_before": "Accuracy before",
    "accuracy_after": "Accuracy under attack",
    "f1": "F1",
    "f1_after": "F1 under attack",
    "precision": "Precision",
    "precision_after": "Precision under attack",
    "recall_after": "Recall under attack",
    "accuracy": "Accuracy",
    "ece": "Calibration error (ECE)",
}
_SHARES = ("er", "asr", "defence_effect", "price", "success", "word_share", "drop")
_COUNTS = ("rank", "words", "chars", "queries", "seconds", "items", "users", "events")

State = str


def metric_name(metric: str) -> str:
    """`er_gain@10` -> `Exposure@10 gain`; an unknown metric is its own name, spaced."""
    name, k = metric_k(metric)
    shown = _METRICS.get(name, name.replace("_", " ").replace("-", " "))
    first, _, rest = shown.partition(" ")
    if name.startswith("er"):  # Exposure@10 before
        return " ".join(part for part in (f"{first}@{k}" if k else first, rest) if part)
    return f"{shown}@{k}" if k else shown


def spell_of(metric: str) -> Spell:
    """Shares as per cent, ranks and costs as counts, quality with four decimals."""
    name, _ = metric_k(metric)
    table: tuple[tuple[tuple[str, ...], Callable[[float], str]], ...] = (
        (_SHARES, percent),
        (_COUNTS, count),
    )
    for prefixes, spell in table:
        if any(name == p or name.startswith(f"{p}_") for p in prefixes):
            return spell
    return decimal


def group_name(group: str) -> str:
    return {"all": "all items"}.get(group, f"{group} items" if group in GROUPS else group)


def place(group: str) -> tuple[int, str]:
    """Sort key of a group."""
    return (GROUPS.index(group) if group in GROUPS else len(GROUPS), group)


def attack_parts(trial: str) -> tuple[str, str]:
    """`copycat(candidates=50)` -> (`copycat`, `candidates=50`); the options may be empty. What
    an attack saw (`[ranks]`) and the trial's name (`(5 words)`) are options, too."""
    found = re.fullmatch(r"([\w.+-]+)(?:\((.*?)\))?((?: [(\[].*)?)", trial, re.DOTALL)
    if not found:
        return trial or "unnamed attack", ""
    return found[1], " ".join(part for part in (found[2] or "", found[3].strip()) if part)


def attack_name(trial: str, among: Iterable[str] = ()) -> str:
    """Without its options, unless another attack of `among` differs in nothing else."""
    name = attack_parts(trial)[0]
    alike = {t for t in among if attack_parts(t)[0] == name}
    return trial if alike - {trial} else name


def gate_name(finding: Finding) -> str:
    """`quality_floor` of the group `cold` -> `quality floor, cold items`."""
    name, k = metric_k(finding.metric)
    shown = name.replace("_", " ").replace("-", " ") + (f"@{k}" if k else "")
    parts = [shown]
    if finding.group != "all":
        parts.append(group_name(finding.group))
    parts += [str(finding.where[c]) for c in ("goal", "site") if finding.where.get(c)]
    if finding.trial not in ("clean", ""):
        parts.append(finding.trial)
    return ", ".join(parts)


_GATES = {
    "quality": ("quality_floor", "tells_texts_apart", "tells_items_apart", "tells_queries_apart"),
    "control": ("control_arm",),
    "unseen": (
        *("unseen_attack", "adaptive_attack", "text_confirmation", "coverage_stated"),
        *("targets_not_in_training_pool", "split_without_leaks", "strangers_to_test"),
    ),
}


_WEIGHED = ("attack_works_undefended", "black_box_no_better", "transfer_beats_random")
"""Checks that look and may still not know."""


def gate_kind(finding: Finding) -> str:
    """Which of the four gates the check belongs to: `quality`, `control`, `unseen`, `sanity`."""
    name = metric_k(finding.metric)[0].replace(" ", "_")
    return next((kind for kind, names in _GATES.items() if name in names), "sanity")


def doubts(findings: Iterable[Finding | None]) -> list[str]:
    """Each distinct reason for an unreliable or missing number once: it is told beside a
    table, whose cells only say `unreliable` or `no value`."""
    told: dict[str, None] = {}
    for f in findings:
        if f is not None and f.value is None:
            told[f"No value: {f.reason or 'no reason given'}"] = None
        elif f is not None and not f.reliable:
            advice = f". What to try: {f.remedy}" if f.remedy else ""
            told[f"Unreliable: {f.reason or 'an audit marked it so'}{advice}"] = None
    return list(told)


def too_few(reason: str) -> str:
    """The part of a gate's reason that says that its samples cannot decide, or nothing.

    `ndcg@10 falls by 1 %; 18 samples are too few to say` -> `18 samples are too few to say`.
    """
    return next((part.strip() for part in reason.split(";") if "too few" in part), "")


def gate_state(finding: Finding) -> State:
    """`passed` where every seed passed (value 1: the share that did), `failed` where one did
    not or the audit calls the finding unreliable. Without a value `undecided` where it was
    measured on too few samples or what was seen says neither, else `not run`."""
    if finding.value is None:
        return "undecided" if too_few(finding.reason) or finding.metric in _WEIGHED else "not run"
    return "passed" if finding.value >= 1 and finding.reliable else "failed"


def listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]
