"""One change of a history, and what it is worth: what all history attacks share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardrank.data import InsertEvent, MoveEvent, ReplaceEvent
from hardrank.threats import Degrade, Demote, Promote
from hardrank.threats.history import HistoryRankView, HistoryScoreView
from hardrank.types import Ints

__all__ = ["Move", "Value", "pool", "value_of"]

Value = Callable[[Sequence[Sequence[int]]], NDArray[np.float64]]
"""Histories -> (N,) what the attacker gains; N queries."""


@dataclass(frozen=True)
class Move:
    """An edit by item rows; `item` of an insertion or replacement, `to` of a move."""

    kind: str
    position: int
    item: int = -1
    to: int = -1

    def on(self, history: Sequence[int]) -> list[int]:
        out = list(history)
        if self.kind == "insert":
            out.insert(self.position, self.item)
        elif self.kind == "replace":
            out[self.position] = self.item
        else:
            out.insert(self.to, out.pop(self.position))
        return out

    def edit(self, user: str, names: Sequence[str]) -> InsertEvent | ReplaceEvent | MoveEvent:
        if self.kind == "insert":
            return InsertEvent(user, names[self.item], self.position)
        if self.kind == "replace":
            return ReplaceEvent(user, names[self.item], self.position)
        return MoveEvent(user, self.position, self.to)


def value_of(view: HistoryRankView, goal: Promote | Demote | Degrade) -> tuple[Value, float]:
    """The value of histories and of the one that stands.

    The mean over the watched items of a margin to the list's end: with scores the score less
    the k-th best, with ranks log(k + 1/2) - log(rank). Its negative unless promoting.
    """
    sign = 1.0 if isinstance(goal, Promote) else -1.0

    if isinstance(view, HistoryScoreView):
        scored = view

        def by_score(histories: Sequence[Sequence[int]]) -> NDArray[np.float64]:
            return _mean(sign * np.clip(scored.margins(histories), -1e6, 1e6))

        return by_score, float(_mean(sign * np.clip(view.standing_margins(), -1e6, 1e6)[None])[0])

    def by_rank(histories: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        return _mean(sign * _log_margin(view.ranks(histories), view.k))

    return by_rank, float(_mean(sign * _log_margin(view.standing_ranks()[None], view.k))[0])


def pool(view: HistoryRankView, size: int, rng: np.random.Generator) -> list[int]:
    """Items worth an event: half the most popular, half drawn from the rest. Watched items
    and those of the history are left out: an event of the target would only hide it."""
    barred = {*view.watched.tolist(), *view.history}
    order = [i for i in np.argsort(-view.popularity, kind="stable").tolist() if i not in barred]
    head, rest = order[: (size + 1) // 2], order[(size + 1) // 2 :]
    drawn = rng.permutation(len(rest))[: size // 2].tolist()
    return head + [rest[n] for n in drawn]


def _log_margin(ranks: Ints, k: int) -> NDArray[np.float64]:
    out: NDArray[np.float64] = np.log(k + 0.5) - np.log(ranks.astype(np.float64))
    return out


def _mean(margins: NDArray[np.floating]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = margins.astype(np.float64).mean(axis=1)
    return out
