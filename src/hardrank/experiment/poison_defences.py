"""Detectors of a run, fitted on other attacks than they are asked about, and what is done
with their scores."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.data.antidote import with_antidote
from hardrank.data.filtering import Detector, down_weight, filtered
from hardrank.data.growth import growth_capped
from hardrank.detection.examples import LabelledLog
from hardrank.experiment.poison_spec import Defence
from hardrank.experiment.poison_weights import noted
from hardrank.types import Floats

__all__ = ["Detectors", "befriended", "capped", "defended", "newcomers", "threshold"]

_log = logging.getLogger("hardrank")
Doubles = NDArray[np.float64]


@dataclass(eq=False, kw_only=True)
class Detectors:
    """One seed's detectors. One that learns is fitted once for each family that it must not
    have met, when it is first asked."""

    examples: Mapping[str, Sequence[LabelledLog]]
    """Family of the attack -> its example logs."""
    trusted: Dataset | None = None
    """An earlier log without attacks, for detectors that learn from such."""
    run: RunContext
    made: dict[tuple[str, str], Detector] = field(default_factory=dict)
    scored: dict[tuple[str, str, str], Floats] = field(default_factory=dict)
    """(Detector, family, fingerprint of a log) -> (U,) scores: all victims train on one log."""

    def remembered(self, spec: Any, family: str = "") -> Detector:
        """The same as `without`, for logs that are scored again and again."""
        family = "" if not hasattr(spec, "fit") or hasattr(spec, "fit_trusted") else family

        def scores(dataset: Dataset) -> Floats:
            key = (repr(spec), family, dataset.fingerprint)
            if key not in self.scored:
                self.scored[key] = self.without(spec, family)(dataset)
            return self.scored[key]

        return scores

    def without(self, spec: Any, family: str = "") -> Detector:
        """The detector that met every family but this one; all of them for none."""
        if hasattr(spec, "fit_trusted"):
            family = ""  # meets no attack at all
        elif not hasattr(spec, "fit"):
            made: Detector = spec
            return made
        key = (repr(spec), family)
        if key not in self.made and hasattr(spec, "fit_trusted"):
            assert self.trusted is not None, "a detector that learns needs a log to learn from"
            seeded = self.run.seeded(derive(self.run.seed, "detector", *key))
            self.made[key] = spec.fit_trusted(self.trusted, replace(seeded, folder=None))
        if key not in self.made:
            logs = [log for name, some in self.examples.items() if name != family for log in some]
            _log.info("fitting %s without %s on %d logs", spec.kind, family or "nothing", len(logs))
            seeded = self.run.seeded(derive(self.run.seed, "detector", *key))
            self.made[key] = spec.fit(logs, seeded)
        return self.made[key]


def threshold(detector: Detector, clean: Dataset, flagged: float) -> float:
    """The score that this share of the users of a trusted, earlier log exceeds."""
    scores = _scores(detector, clean)
    known = scores[~np.isnan(scores)]
    return float(np.quantile(known, 1 - flagged, method="higher")) if len(known) else np.inf


def defended(
    defence: Defence, detector: Detector | None, clean: Dataset, log: Dataset
) -> tuple[Dataset, Doubles]:
    """The log that training reads, and (U,) trust in each user's events: 0 where dropped."""
    if detector is None:
        return log, np.ones(log.n_users)
    scores = _scores(detector, log)
    border = threshold(detector, clean, defence.flagged)
    if defence.action == "drop":
        kept = np.where(np.nan_to_num(scores, nan=-np.inf) > border, 0.0, 1.0)
        return filtered(log, scores.astype(np.float32), threshold=border).dataset, kept
    trust = _trust(scores, border)
    return noted(down_weight(log, trust.astype(np.float32)).dataset, trust), trust


def capped(defence: Defence, clean: Dataset, log: Dataset, *, seed: int) -> Dataset:
    """The log without what new users give an item beyond the cap; the log itself without one."""
    if defence.growth is None:
        return log
    rng = np.random.default_rng(derive(seed, "growth", defence.name))
    new = np.ones(log.n_users, dtype=np.bool_)
    new[: clean.n_users] = newcomers(clean, defence.growth.newcomers, seed=seed)
    return growth_capped(log, new, rng, slack=defence.growth.slack).dataset


def newcomers(clean: Dataset, share: float, *, seed: int) -> NDArray[np.bool_]:
    """(U,) the share of the users whose first event is the latest; by lot without times."""
    late = np.random.default_rng(derive(seed, "newcomers")).permutation(clean.n_users)
    if "time" in clean.events.columns:
        first = np.full(clean.n_users, -np.inf)
        started = clean.events.group_by("user").agg(pl.col("time").min().to_physical())
        first[started["user"].to_numpy()] = started["time"].to_numpy()
        late = late[np.argsort(first[late], kind="stable")]
    out = np.zeros(clean.n_users, dtype=np.bool_)
    out[late[clean.n_users - round(share * clean.n_users) :]] = True
    return out


def befriended(defence: Defence, log: Dataset, *, seed: int) -> Dataset:
    """The log with the defence's friendly users behind all others; the log itself without."""
    if defence.antidote is None:
        return log
    rng = np.random.default_rng(derive(seed, "antidote", defence.name))
    wanted = defence.antidote
    return with_antidote(log, users=wanted.users, length=wanted.length, rng=rng)


def _scores(detector: Detector, log: Dataset) -> Doubles:
    """As single precision holds them, on either side of the threshold."""
    return np.asarray(detector(log), dtype=np.float32).astype(np.float64)


def _trust(scores: Doubles, border: float) -> Doubles:
    """1 up to the median, falling to 0.05 at the border and beyond: no user is lost wholly."""
    known = scores[~np.isnan(scores)]
    middle = float(np.median(known)) if len(known) else 0.0
    width = max(border - middle, 1e-12)
    fall = np.clip((np.nan_to_num(scores, nan=middle) - middle) / width, 0, 1)
    return np.asarray(1 - 0.95 * fall**2)
