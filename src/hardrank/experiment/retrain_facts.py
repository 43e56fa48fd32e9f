"""What a retraining writes into the challenger's bundle: figures, counts, how far it read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from hardrank.experiment.retrain_compare import Compared
from hardrank.experiment.retrain_decision import surging
from hardrank.experiment.retrain_growth import Grown
from hardrank.experiment.retrain_log import Merged
from hardrank.experiment.retrain_screen import Screened
from hardrank.experiment.retrain_spec import Retraining
from hardrank.experiment.retrain_split import Cut
from hardrank.experiment.retrain_start import Begun
from hardrank.serve.lifecycle import Figures

if TYPE_CHECKING:
    from hardrank.serve.records import EventRow

__all__ = ["facts_of", "reading"]

_PRIVATE = ("store", "screen", "champion", "data")
"""Of the configuration: addresses, paths and user ids stay out of the bundle."""


def facts_of(
    spec: Retraining, found: Screened, held_back: Grown | None, start: Begun, both: Compared
) -> dict[str, Any]:
    """No user is named, no address of the store: the bundle may be passed on."""
    config = TypeAdapter(Retraining).dump_python(spec, mode="json", exclude_none=True)
    figures = (both.champion, both.challenger)
    return {
        "figures": {n: _summary(f) for n, f in zip(("champion", "challenger"), figures,
                                                   strict=True)},
        "quality": both.quality, "flagged": found.flagged.height, "judged": found.judged,
        "dropped": found.log.dropped,
        "growth": None if held_back is None else held_back.facts,
        "unmeasured": [
            name
            for trial in spec.audit.trials
            for name in trial.labels()
            if not all(name in f.attacks for f in figures)
        ],
        "surging": list(surging(*figures)), "began": start.said,
        "config": {k: v for k, v in config.items() if k not in _PRIVATE},
        "detector": Path(spec.screen.detector).name,
    }  # fmt: skip


def reading(
    events: "Sequence[EventRow]", log: Merged, parts: Cut, held_back: Grown | None
) -> dict[str, Any]:
    """For the next retraining: how far this one read, from where on it held out, and the numbers
    of all events that a cap kept out and that stay out: their accounts are old ones to it."""
    last = events[-1]
    out = set(log.left_out) - set(log.sequence[parts.learned].tolist())
    if held_back is not None:
        out |= set(held_back.events["sequence"].to_list())
    return {
        "read": last.sequence, "read_at": last.received, "held": list(parts.held),
        "left_out": sorted(out),
    }  # fmt: skip


def _summary(figures: Figures) -> Mapping[str, Any]:
    return {"ndcg": figures.ndcg, "queries": figures.queries, "attacks": dict(figures.attacks)}
