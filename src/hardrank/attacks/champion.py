"""The best text so far: what attacks that ask for batches of whole texts share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.data import Edit, Patch
from hardrank.threats import Demote, Promote, RankView
from hardrank.types import Ints

__all__ = ["Champion", "bestsellers", "pursue"]

Worth = tuple[float, float]
"""(share of users who get it, soft exposure), negative for `Demote`."""


@dataclass(eq=False)
class Champion:
    """Starts as the text that stands there; only what gains more takes its place.

    More users of the panel count first, and among equals the soft exposure of `Aim`. A climb
    of many small steps needs the slope of the latter alone; where one of a hundred whole
    texts is chosen, it prefers a text that comes a little nearer to everybody to one that
    arrives at some.
    """

    aim: Aim
    text: str
    worth: Worth
    reached: bool = False
    asked: dict[str, Worth] = field(default_factory=dict)
    """What was asked for so far, and what it was worth."""

    @classmethod
    def of(cls, aim: Aim) -> "Champion":
        shown = float((aim.margins[aim.users] > 0).mean())
        return cls(aim, aim.text, (aim.sign * shown, float(aim.standing.values[0])))

    def challenge(self, texts: Sequence[str]) -> bool:
        """Ask for those of the texts that are affordable, one query each; whether one of
        them is the new champion."""
        asked = self.aim.affordable(texts)
        if not asked:
            return False
        worths, reached = self._weigh(asked)
        self.asked |= zip(asked, worths, strict=True)
        best = max(range(len(asked)), key=lambda n: (reached[n], *worths[n], -n))
        if (reached[best], worths[best]) <= (self.reached, self.worth):
            return False
        self.text, self.worth, self.reached = asked[best], worths[best], reached[best]
        return True

    def _weigh(self, texts: Sequence[str]) -> tuple[list[Worth], list[bool]]:
        margins, ranks = self.aim.observe(texts)
        found = self.aim.weigh(margins, ranks)
        shown = self.aim.sign * (margins[self.aim.users] > 0).mean(axis=0)
        worths = list(zip(shown.tolist(), found.values.tolist(), strict=True))
        return worths, found.reached.tolist()


def pursue(view: RankView, goal: Promote | Demote, search: Callable[[Champion], None]) -> Patch:
    """Run a search for each item of the goal that somebody can be shown, and that does not
    meet `until` as it stands."""
    edits: list[Edit] = []
    for target in goal.items:
        aim = Aim.of(view, target, goal)
        if aim is None or aim.standing.reached[0]:
            continue
        champion = Champion.of(aim)
        search(champion)
        if champion.text != aim.text:
            edits.append(view.edit(target, champion.text))
    return Patch(tuple(edits))


def bestsellers(titles: Sequence[str | None], popularity: Ints, own: str, most: int) -> list[str]:
    """`most` distinct titles other than `own`, from the most popular items down."""
    order = np.argsort(-popularity, kind="stable").tolist()
    ranked = dict.fromkeys(titles[n] for n in order)
    return [t for t in ranked if t and t != own][:most]
