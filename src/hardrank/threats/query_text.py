"""The court of queries: words slipped into what one user asks for.

A poisoned auto-completion, a link with a prepared query, an assistant that rewrites questions:
the attacker edits the text of a query and wants an item into (`Promote`) or out of (`Demote`)
its list. One version of the query observed in its own list is one query. Every attack on item
texts that says so plays here unchanged: the view's `text` is the query's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hardrank.data import Dataset, Edit, Patch, Queries, RewriteQuery, Slate
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.recommender import Recommender, TextGradient, mask_seen
from hardrank.threats.court import Attack, Court, count_text, level
from hardrank.threats.desk import Judge, Meter, TextDesk
from hardrank.threats.listing import same_catalogue, text_budget
from hardrank.threats.match import Match
from hardrank.threats.model import Budget, Demote, Goal, Promote, ThreatModel, aim_at
from hardrank.threats.panel import finite
from hardrank.threats.victim import digest_victim
from hardrank.threats.views import VIEWS
from hardrank.types import Floats, Ints, Scores, Surface

__all__ = ["QueryCourt", "QueryDesk", "QueryPlan", "query_plans"]


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryPlan:
    """One match: whose words, and which item is to move in the list they bring."""

    name: str
    """`query > item`: the match's target."""
    query_id: str
    item: str
    query: Queries
    """The one query, with its text."""

    @property
    def text(self) -> str:
        assert self.query.texts is not None
        return self.query.texts[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryDesk(TextDesk):
    """The one user of the panel is whoever asks. Other words change every item's score, so
    what this desk calls a score is the item's score less the k-th best of the others, and
    its threshold is 0."""

    victim: Recommender
    plan: QueryPlan
    column: str = "title"
    """The items' field whose words the attacker knows."""

    def text(self, target: str) -> str:
        self.owned(target)
        return self.plan.text

    def edit(self, target: str, text: str) -> Edit:
        self.owned(target)
        return RewriteQuery(self.plan.query_id, text)

    def ask(self, target: str, texts: Sequence[str]) -> Scores:
        """(1, N) margins."""
        scores, row = self._catalogue(texts), self._row(target)
        own = scores[:, row]
        others = np.delete(scores, row, axis=1)
        if others.shape[1] < self.k:
            return np.full((1, len(texts)), np.inf, dtype=np.float32)
        kth = -np.partition(-others, self.k - 1, axis=1)[:, self.k - 1]
        with np.errstate(invalid="ignore"):  # -inf - -inf where nothing is unseen
            return (own - kth)[None].astype(np.float32)

    def standing(self, target: str) -> Scores:
        return finite(self.ask(target, [self.plan.text]))

    def ranks(self, target: str, texts: Sequence[str]) -> Ints:
        """(1, N), charged; ties against the item."""
        self.meter.charge(len(texts))
        return self._ranks(target, texts)

    def standing_ranks(self, target: str) -> Ints:
        first: Ints = self._ranks(target, [self.plan.text])[:, 0]
        return first

    def thresholds(self, target: str) -> Floats:
        self.owned(target)
        return np.zeros(1, dtype=np.float32)

    def gradient(self, target: str, text: str) -> TextGradient:
        raise Unsupported("queries grant no gradients; attack a surrogate and replay")

    def _ranks(self, target: str, texts: Sequence[str]) -> Ints:
        scores, row = self._catalogue(texts), self._row(target)
        ranks: Ints = (scores >= scores[:, row : row + 1]).sum(axis=1)[None].astype(np.int64)
        return ranks

    def _row(self, target: str) -> int:
        return self.world.item_rows[self.owned(target)]

    def _catalogue(self, texts: Sequence[str]) -> Scores:
        """(N, I), seen items -inf."""
        query = self.plan.query
        history, user = query.history(0).tolist(), int(query.users[0])
        queries = Queries.of([history] * len(texts), [user] * len(texts), texts)
        everything = Slate(items=np.arange(self.world.n_items, dtype=np.int64))
        return mask_seen(
            finite(np.array(self.victim.score(queries, everything), dtype=np.float32)), queries
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryCourt(Court):
    """Matches are named by the plans: one query each."""

    surface: ClassVar[Surface] = "query-text"
    plans: dict[str, QueryPlan]

    @classmethod
    def of(
        cls,
        victim: Recommender,
        world: Dataset,
        made: Sequence[QueryPlan],
        judge: Judge | None = None,
    ) -> "QueryCourt":
        same_catalogue(victim, world)
        return cls(
            victim=victim, world=world, judge=judge, digest=digest_victim(victim),
            plans={plan.name: plan for plan in made},
        )  # fmt: skip

    def admit(self, attack: Attack, threat: ThreatModel, target: str) -> Budget:
        self.refuse(attack, threat)
        if not isinstance(threat.goal, Promote | Demote):
            raise Unsupported(f"queries promote and demote, they cannot {threat.goal.kind}")
        if attack.needs == "gradients":
            raise Unsupported(f"attack '{attack.kind}' needs gradients, queries grant none")
        if target not in self.plans:
            raise DataError(f"no such match: '{target}'", remedy="plan it first")
        return text_budget(attack, threat.budget)

    def open(
        self, attack: Attack, threat: ThreatModel, budget: Budget, target: str
    ) -> tuple[Any, Goal, Meter]:
        plan, goal = self.plans[target], threat.goal
        assert isinstance(goal, Promote | Demote)
        desk = QueryDesk(
            victim=self.victim, world=self.world, plan=plan, targets=(plan.item,), budget=budget,
            goal=goal.kind, k=goal.k, column=threat.field, judge=self.judge,
            meter=Meter(budget.queries),
        )  # fmt: skip
        seen = min(level(attack, threat), "scores", key=list(VIEWS).index)
        return VIEWS[seen](desk), aim_at(goal, plan.item), desk.meter

    def count(
        self, patch: Patch, threat: ThreatModel, budget: Budget, target: str, queries: int
    ) -> Match:
        plan = self.plans[target]
        after = plan.text
        for edit in patch.edits:
            if not isinstance(edit, RewriteQuery) or edit.query_id != plan.query_id:
                raise FoulPlay(f"only query '{plan.query_id}' may be written, not by {edit}")
            after = edit.text
        return count_text(
            plan.text, after, patch, threat=threat, budget=budget, target=target,
            judge=self.judge, queries=queries,
        )  # fmt: skip


def query_plans(
    world: Dataset, queries: Queries, items: Sequence[str], names: Sequence[str] = ()
) -> tuple[QueryPlan, ...]:
    """Query n is to get (lose) item n of `items`, in turn. names: ids of the queries, numbers
    from 0 without. Raises `DataError` on an unknown item or queries without texts."""
    if queries.texts is None:
        raise DataError("these queries have no text to attack")
    for item in items:
        if item not in world.item_rows:
            raise DataError(f"{world.name}: unknown target item '{item}'")
    made = []
    for q in range(len(queries)):
        name, item = names[q] if names else str(q), items[q % len(items)]
        made.append(
            QueryPlan(
                name=f"{name} > {item}", query_id=name, item=item, query=queries.take(np.array([q]))
            )
        )
    return tuple(made)
