"""Cards of attacks on the log: what they know, and what the kept poisoning runs measured."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["knows", "measured_profiles"]

_KNOWS = {
    "catalogue": "items, bestsellers, scale and days of the log",
    "statistics": "also how often and how well each item is rated, and all lengths of histories",
    "log": "the whole training log",
}
_WIDE = 90
"""Characters of a label that a table still holds."""
_DETECTORS = ("two-stage", "boosted")
"""One without and one with examples of other attacks; of those that a run has."""


def knows(attack: Any) -> Iterator[str]:
    """Rows of a card's first table."""
    yield f"| writes | {', '.join(attack.surfaces)} |"
    yield f"| needs to know at least | {_KNOWS[attack.needs]} ({attack.needs}) |"
    yield "| asks the victim | never: no queries |"
    yield f"| goals | {', '.join(attack.goals)} |"
    if getattr(attack, "rated", False):
        yield "| works only | where users rate |"


def measured_profiles(attack: Any, results: Mapping[str, Any]) -> Iterator[str]:
    """results: name -> a kept result of `benchmarks/poisoning.py`."""
    for name, result in results.items():
        exposure = result["figures"]["exposure"]
        arms = {arm: _of(attack, rows) for arm, rows in exposure.items()}
        if not any(arms.values()):
            continue
        k = max(int(m.partition("@")[2]) for rows in arms.values() for row in rows.values()
                for m in row if m.startswith("er_after@"))  # fmt: skip
        yield f"**{name}**, seeds {result['seeds']}; mean [95 % interval]:\n"
        yield f"| victim/arm | attack | T-HR@{k} | gain | prediction shift | NDCG@10 lost |"
        yield "|---|---|---|---|---|---|"
        for arm, rows in arms.items():
            for trial, row in rows.items():
                cells = (row.get(f"er_after@{k}"), row.get(f"er_gain@{k}"), row.get("shift"),
                         row.get("drop(ndcg@10)"))  # fmt: skip
                yield f"| {arm} | {_short(trial)} | {' | '.join(_cell(c) for c in cells)} |"
        yield ""
        yield from _found(attack, result["figures"]["detectors"])


def _found(attack: Any, detectors: Mapping[str, Any]) -> Iterator[str]:
    for detector in _DETECTORS:
        auroc, recall = (_of(attack, detectors[m].get(detector, {})) for m in ("auroc", "recall"))
        for trial, found in auroc.items():
            yield (
                f"- `{detector}` finds `{trial}` with AUROC {_cell(found)}, recall "
                f"{_cell(recall.get(trial))} at 1 % false positives"
            )
    yield ""


def _of(attack: Any, rows: Mapping[str, Any]) -> dict[str, Any]:
    """Of this kind, whatever its hyperparameters."""
    return {t: row for t, row in rows.items() if t.partition("(")[0].strip() == attack.kind}


def _short(trial: str) -> str:
    """Without hyperparameters that would fill the page; what knows a defence stays marked."""
    kind, _, rest = trial.partition("(")
    if len(trial) <= _WIDE:
        return trial
    return f"{kind}(…){' (adaptive)' if rest.endswith('(adaptive)') else ''}"


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    mark = " (a check failed)" if figure.get("reliable") is False else ""
    if figure.get("low") is None:
        return f"{figure['value']:.4f}{mark}"
    return f"{figure['value']:.4f} [{figure['low']:.4f}, {figure['high']:.4f}]{mark}"
