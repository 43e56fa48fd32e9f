"""The court of histories: events slipped into one user's recent past.

A hijacked session, a click robot, a shared device: the attacker writes a few events into one
user's history, and wants an item into (`Promote`) or out of (`Demote`) that user's list, or
the list spoilt (`Degrade`: what stands in it now is to leave it). One query is one version
of the history observed in that user's own list. Views: ranks < margins < gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hardrank.data import Dataset, InsertEvent, MoveEvent, Patch, Queries, ReplaceEvent, Slate
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.recommender import Recommender, mask_seen
from hardrank.threats.court import Attack, Court, level
from hardrank.threats.desk import Judge, Meter
from hardrank.threats.history_gradient import GivesHistoryGradient, HistoryGradient, slopes
from hardrank.threats.listing import same_catalogue
from hardrank.threats.match import Match
from hardrank.threats.model import Budget, Degrade, Demote, Goal, Promote, ThreatModel, aim_at
from hardrank.threats.victim import digest_victim
from hardrank.types import Floats, GoalKind, Ints, Knowledge, Scores, Surface

__all__ = [
    "HISTORY_VIEWS",
    "HistoryCourt",
    "HistoryGradientView",
    "HistoryRankView",
    "HistoryScoreView",
    "Plan",
    "plans",
    "replay",
    "watched_ranks",
]

History = tuple[int, ...]
"""Item rows, oldest first."""
EventEdit = InsertEvent | ReplaceEvent | MoveEvent


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """One match: whose history, and what is to move in whose list."""

    name: str
    """`user` or `user > item`: the match's target."""
    user: str
    item: str | None
    query: Queries
    """The one query of this user."""
    watched: Ints
    """(W,) rows of the items whose ranks matter: the item, or the top k as it stands."""


@dataclass(frozen=True, eq=False, kw_only=True)
class HistoryDesk:
    """Behind the counter; see `hardrank.threats.desk`."""

    victim: Recommender
    world: Dataset
    plan: Plan
    goal: GoalKind
    k: int
    meter: Meter

    def queries(self, histories: Sequence[Sequence[int]]) -> Queries:
        user = int(self.plan.query.users[0])
        return Queries.of(histories, [user] * len(histories))

    def scores(self, histories: Sequence[Sequence[int]]) -> Scores:
        """(N, I), seen items -inf; not charged."""
        queries = self.queries(histories)
        everything = Slate(items=np.arange(self.world.n_items, dtype=np.int64))
        scores = np.array(self.victim.score(queries, everything), dtype=np.float32)
        scores[np.isnan(scores)] = -np.inf
        return mask_seen(scores, queries)

    def gradient(self, history: Sequence[int]) -> HistoryGradient:
        if not isinstance(self.victim, GivesHistoryGradient):
            raise Unsupported("this victim grants no gradients by its history")
        self.meter.charge(1)
        return slopes(self.victim, self.queries([history]), self.plan.watched, self.goal)


class HistoryRankView:
    """Sees where the watched items stand in the user's list after each version of the history."""

    def __init__(self, desk: HistoryDesk) -> None:
        self.items = desk.world.items
        """The public catalogue."""
        self.popularity: Ints = desk.world.counts.copy()
        """(I,) public number of events of each item."""
        self.k: int = desk.k
        self.user: str = desk.plan.user
        self.history: History = tuple(desk.plan.query.history(0).tolist())
        """As it is: item rows, oldest first."""
        self.watched: Ints = np.array(desk.plan.watched, dtype=np.int64)
        """(W,) item rows whose ranks the goal is about."""
        self._meter, self._scores, self._gradient = desk.meter, desk.scores, desk.gradient

    @property
    def left(self) -> int | None:
        """Queries that may still be asked; None for no limit."""
        return self._meter.left

    @property
    def spent(self) -> int:
        return self._meter.spent

    def ranks(self, histories: Sequence[Sequence[int]]) -> Ints:
        """(N, W) rank, from 1, among the unseen items; ties against the item; an item that
        the history holds is last. N queries. Raises `FoulPlay` beyond the budget."""
        return watched_ranks(self._ask(histories), self.watched)

    def standing_ranks(self) -> Ints:
        """(W,) with the history as it is; free."""
        ranks: Ints = watched_ranks(self._scores([self.history]), self.watched)[0]
        return ranks

    def _ask(self, histories: Sequence[Sequence[int]]) -> Scores:
        self._meter.charge(len(histories))
        return self._scores(histories)


class HistoryScoreView(HistoryRankView):
    """Also sees by how much an item is inside the list."""

    def margins(self, histories: Sequence[Sequence[int]]) -> Floats:
        """(N, W) score minus the k-th best score among the other unseen items. N queries."""
        return _margins(self._ask(histories), self.watched, self.k)

    def standing_margins(self) -> Floats:
        """(W,); free."""
        margins: Floats = _margins(self._scores([self.history]), self.watched, self.k)[0]
        return margins


class HistoryGradientView(HistoryScoreView):
    """Also sees the slope of the goal by the vector of each event."""

    def gradient(self, history: Sequence[int]) -> HistoryGradient:
        """1 query. Raises `Unsupported` when the victim grants no gradients."""
        return self._gradient(history)


HISTORY_VIEWS: dict[Knowledge, type[HistoryRankView]] = {
    "ranks": HistoryRankView,
    "scores": HistoryScoreView,
    "gradients": HistoryGradientView,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class HistoryCourt(Court):
    """Matches are named by the plans: one user each."""

    surface: ClassVar[Surface] = "history"
    plans: dict[str, Plan]

    @classmethod
    def of(
        cls, victim: Recommender, world: Dataset, made: Sequence[Plan], judge: Judge | None = None
    ) -> "HistoryCourt":
        same_catalogue(victim, world)
        named = {plan.name: plan for plan in made}
        return cls(
            victim=victim, world=world, judge=judge, digest=digest_victim(victim), plans=named
        )

    def admit(self, attack: Attack, threat: ThreatModel, target: str) -> Budget:
        self.refuse(attack, threat)
        if target not in self.plans:
            raise DataError(f"no such match: '{target}'", remedy="plan it first")
        if attack.needs == "gradients" and not isinstance(self.victim, GivesHistoryGradient):
            raise Unsupported(f"attack '{attack.kind}' needs gradients, this victim grants none")
        return threat.budget

    def open(
        self, attack: Attack, threat: ThreatModel, budget: Budget, target: str
    ) -> tuple[Any, Goal, Meter]:
        plan, goal = self.plans[target], threat.goal
        if isinstance(goal, Promote | Demote) and plan.item is not None:
            goal = aim_at(goal, plan.item)
        assert isinstance(goal, Promote | Demote | Degrade)
        desk = HistoryDesk(
            victim=self.victim, world=self.world, plan=plan, goal=goal.kind, k=goal.k,
            meter=Meter(budget.queries),
        )  # fmt: skip
        return HISTORY_VIEWS[level(attack, threat)](desk), goal, desk.meter

    def count(
        self, patch: Patch, threat: ThreatModel, budget: Budget, target: str, queries: int
    ) -> Match:
        plan = self.plans[target]
        before = plan.query.history(0).tolist()
        after = replay(patch, plan.user, before, self.world)
        events = 0 if after == before else len(patch)
        if budget.events is not None and events > budget.events:
            raise FoulPlay(f"user '{plan.user}': {events} events changed, budget {budget.events}")
        if budget.queries is not None and queries > budget.queries:
            raise FoulPlay(f"user '{plan.user}': {queries} queries, budget {budget.queries}")
        return Match(
            attack="", threat=threat, target=target, patch=patch if events else Patch(),
            queries=queries, events=events,
        )  # fmt: skip


def plans(
    victim: Recommender,
    world: Dataset,
    queries: Queries,
    goal: Goal,
    items: Sequence[str] = (),
) -> tuple[Plan, ...]:
    """One plan for each query whose user is known: user n is to get (lose) item n of `items`,
    in turn, passing over what the user has. `Degrade` takes no items: what the list shows
    now is watched. Raises `DataError` on an unknown item."""
    for item in items:
        if item not in world.item_rows:
            raise DataError(f"{world.name}: unknown target item '{item}'")
    names, made = world.users["user_id"], list[Plan]()
    for q in range(len(queries)):
        query = queries.take(np.array([q]))
        if query.users[0] < 0 or not query.lengths[0]:
            continue
        user = str(names[int(query.users[0])])
        if isinstance(goal, Degrade):
            top = victim.top(query, goal.k)[0]
            made.append(Plan(name=user, user=user, item=None, query=query, watched=top))
            continue
        turn = _turn(items, len(made), set(query.history(0).tolist()), world)
        if turn is not None:
            watched = np.array([world.item_rows[turn]])
            name = f"{user} > {turn}"
            made.append(Plan(name=name, user=user, item=turn, query=query, watched=watched))
    return tuple(made)


def replay(patch: Patch, user: str, history: Sequence[int], world: Dataset) -> list[int]:
    """The history after the patch. Raises `FoulPlay` on another user's history, an unknown
    item, a position outside, or an edit that is none of a history."""
    out = list(history)
    for edit in patch.edits:
        if not isinstance(edit, EventEdit) or edit.user_id != user:
            raise FoulPlay(f"only the history of user '{user}' may be written, not by {edit}")
        room = len(out) if isinstance(edit, InsertEvent) else len(out) - 1
        places = (edit.position, edit.to) if isinstance(edit, MoveEvent) else (edit.position,)
        if not all(0 <= place <= room for place in places):
            raise FoulPlay(f"user '{user}': position {places} of {len(out)} events")
        if isinstance(edit, MoveEvent):
            out.insert(edit.to, out.pop(edit.position))
            continue
        if edit.item_id not in world.item_rows:
            raise FoulPlay(f"user '{user}': unknown item '{edit.item_id}'")
        row = world.item_rows[edit.item_id]
        if isinstance(edit, InsertEvent):
            out.insert(edit.position, row)
        else:
            out[edit.position] = row
    return out


def watched_ranks(scores: Scores, watched: Ints) -> Ints:
    """(N, W) from (N, I) with seen items at -inf: 1 + how many others are at least as good,
    so that a seen item comes last."""
    own = scores[:, watched]
    if not len(watched):
        return np.zeros((len(scores), 0), dtype=np.int64)
    out: Ints = np.stack(
        [(scores >= own[:, w : w + 1]).sum(axis=1) for w in range(len(watched))], axis=1
    ).astype(np.int64)
    return out


def _margins(scores: Scores, watched: Ints, k: int) -> Floats:
    own = scores[:, watched]
    if scores.shape[1] <= k:
        return np.full(own.shape, np.inf, dtype=np.float32)
    top = -np.partition(-scores, k, axis=1)[:, : k + 1]
    top.sort(axis=1)
    kth, after = top[:, 1:2], top[:, 0:1]
    with np.errstate(invalid="ignore"):  # -inf - -inf where fewer than k items are unseen
        out = own - np.where(own >= kth, after, kth)
    return np.nan_to_num(out, nan=-np.inf, posinf=np.inf, neginf=-np.inf).astype(np.float32)


def _turn(items: Sequence[str], start: int, seen: set[int], world: Dataset) -> str | None:
    for step in range(len(items)):
        item = items[(start + step) % len(items)]
        if world.item_rows[item] not in seen:
            return item
    return None
