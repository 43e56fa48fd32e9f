"""What an edit costs, and whether a budget allows it: one rule for views and referee."""

from dataclasses import dataclass

import numpy as np

from hardrank.threats.model import Budget
from hardrank.wording import split

__all__ = ["Cost", "complaint", "count_edit", "distance"]


@dataclass(frozen=True)
class Cost:
    """Of turning one text into another; zero for equal texts and for them alone."""

    words: int = 0
    """Words inserted, deleted or replaced; at least 1 where the texts differ at all, so that
    a moved blank is not free."""
    word_share: float = 0.0
    """`words` over the number of words of the longer text, in [0, 1]."""
    characters: int = 0
    """Characters inserted, deleted or replaced."""


def count_edit(before: str, after: str) -> Cost:
    """Words are those of `hardrank.wording`; upper and lower case differ."""
    if before == after:
        return Cost()
    old, new = split(before), split(after)
    words = max(1, distance(old, new))
    return Cost(
        words=words,
        word_share=min(1.0, words / max(len(old), len(new), 1)),
        characters=distance(list(before), list(after)),
    )


def distance(before: list[str], after: list[str]) -> int:
    """Fewest insertions, deletions and replacements (Levenshtein 1966), exact.

    A row of the table at a time. An insertion looks at its left neighbour in the same row:
    out[j] = min over i <= j of (step[i] + j - i), a running minimum of step[i] - i.
    A common beginning and end cost nothing in some cheapest way, so they are left out.
    """
    before, after = _differing(before, after)
    codes = {token: n for n, token in enumerate(dict.fromkeys(before + after))}
    old = np.array([codes[t] for t in before], dtype=np.int64)
    new = np.array([codes[t] for t in after], dtype=np.int64)
    columns = np.arange(len(new) + 1)
    row = columns.copy()
    for number, token in enumerate(old, 1):
        step = np.empty_like(row)
        step[0] = number
        np.minimum(row[1:] + 1, row[:-1] + (new != token), out=step[1:])
        row = np.minimum.accumulate(step - columns) + columns
    return int(row[-1])


def _differing(before: list[str], after: list[str]) -> tuple[list[str], list[str]]:
    start, shortest = 0, min(len(before), len(after))
    while start < shortest and before[start] == after[start]:
        start += 1
    end = 0
    while end < shortest - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return before[start : len(before) - end], after[start : len(after) - end]


def complaint(cost: Cost, budget: Budget, similarity: float | None = None) -> str | None:
    """The first limit that an edit breaks, in words; None if it is within the budget,
    as no edit at all always is.

    `budget.whole_text` lifts the limits on words and characters: whoever asks has to have
    taken it away from attacks that are not made for it.
    """
    if cost.words == 0:
        return None
    if not budget.whole_text:
        if budget.words is not None and cost.words > budget.words:
            return f"{cost.words} words changed, budget {budget.words}"
        if budget.characters is not None and cost.characters > budget.characters:
            return f"{cost.characters} characters changed, budget {budget.characters}"
    least = budget.similarity
    if least is not None and similarity is not None and not similarity >= least:
        return f"similarity {similarity:.3f}, budget at least {least:g}"
    return None
