"""Logs of which it is known who is fake: what supervised detectors learn from.

Only here does a fake user's place in the table say anything; detectors never look at it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.errors import DataError, LeakError
from hardrank.threats.match import Match

__all__ = ["LabelledLog", "check_apart", "labelled", "usable", "users_apart"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LabelledLog:
    """One log with the fake users of one attack. Raises `DataError` for masks of other lengths."""

    dataset: Dataset
    fake: Mask
    """(U,)"""
    attack: str
    """Label of the attack: its kind, and in brackets what is not the default."""
    target: str = ""
    """Item id."""
    seed: int = 0
    shown: Mask | None = field(default=None, kw_only=True)
    """(U,) whose label a detector may learn; None for all. The others are in the log, too."""

    def __post_init__(self) -> None:
        for mask in (self.fake, self.shown):
            if mask is not None and (mask.dtype != np.bool_ or len(mask) != self.dataset.n_users):
                raise DataError(
                    f"{self.dataset.name}: expected a mask of {self.dataset.n_users} users"
                )

    @property
    def family(self) -> str:
        """The attack without its hyperparameters."""
        return self.attack.partition("(")[0]

    @cached_property
    def active(self) -> Mask:
        """(U,) who has an event."""
        return np.diff(self.dataset.offsets) > 0

    @property
    def learned(self) -> Mask:
        """(U,) whose label a detector may learn, as far as there is anything to learn from."""
        return self.active if self.shown is None else self.active & self.shown

    @cached_property
    def profiles(self) -> frozenset[frozenset[str]]:
        """The item ids of each fake user."""
        histories = self.dataset.histories()
        names = self.dataset.items["item_id"].to_list()
        return frozenset(
            frozenset(names[i] for i in histories.history(u).tolist())
            for u in np.flatnonzero(self.fake & self.active).tolist()
        )

    def hiding(self, users: Mask) -> "LabelledLog":
        """The same log without the labels of those real users. users: (U,)."""
        shown = ~users | self.fake
        return replace(self, shown=shown if self.shown is None else shown & self.shown)


def labelled(
    train: Dataset, match: Match | Patch, attack: str = "", *, target: str = "", seed: int = 0
) -> LabelledLog:
    """The log after the attack. A `Match` brings attack, target and seed along.

    Raises `DataError` for a patch without the name of its attack, or with no fake user.
    """
    if isinstance(match, Match):
        attack, target, seed = match.attack, match.target, match.seed
    patch = match.patch if isinstance(match, Match) else match
    if not attack:
        raise DataError("a patch does not say which attack it is of", remedy="give `attack`")
    if not any(isinstance(edit, AddProfile) for edit in patch.edits):
        raise DataError(f"attack '{attack}' added no user", remedy="give it a budget of profiles")
    after = train.apply(patch)
    fake = np.arange(after.n_users) >= train.n_users
    return LabelledLog(after, fake, attack, target, seed)


def users_apart(log: LabelledLog, share: float, seed: int, what: str) -> Mask:
    """(U,) about that share of all users: the same real users in every log of the same people.

    Drawn by a hash of seed, `what` and user id, so it does not depend on the order of users.
    """
    ids = log.dataset.users["user_id"].to_list()
    drawn = [derive(seed, what, name) < share * 2**63 for name in ids]
    return np.asarray(drawn, dtype=np.bool_)


def usable(examples: Sequence[LabelledLog]) -> Sequence[LabelledLog]:
    """The same. Raises `DataError` when there is nothing to learn from."""
    if not examples:
        raise DataError(
            "no example logs to learn from", remedy="give logs with fake users, such as attacks="
            "[random, average] of a fitting file, or use a detector that needs none",
        )  # fmt: skip
    if not any((log.fake & log.active).any() for log in examples):
        raise DataError(
            f"none of the {len(examples)} example logs has a fake user with an event",
            remedy="mount profile attacks on the log and give the logs that come out",
        )
    return examples


def check_apart(scored: LabelledLog, tested: Mask, examples: Sequence[LabelledLog]) -> None:
    """Raises `LeakError` when a detector that learned from `examples` knows what it is scored
    on: a fake user with just the items of one of theirs, or the label of a real user.

    tested: (U,) the real users of `scored` that it is scored on.
    """
    names = set(scored.dataset.users["user_id"].filter(tested).to_list())
    for example in examples:
        if shared := scored.profiles & example.profiles:
            raise LeakError(
                f"{len(shared)} fake users of the scored log ('{scored.attack}' on "
                f"'{scored.target}', seed {scored.seed}) are among the training examples "
                f"('{example.attack}' on '{example.target}', seed {example.seed})",
                remedy="score a detector on logs that it was not trained on",
            )
        real = example.dataset.users["user_id"].filter(example.learned & ~example.fake)
        if known := names.intersection(real.to_list()):
            raise LeakError(
                f"the labels of {len(known)} real users that the detector is scored on, such as "
                f"'{min(known)}', are among the training examples ('{example.attack}')",
                remedy="hide them from the examples: `LabelledLog.hiding`",
            )
