"""A trial from the options of a command line, and its outcome as lines of text."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hardrank.errors import ConfigError
from hardrank.experiment.attack_bundle import Attacked
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import Trial
from hardrank.findings import Finding

__all__ = ["outcome_table", "trial_of"]

_GOALS = ("promote", "demote", "degrade")
_SURFACES = ("item-text", "history")
"""What a bundle can be attacked on; queries and features are attacked from Python."""
_HEADS = {
    "er_before": "ER before", "er_after": "ER after", "rank_before": "rank before",
    "rank_after": "rank after", "asr": "ASR", "value": "list kept", "words": "words",
    "events": "events", "similarity": "similarity", "queries": "queries", "seconds": "seconds",
}  # fmt: skip
_DECIMALS = {"rank_before": 0, "rank_after": 0, "queries": 0, "er_before": 4, "er_after": 4}


def trial_of(
    attacks: Sequence[str],
    *,
    goal: str,
    items: str,
    k: int,
    surface: str,
    knowledge: str,
    field: str,
    budget: Mapping[str, Any],
    users: int,
) -> Trial:
    """Raises `ConfigError` that lists all mistakes. Each attack is a kind or a TOML table."""
    wrong = [
        f"--{name} {value}: must be one of {', '.join(allowed)}"
        for name, value, allowed in (("goal", goal, _GOALS), ("surface", surface, _SURFACES))
        if value not in allowed
    ]
    if wrong:
        raise ConfigError("attack run", wrong)
    wanted: dict[str, Any] = {"kind": goal, "k": k}
    if items:
        wanted["items"] = items if ":" in items else [i.strip() for i in items.split(",")]
    threat = {
        "goal": wanted, "surface": surface, "knowledge": knowledge, "field": field,
        "budget": {name: value for name, value in budget.items() if value is not None},
    }  # fmt: skip
    raw = {"threat": threat, "attacks": [_spelled(a) for a in attacks], "users": users}
    try:
        return TypeAdapter(Trial).validate_python(raw)
    except ValidationError as error:
        raise ConfigError("attack run", mistakes(error, Trial)) from error


def _spelled(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return {"kind": text}
    try:
        table: dict[str, Any] = tomllib.loads(f"attack = {text}")["attack"]
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("attack run", [f"--attack {text}: not TOML: {error}"]) from error
    return table


def outcome_table(attacked: Attacked) -> list[str]:
    """One line for each attack; the reasons of attacks that could not be mounted below."""
    trials = list(dict.fromkeys(f.trial for f in attacked.findings))
    by_trial: dict[str, dict[str, Finding]] = {t: {} for t in trials}
    for finding in attacked.findings:
        by_trial[finding.trial][finding.formula or finding.metric] = finding
    shown = [m for m in _HEADS if any(m in found for found in by_trial.values())]
    rows = [["attack", *(_HEADS[m] for m in shown)]]
    rows += [[t, *(_cell(m, by_trial[t].get(m)) for m in shown)] for t in trials]
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = ["  ".join(_set(row, widths)).rstrip() for row in rows]
    refused = {m.attack: m.error for m in attacked.matches if m.error}
    return lines + [f"{attack}: not mounted: {why}" for attack, why in refused.items()]


def _set(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]


def _cell(metric: str, finding: Finding | None) -> str:
    if finding is None or finding.value is None:
        return "-"
    return f"{finding.value:.{_DECIMALS.get(metric, 2)}f}"
