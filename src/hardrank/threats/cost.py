"""What an edit costs, and whether a budget allows it: one rule for views and referee."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardrank.threats.model import Budget
from hardrank.wording import split

__all__ = ["Cost", "affords", "complaint", "count_edit", "distance"]


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

    Texts that differ little, as most do here, are counted along diagonals; the others in a
    table. A common beginning and end cost nothing in some cheapest way, so they are left out.
    """
    before, after = _differing(before, after)
    if not before or not after:
        return len(before) + len(after)
    # as many as are counted in the time that the table takes
    few = _few(before, after, int((len(before) * (4 + len(after) / 200)) ** 0.5))
    return _table(before, after) if few is None else few


def _few(before: list[str], after: list[str], most: int) -> int | None:
    """The distance if it is at most `most`, else None: how far into `before` n edits reach on
    each diagonal, for n = 0, 1, ... (Ukkonen, Information and Control 64, 1985). Time grows
    with the square of the distance, not with the product of the lengths."""
    rows, columns = len(before), len(after)
    if abs(rows - columns) > most:
        return None
    reach: dict[int, int] = {0: -1}
    for edits in range(most + 1):
        further = {}
        for shift in range(-edits, edits + 1):
            row = max(
                reach.get(shift, -2) + 1,
                reach.get(shift - 1, -2),
                reach.get(shift + 1, -2) + 1,
            )
            row = min(row, rows, columns - shift)
            if row < 0 or row + shift < 0:
                continue
            while row < rows and row + shift < columns and before[row] == after[row + shift]:
                row += 1
            further[shift] = row
        if further.get(columns - rows) == rows:
            return edits
        reach = further
    return None


def _table(before: list[str], after: list[str]) -> int:
    """A row of the table at a time. An insertion looks at its left neighbour in the same row:
    out[j] = min over i <= j of (step[i] + j - i), a running minimum of step[i] - i."""
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
    start = _shared(before, after)
    before, after = before[start:], after[start:]
    end = _shared(before[::-1], after[::-1])
    return before[: len(before) - end], after[: len(after) - end]


def _shared(before: Sequence[str], after: Sequence[str]) -> int:
    """Length of the common beginning; slices are compared much faster than one by one."""
    same, differs = 0, min(len(before), len(after)) + 1
    while differs - same > 1:
        middle = (same + differs) // 2
        if before[same:middle] == after[same:middle]:
            same = middle
        else:
            differs = middle
    return same


def affords(before: str, after: str, budget: Budget, similarity: float | None = None) -> bool:
    """Whether there is no `complaint` about this edit; counts no further than the budget."""
    if before == after:
        return True
    if not budget.whole_text:
        if budget.words is not None and not _within(*_other_words(before, after), budget.words):
            return False
        if budget.characters is not None and not _within(
            list(before), list(after), budget.characters
        ):
            return False
    least = budget.similarity
    return least is None or similarity is None or similarity >= least


def _other_words(before: str, after: str) -> tuple[list[str], list[str]]:
    """The words of both from the first that differs to the last; blanks cut words apart."""
    shared = before[: _shared(before, after)]
    start = max(shared.rfind(blank) for blank in " \n\t") + 1
    before, after = before[start:], after[start:]
    shared = before[::-1][: _shared(before[::-1], after[::-1])]
    end = max(shared.rfind(blank) for blank in " \n\t") + 1
    return split(before[: len(before) - end]), split(after[: len(after) - end])


def _within(before: list[str], after: list[str], most: int) -> bool:
    """Of texts that differ, also where no word does: then one counts all the same."""
    return most > 0 and _few(*_differing(before, after), most) is not None


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
