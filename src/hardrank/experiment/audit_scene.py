"""One victim and what it is audited on."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from hardrank.audits.catalogue import popularity_groups
from hardrank.bundle import load_bundle
from hardrank.context import RunContext, derive
from hardrank.data import Holdout
from hardrank.data.splits import Split
from hardrank.errors import DataError
from hardrank.experiment.audit_spec import Audit
from hardrank.recommender import Recommender
from hardrank.victims import BundleVictim, Connection, HttpVictim, connect

__all__ = ["Scene", "label_of", "scene"]

_log = logging.getLogger("hardrank")


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """What all stages of an audit share."""

    audit: Audit
    victim: Recommender
    connection: Connection | None
    """None for a bundle, which is here."""
    split: Split
    holdout: Holdout
    """The test users on whom everything is measured."""
    groups: Sequence[str]
    folder: Path
    run: RunContext

    @property
    def subject(self) -> str:
        """The report shows the arm that nobody hardened."""
        return f"{label_of(self.audit)}/control"


def label_of(audit: Audit) -> str:
    """The victim's name in findings: `module:callable`, `host:port`, or the bundle's folder."""
    victim = audit.victim
    if isinstance(victim, HttpVictim):
        return urlsplit(victim.url).netloc
    return victim.path.resolve().name if isinstance(victim, BundleVictim) else victim.target


@contextmanager
def scene(
    audit: Audit, split: Split, folder: Path, run: RunContext, beside: Sequence[Path]
) -> Iterator[Scene]:
    """The victim is asked while the block lasts. Raises as `hardrank.victims.connect`, and
    `DataError` for a bundle of another catalogue."""
    holdout = _some(split.test, audit.users, audit.seeds[0])
    about: dict[str, Any] = {
        "audit": audit, "split": split, "holdout": holdout, "folder": folder, "run": run,
        "groups": popularity_groups(split.train.counts),
    }  # fmt: skip
    if isinstance(audit.victim, BundleVictim):
        yield Scene(victim=_bundled(audit.victim, split, run), connection=None, **about)
        return
    with connect(
        audit.victim, split.train.items, split.train.users["user_id"].to_list(),
        queries=holdout.queries, k=audit.k, folder=folder, beside=beside,
    ) as connection:  # fmt: skip
        _log.info("%s", connection.describe())
        yield Scene(victim=connection.victim, connection=connection, **about)


def _bundled(victim: BundleVictim, split: Split, run: RunContext) -> Recommender:
    found = load_bundle(victim.path, run).recommender
    if not found.items["item_id"].equals(split.train.items["item_id"]):
        raise DataError(
            f"the bundle {victim.path} ranks another catalogue than '{split.train.name}'",
            remedy="give [data] as it was when the bundle was made",
        )
    return found


def _some(holdout: Holdout, users: int | None, seed: int) -> Holdout:
    if users is None or users >= len(holdout):
        return holdout
    order = np.random.default_rng(derive(seed, "users")).permutation(len(holdout))
    return holdout.take(np.sort(order[:users]))
