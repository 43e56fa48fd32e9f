"""The court of slates: listings that a model reads side by side, such as a language model that
re-ranks a page of candidates.

There a text can speak about its neighbours ("always rank this first"), so one listing's score
has no meaning without the others. For each panel user who has not seen the target the slate is
what a first stage would hand over: its best unseen items and the target among them. One query
is still one version of one listing, observed on the whole panel: E slates are read for it.

Models that read lists prefer some places in them to others (Liu et al., TACL 2024,
arXiv:2307.03172), so the target's place is drawn once for each user and target and then stays,
whatever the text says: what a text gains is not what a better place would have gained.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.data import Dataset, Edit, Patch, Queries, RewriteItem, Slate
from hardrank.errors import DataError, Unsupported, VictimError
from hardrank.files import digest_bytes
from hardrank.recommender import Recommender, TextGradient, best
from hardrank.threats.court import Attack, Court, level
from hardrank.threats.desk import Judge, Meter, TextDesk
from hardrank.threats.listing import check, same_catalogue, text_budget
from hardrank.threats.match import Match
from hardrank.threats.model import Budget, Demote, Goal, Promote, ThreatModel, aim_at
from hardrank.threats.panel import PanelLists, finite, watch
from hardrank.threats.victim import digest_victim
from hardrank.threats.views import VIEWS
from hardrank.types import Floats, Ints, Scores, Surface

__all__ = ["ReadsSlates", "Seating", "SlateCourt", "SlateDesk"]


@runtime_checkable
class ReadsSlates(Protocol):
    """A victim that reads all candidates of a request together."""

    @property
    def items(self) -> pl.DataFrame:
        """The catalogue the candidates come from."""
        ...

    def slate_scores(self, queries: Queries, slates: Sequence[Slate]) -> Sequence[Scores]:
        """Q queries and a slate for each: (I,) scores of each slate, higher is better, meant
        within the slate alone. A candidate's score may depend on the others and on its place.
        Deterministic: the same query and slate get the same scores."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As a `Recommender`'s."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Seating:
    """The page as it is served: first stage, reader, and where a target sits."""

    victim: ReadsSlates
    first: Recommender
    lists: PanelLists
    """The panel's rankings by the first stage."""
    size: int
    """Candidates of a slate, the target among them; fewer where a user has not so many."""
    seed: int
    _stood: dict[tuple[str, str], Ints] = field(default_factory=dict)

    @property
    def items(self) -> pl.DataFrame:
        return self.victim.items

    def fingerprint(self) -> str:
        """Of both stages, the page's size and the seed: another page, another victim."""
        parts: list[Any] = [self.victim, self.first]
        digests = [digest_victim(part).encode() for part in parts]
        return digest_bytes(*digests, str((self.size, self.seed)).encode())

    def slates(self, target: str, row: int) -> list[Ints]:
        """(E,) rows of each eligible user's candidates, in the order they are read."""
        rng = np.random.default_rng(derive(self.seed, "seat", target))
        places = rng.random(len(self.lists.queries))
        users = self.lists.eligible(row)
        scores = self.lists.standing[users].copy()
        scores[:, row] = -np.inf
        others = best(scores, self.size - 1)
        known = np.isfinite(np.take_along_axis(scores, others, axis=1))
        pages = [page[keep] for page, keep in zip(others, known, strict=True)]
        seats = [int(places[u] * (len(page) + 1)) for u, page in zip(users, pages, strict=True)]
        return [np.insert(page, seat, row) for page, seat in zip(pages, seats, strict=True)]

    def ranks(self, target: str, row: int, texts: Sequence[str], column: str) -> Ints:
        """(E, N) ranks of the target within its slates, from 1, ties against it. Raises
        `VictimError` where the victim's answer does not fit what it was asked."""
        queries = self.lists.queries.take(self.lists.eligible(row))
        pages = self.slates(target, row)
        out = np.zeros((len(pages), len(texts)), dtype=np.int64)
        standing = self.items[column].fill_null("").to_list()
        for n, text in enumerate(texts if pages else ()):
            slates = [_rewritten(page, row, text, standing, column) for page in pages]
            found = self.victim.slate_scores(queries, slates)
            if len(found) != len(slates):
                raise VictimError(f"{len(found)} answers for {len(slates)} slates")
            out[:, n] = [_rank(s, p, row) for s, p in zip(found, pages, strict=True)]
        return out

    def standing_ranks(self, target: str, row: int, column: str) -> Ints:
        """(E,), asked for once."""
        if (target, column) not in self._stood:
            text = str(self.items[column][row] or "")
            self._stood[target, column] = self.ranks(target, row, [text], column)[:, 0]
        return self._stood[target, column].copy()


@dataclass(frozen=True, eq=False, kw_only=True)
class SlateDesk(TextDesk):
    """Slates show an order and no more, so what this desk calls a score is the negative
    rank; its threshold is -(k + 1)."""

    seating: Seating
    column: str = "title"

    def text(self, target: str) -> str:
        return str(self.world.items[self.column][self._row(target)] or "")

    def edit(self, target: str, text: str) -> Edit:
        return RewriteItem(self.owned(target), text, self.column)

    def ask(self, target: str, texts: Sequence[str]) -> Scores:
        """(E, N) negative ranks."""
        found = self.seating.ranks(target, self._row(target), texts, self.column)
        return -found.astype(np.float32)

    def standing(self, target: str) -> Scores:
        return -self.standing_ranks(target).astype(np.float32)[:, None]

    def ranks(self, target: str, texts: Sequence[str]) -> Ints:
        """(E, N), charged."""
        found: Ints = (-self.scores(target, texts)).astype(np.int64)
        return found

    def standing_ranks(self, target: str) -> Ints:
        return self.seating.standing_ranks(target, self._row(target), self.column)

    def thresholds(self, target: str) -> Floats:
        users = self.seating.lists.eligible(self._row(target))
        return np.full(len(users), -(self.k + 1), dtype=np.float32)

    def gradient(self, target: str, text: str) -> TextGradient:
        raise Unsupported("slates grant no gradients; attack a surrogate and replay")

    def _row(self, target: str) -> int:
        return self.world.item_rows[self.owned(target)]


@dataclass(frozen=True, eq=False, kw_only=True)
class SlateCourt(Court):
    """Attacks on item texts play here unchanged, except those that need gradients."""

    surface: ClassVar[Surface] = "item-text"
    seating: Seating

    @classmethod
    def of(
        cls,
        victim: ReadsSlates,
        world: Dataset,
        panel: Queries,
        judge: Judge | None = None,
        *,
        first: Recommender,
        size: int = 20,
        seed: int = 0,
    ) -> "SlateCourt":
        """first: the stage whose best `size` - 1 unseen items stand beside the target. seed:
        of the places. Raises `DataError` where a stage ranks another catalogue than the
        world's, or a slate has no room for a competitor."""
        same_catalogue(first, world)
        if not victim.items["item_id"].equals(world.items["item_id"]):
            raise DataError(
                f"the victim reads another catalogue than '{world.name}'",
                remedy="give the data it was made for",
            )
        if size < 2:
            raise DataError(f"a slate of {size} ranks nothing", remedy="give two or more")
        seating = Seating(
            victim=victim, first=first, lists=watch(first, panel), size=size, seed=seed
        )
        return cls(
            victim=seating, world=world, judge=judge, digest=seating.fingerprint(),
            seating=seating,
        )  # fmt: skip

    def admit(self, attack: Attack, threat: ThreatModel, target: str) -> Budget:
        self.refuse(attack, threat)
        goal = threat.goal
        if not isinstance(goal, Promote | Demote):
            raise Unsupported(f"item texts promote and demote, they cannot {goal.kind}")
        if goal.k >= self.seating.size:
            raise Unsupported(
                f"every item of a slate of {self.seating.size} is in its top {goal.k}; lower k"
            )
        if attack.needs == "gradients":
            raise Unsupported(f"attack '{attack.kind}' needs gradients, slates grant none")
        if threat.field not in self.world.items.columns:
            raise Unsupported(f"the item table has no field '{threat.field}'")
        if target not in self.world.item_rows:
            raise DataError(f"{self.world.name}: unknown target item '{target}'")
        return text_budget(attack, threat.budget)

    def open(
        self, attack: Attack, threat: ThreatModel, budget: Budget, target: str
    ) -> tuple[Any, Goal, Meter]:
        goal = threat.goal
        assert isinstance(goal, Promote | Demote)
        desk = SlateDesk(
            world=self.world, seating=self.seating, targets=(target,), budget=budget,
            goal=goal.kind, k=goal.k, column=threat.field, judge=self.judge,
            meter=Meter(budget.queries),
        )  # fmt: skip
        seen = min(level(attack, threat), "scores", key=list(VIEWS).index)
        return VIEWS[seen](desk), aim_at(goal, target), desk.meter

    def count(
        self, patch: Patch, threat: ThreatModel, budget: Budget, target: str, queries: int
    ) -> Match:
        bound = replace(threat, budget=budget)
        match = check(patch, bound, self.world, target, queries=queries, judge=self.judge)
        return replace(match, threat=threat)

    def outcome(self, match: Match) -> tuple[Ints, Ints]:
        """(E,), (E,) ranks of the target within its slates before and after the patch: for
        whoever reports, so nothing is charged."""
        target, column = match.target, match.threat.field
        row = self.world.item_rows[target]
        before = self.seating.standing_ranks(target, row, column)
        rewrite = match.patch.rewrites().get(target)
        if rewrite is None:
            return before, before.copy()
        return before, self.seating.ranks(target, row, [rewrite.text], rewrite.field)[:, 0]


def _rewritten(page: Ints, row: int, text: str, standing: Sequence[str], column: str) -> Slate:
    texts = tuple(text if item == row else standing[item] for item in page.tolist())
    return Slate(items=page, texts=texts, field=column)


def _rank(scores: Scores, page: Ints, row: int) -> int:
    if np.shape(scores) != page.shape:
        raise VictimError(f"scores of shape {np.shape(scores)} for {len(page)} candidates")
    clean = finite(np.array(scores, dtype=np.float32))
    return int((clean >= clean[page == row]).sum())
