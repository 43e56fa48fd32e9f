"""What the file of `hardrank audit` can say, and every mistake in it at once."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len
from pydantic import TypeAdapter, ValidationError, field_validator

from hardrank.data.cleaning import Cleaning
from hardrank.data.labels import LabelPolicy
from hardrank.data.sources import Source
from hardrank.data.splits import LeaveOneOut, Splitter
from hardrank.errors import ConfigError
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import Trial, expanded, read_toml
from hardrank.experiment.thresholds import Threshold, names_of, parse_threshold
from hardrank.types import Count, Positive, spec
from hardrank.victims import BundleVictim, Victim, named_victim

__all__ = ["PROMOTION", "QUALITY", "Audit", "load_audit", "parse_audit"]

QUALITY = ("hr@10", "ndcg@10", "mrr")
PROMOTION = (
    "er_before", "er_after", "er_gain", "asr", "rank_before", "rank_after", "words",
    "similarity", "queries", "excluded", "failed",
)  # fmt: skip
"""Formulas that are measured of each attack; those of exposure are named with their `@k`."""


@spec
class Audit:
    """`hardrank audit FILE`: one recommender that is not ours, attacked as it stands."""

    name: str = "audit"
    """Heads the report and names the default run folder."""
    seeds: Annotated[tuple[int, ...], Len(min_length=1)] = (0,)
    """Targets, panel and attacks are drawn once for each."""
    data: Source
    """The catalogue that the victim ranks, and the users and events it knows."""
    labels: LabelPolicy | None = None
    """How ratings and kinds of events become positive events; None takes every event."""
    cleaning: Cleaning | None = None
    """Which rows go before anything is split; None keeps all."""
    split: Splitter = LeaveOneOut()
    """The test queries are the users of the audit; their held-out events measure quality."""
    victim: Victim
    """Who is audited; `--victim` on the command line goes before it."""
    trials: Annotated[tuple[Trial, ...], Len(min_length=1)]
    """Attacks on the texts of items, through the referee."""
    panel: Count = 64
    """Users through whom an attacker watches rankings: what one query of an attack costs."""
    users: Count | None = None
    """Test users that everything is measured on (so many at random); None for all."""
    success: Positive = 0.01
    """Share of eligible users whose list a promoted target must enter to count as a success."""
    fail_if: tuple[str, ...] = ()
    """Thresholds, such as `er_gain@10[copycat] > 0.01`: the exit code is 1 if one holds."""

    @field_validator("fail_if")
    @classmethod
    def _readable(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        wrong = []
        for text in texts:
            try:
                parse_threshold(text)
            except ValueError:
                wrong.append(f"'{text}'")
        if wrong:
            form = "write METRIC[ATTACK] > NUMBER, such as er_gain@10[copycat] > 0.01"
            raise ValueError(f"cannot read {', '.join(wrong)}; {form}")
        return texts

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        return tuple(map(parse_threshold, self.fail_if))

    @property
    def k(self) -> int:
        """Length of the longest list that a goal is about."""
        return max(getattr(trial.threat.goal, "k", 10) for trial in self.trials)


_ADAPTER: TypeAdapter[Audit] = TypeAdapter(Audit)


def load_audit(path: Path, victim: str | None = None) -> Audit:
    """victim: as `--victim` has it. Of the file's `[victim]` what concerns the same kind
    stays; a victim of another kind takes its place.

    Raises `ConfigError` that lists all mistakes of the file."""
    return parse_audit(read_toml(path), source=str(path), victim=victim)


def parse_audit(
    raw: Mapping[str, Any], *, source: str = "audit", victim: str | None = None
) -> Audit:
    """From nested dictionaries; see `load_audit`."""
    if victim is not None:
        named, stated = named_victim(victim), raw.get("victim")
        same = isinstance(stated, Mapping) and stated.get("kind") == named["kind"]
        raw = {**raw, "victim": {**(stated or {}), **named} if same else named}
    try:  # strict JSON: lists become tuples, but "3" or true is no number
        text = json.dumps(expanded(raw), default=str)
        audit = _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigError(source, [_hinted(m) for m in mistakes(error, Audit)]) from error
    if wrong := list(_clashes(audit)):
        raise ConfigError(source, wrong)
    return audit


def _hinted(mistake: str) -> str:
    if mistake == "victim: missing":
        return "victim: missing; write [victim], or give --victim with module:callable or a URL"
    return mistake


def _clashes(audit: Audit) -> Iterator[str]:
    """What is right by itself and wrong beside the rest of the file."""
    if isinstance(audit.victim, BundleVictim) and not (audit.victim.path / "spec.json").is_file():
        yield (
            f"victim.path: '{audit.victim.path}' is no bundle; a victim is module:callable, a URL "
            "or the folder of a bundle"
        )
    for n, trial in enumerate(audit.trials):
        if trial.threat.surface != "item-text":
            yield f"trials.{n}.threat.surface: an audit writes item-text alone"
        if trial.threat.goal.kind not in ("promote", "demote"):
            yield f"trials.{n}.threat.goal.kind: an audit promotes or demotes items"
        known = None if isinstance(audit.victim, BundleVictim) else audit.victim.fields
        if known is not None and trial.threat.field not in known:
            yield (
                f"trials.{n}.threat.field: '{trial.threat.field}' is not sent to the victim; add "
                f"it to victim.fields ({', '.join(known)})"
            )
    metrics = {*QUALITY, *(m for t in audit.trials for m in _metrics(t))}
    labels = [label for trial in audit.trials for label in trial.labels()]
    names = dict.fromkeys(name for label in labels for name in names_of(label))
    for n, threshold in enumerate(audit.thresholds):
        if threshold.metric not in metrics:
            yield (
                f"fail_if.{n}: no metric '{threshold.metric}' is measured; "
                f"allowed: {', '.join(sorted(metrics))}"
            )
        if threshold.trial and threshold.trial not in names:
            yield (f"fail_if.{n}: no attack '{threshold.trial}'; allowed: {', '.join(names)}")


def _metrics(trial: Trial) -> list[str]:
    k = getattr(trial.threat.goal, "k", 10)
    return [f"{name}@{k}" if name.startswith("er_") else name for name in PROMOTION]
