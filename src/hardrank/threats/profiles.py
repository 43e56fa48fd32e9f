"""The referee of poisoned logs: lets an attack write fake users, counts and checks them."""

import time
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from hardrank.context import RunContext, derive
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.data.filtering import Detector
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.threats.court import label
from hardrank.threats.log import KNOWLEDGE_OF_LOG, LOG_VIEWS, CatalogueView
from hardrank.threats.match import Match
from hardrank.threats.model import Budget, Demote, Promote, ThreatModel, aim_at
from hardrank.types import GoalKind, LogKnowledge, Surface

__all__ = ["ProfileAttack", "check_profiles", "play_profiles"]


@runtime_checkable
class ProfileAttack(Protocol):
    """A frozen bag of hyperparameters you can call: fake users for a training log."""

    needs: ClassVar[LogKnowledge]
    """What it has to know of the log; it gets no more."""
    surfaces: ClassVar[tuple[Surface, ...]]
    """`("profiles",)`"""
    goals: ClassVar[tuple[GoalKind, ...]]
    rated: ClassVar[bool]
    """It says something only by its ratings (love-hate): refused by a log without them."""

    @property
    def kind(self) -> str: ...

    def __call__(
        self, view: CatalogueView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        """`AddProfile` edits alone, at most `budget.profiles` of at most
        `budget.profile_events` events. Same view, goal, budget and rng state, same patch."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Limits:
    items: dict[str, int]
    users: dict[str, int]
    budget: Budget
    scale: tuple[float, float] | None
    window: tuple[int, int] | None


def play_profiles(
    attack: ProfileAttack,
    threat: ThreatModel,
    train: Dataset,
    *,
    target: str,
    seed: int = 0,
    run: RunContext | None = None,
    detector: Detector | None = None,
) -> Match:
    """One attack on one target item of one log.

    train: what the victim will be trained on, so no held-out event. detector: the defence's,
    for an attacker who knows it (he sees it only with `log = "log"`). All randomness follows
    from (seed, attack, target).

    Raises `FoulPlay` where a profile breaks the rules, `Unsupported` when the threat or the
    log does not let this attack play, `DataError` for an item that the log does not know.
    """
    if target not in train.item_rows:
        raise DataError(f"{train.name}: unknown target item '{target}'", remedy="check the ids")
    goal = threat.goal
    if not isinstance(goal, Promote | Demote):
        raise Unsupported(f"fake users promote or demote an item; the goal is '{goal.kind}'")
    shown = replace(train)  # with caches of its own: arrays that an attack may write into
    view = LOG_VIEWS[attack.needs](shown, np.asarray([train.item_rows[target]]), run, detector)
    _refuse(attack, threat, view)
    rng = np.random.default_rng(derive(seed, label(attack), target))
    before, started = train.fingerprint, time.perf_counter()
    patch = attack(view, aim_at(goal, target), threat.budget, rng)
    seconds = time.perf_counter() - started
    if _fingerprint_now(shown) != before:
        raise FoulPlay(f"attack '{attack.kind}' changed the log that it was shown")
    check_profiles(patch, threat.budget, train)
    sizes = [len(e.item_ids) for e in patch.edits if isinstance(e, AddProfile)]
    return Match(
        attack=label(attack), threat=threat, target=target, patch=patch, profiles=len(sizes),
        events=sum(sizes), seconds=seconds, seed=seed, victim=before[:16],
    )  # fmt: skip


def check_profiles(patch: Patch, budget: Budget, train: Dataset) -> None:
    """Raises `FoulPlay` with the first rule that a patch breaks.

    The rules: fake users alone and no more than the budget's; each with at least one event
    and no more than the budget's; known items, each once in a profile; new user ids; ratings
    on the log's scale where the log has such and none where it has not; times inside the
    log's window, never falling.
    """
    view = CatalogueView(train, np.empty(0, dtype=np.int64))
    limits = _Limits(
        items=train.item_rows, users=train.user_rows, budget=budget, scale=view.scale,
        window=view.window,
    )  # fmt: skip
    if budget.profiles is not None and len(patch) > budget.profiles:
        raise FoulPlay(f"{len(patch)} fake users, budget {budget.profiles}")
    names: set[str] = set()
    for edit in patch.edits:
        if not isinstance(edit, AddProfile):
            raise FoulPlay(f"an edit '{edit.kind}' where only profiles may be written")
        if edit.user_id in names:
            raise FoulPlay(f"two profiles are called '{edit.user_id}'")
        names.add(edit.user_id)
        if wrong := _complaint(edit, limits):
            raise FoulPlay(f"profile '{edit.user_id}': {wrong}")


def _complaint(profile: AddProfile, limits: _Limits) -> str | None:
    size, most = len(profile.item_ids), limits.budget.profile_events
    if profile.user_id in limits.users:
        return "that user is in the log already"
    if not size:
        return "it has no event"
    if most is not None and size > most:
        return f"{size} events, budget {most}"
    if len(set(profile.item_ids)) < size:
        return "an item stands there twice"
    if unknown := [i for i in profile.item_ids if i not in limits.items]:
        return f"unknown item '{unknown[0]}'"
    return _wrong_ratings(profile, limits) or _wrong_times(profile, limits)


def _wrong_ratings(profile: AddProfile, limits: _Limits) -> str | None:
    if limits.scale is None:
        return "it has ratings, the log has none" if profile.ratings is not None else None
    if profile.ratings is None or len(profile.ratings) != len(profile.item_ids):
        return "a log with ratings needs one for each event"
    low, high = limits.scale
    if not all(low <= r <= high for r in profile.ratings):
        return f"a rating outside [{low:g}, {high:g}]"
    return None


def _wrong_times(profile: AddProfile, limits: _Limits) -> str | None:
    if profile.times is None:
        return None
    if limits.window is None:
        return "it has times, the log has none"
    first, last = limits.window
    times = profile.times
    if len(times) != len(profile.item_ids) or list(times) != sorted(times):
        return "its times are not one for each event, oldest first"
    return None if first <= times[0] and times[-1] <= last else "a time outside the log's window"


def _refuse(attack: ProfileAttack, threat: ThreatModel, view: CatalogueView) -> None:
    who = f"attack '{attack.kind}'"
    if threat.surface != "profiles":
        raise Unsupported(f"no fake user is written under a threat to {threat.surface}")
    if threat.goal.kind not in attack.goals:
        raise Unsupported(f"{who} cannot {threat.goal.kind}")
    if KNOWLEDGE_OF_LOG.index(attack.needs) > KNOWLEDGE_OF_LOG.index(threat.log):
        raise Unsupported(f"{who} needs '{attack.needs}', the threat grants '{threat.log}'")
    if attack.rated and view.scale is None:
        raise Unsupported(f"{who} works by ratings, and the log has none")


def _fingerprint_now(train: Dataset) -> str:
    """Not the one that was noted at first sight."""
    return replace(train).fingerprint
