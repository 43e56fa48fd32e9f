"""Greedy steps through histories, blind or led by gradients with exact re-scoring."""

from collections.abc import Callable, Sequence

import numpy as np

from hardrank.attacks.history.moves import Move, value_of
from hardrank.data import Edit, Patch
from hardrank.threats import Budget, Degrade, Demote, Promote
from hardrank.threats.history import HistoryGradientView, HistoryRankView

__all__ = ["climb", "first_order"]

Candidates = Callable[[HistoryRankView, Sequence[int]], list[Move]]


def climb(
    view: HistoryRankView,
    goal: Promote | Demote | Degrade,
    budget: Budget,
    candidates: Candidates,
    *,
    ask: int,
) -> Patch:
    """At each step the move that gains most, until none gains or the budget is used up.

    candidates: the moves from a history, those of a black box first. Of more than `ask` the
    first are asked for; a white box asks for as many more that gradients promise most.
    """
    value, best = value_of(view, goal)
    history, moves = list(view.history), list[Move]()
    steps = len(history) + 8 if budget.events is None else budget.events
    while len(moves) < steps:
        options = candidates(view, history)
        if isinstance(view, HistoryGradientView) and len(options) > ask and view.left != 0:
            gains = first_order(view, history, options)
            led = [options[n] for n in np.argsort(-gains, kind="stable")[:ask]]
            options = list(dict.fromkeys(led + options[:ask]))
        else:
            options = options[:ask]
        options = options[: view.left]
        if not options:
            break
        values = value([move.on(history) for move in options])
        top = int(values.argmax())
        if not values[top] > best:
            break
        best, history = float(values[top]), options[top].on(history)
        moves.append(options[top])
    names = view.items["item_id"].to_list()
    return Patch(tuple[Edit, ...](move.edit(view.user, names) for move in moves))


def first_order(
    view: HistoryGradientView, history: Sequence[int], moves: Sequence[Move]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(M,) what each replacement or insertion promises; 1 query. An insertion is taken for a
    replacement of the event that stands at its place (the last one, at the end), without the
    loss of that event; a move promises nothing."""
    found = view.gradient(history)
    length = len(found.slope)
    out = np.full(len(moves), -np.inf)
    gain = found.slope @ found.vectors.T
    own = (found.slope * found.current).sum(axis=1)
    for n, move in enumerate(moves):
        row = min(move.position - found.first, length - 1)
        if row < 0:
            continue
        if move.kind == "insert":
            out[n] = gain[row, move.item]
        elif move.kind == "replace":
            out[n] = gain[row, move.item] - own[row]
    return out
