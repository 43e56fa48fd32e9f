"""What audits, metrics, groups and trials are called where people read."""

from collections.abc import Callable

from hardrank.findings import Finding
from hardrank.reports.numbers import Spell, count, decimal, metric_k, percent

__all__ = ["GROUPS", "attack_name", "gate_name", "gate_state", "group_name", "listed"]
__all__ += ["metric_name", "place", "spell_of"]

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
    "queries": "Queries per target",
    "seconds": "Seconds per target",
    "auc": "Area under the curve",
}
_SHARES = ("er", "asr", "defence_effect", "price", "success", "word_share", "drop")
_COUNTS = ("rank", "words", "chars", "queries", "seconds", "items", "users")

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


def attack_name(trial: str) -> str:
    return trial or "unnamed attack"


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


def gate_state(finding: Finding) -> State:
    """`passed` where every seed passed (value 1: the share that did), `failed` where one did
    not or the audit calls the finding unreliable, `not run` where there is no value."""
    if finding.value is None:
        return "not run"
    return "passed" if finding.value >= 1 and finding.reliable else "failed"


def listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]
