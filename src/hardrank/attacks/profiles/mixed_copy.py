"""Histories put together from several real users of one taste."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge
from scipy import sparse

from hardrank.attacks.profiles.parts import Draft, Manner, written
from hardrank.attacks.profiles.sources import copyable, likeness, past, touched
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import Count, GoalKind, Ints, LogKnowledge, Surface, spec

__all__ = ["MixedCopy"]


@spec
class MixedCopy:
    """Mix the events of real users of similar taste, so that no profile repeats a real one.

    `copy-profile` leaves near duplicates of real users in the log, which a search for twins
    finds. Here each profile starts from one user drawn at random and takes equal parts of
    that history and of those of users like it, as much as they have on average; an event
    stands where it stood in its own history, early or late.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    rated: ClassVar[bool] = False
    kind: Literal["mixed-copy"] = "mixed-copy"
    users: Annotated[int, Ge(2)] = 2
    """Real users in each profile; fewer where the log has fewer."""
    neighbours: Count = 20
    """Nearest users by cosine of items from which the others are drawn."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        users, vectors = copyable(view.train, view.targets), touched(view.train)

        def fill(_: int, size: int) -> Draft:
            models = self._models(users, vectors, rng)
            drafts = [past(view.train, int(m), view.targets) for m in models]
            usual = round(sum(d.rows.size for d in drafts) / max(len(drafts), 1))
            return _merged(drafts, min(size, usual), rng)

        return written(view, goal, budget, rng, fill=fill, manner=self.manner)

    def _models(self, users: Ints, vectors: sparse.csr_array, rng: np.random.Generator) -> Ints:
        """A user drawn at random and some of the most similar ones."""
        if users.size < 2:
            return users
        first = int(rng.choice(users))
        rest = users[users != first]
        near = rest[np.argsort(-likeness(vectors, first)[rest], kind="stable")][: self.neighbours]
        return np.append(rng.permutation(near)[: self.users - 1], first)


def _merged(drafts: list[Draft], size: int, rng: np.random.Generator) -> Draft:
    """So many events, taken from each history in turn, ordered by how far along they stood."""
    taken: dict[int, tuple[float, float]] = {}
    queues = [rng.permutation(draft.rows.size).tolist() for draft in drafts]
    while len(taken) < size and any(queues):
        for draft, queue in zip(drafts, queues, strict=True):
            while queue and int(draft.rows[queue[-1]]) in taken:
                queue.pop()
            if queue and len(taken) < size:
                at = queue.pop()
                along = at / max(draft.rows.size - 1, 1)
                taken[int(draft.rows[at])] = (along, float(draft.ratings[at]))
    rows = sorted(taken, key=lambda row: (taken[row][0], row))
    return Draft(
        rows=np.asarray(rows, dtype=np.int64),
        ratings=np.asarray([taken[row][1] for row in rows], dtype=np.float32),
    )
