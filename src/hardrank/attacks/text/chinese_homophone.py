"""Chinese titles that sound or look as before."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import MinLen

from hardrank.attacks.orderings import AnyOrdering, Importance
from hardrank.attacks.parts import compose
from hardrank.attacks.searches import AnySearch, Greedy
from hardrank.attacks.transformations import ChineseCharacters
from hardrank.attacks.transformations.chinese_characters import Way
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["ChineseHomophone"]


@spec
class ChineseHomophone:
    """Replace the Chinese characters that matter most by ones that sound or look alike.

    Argot (Zhang et al., IJCAI 2020): homophones, glyphs, pinyin and traditional forms, as
    readers of Chinese are used to from chats and from goods that filters forbid. The paper
    picks words by their importance to a classifier and edits them by fixed rules; here every
    character is a word (see `hardrank.wording`), ordered by the attacker's gain when it is
    left out, and the alternative that gains most is kept. Texts without Chinese characters
    are left as they are. With I ways and W characters at most W + I W candidates queries,
    fewer once the budget is full.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["chinese-homophone"] = "chinese-homophone"
    ways: Annotated[tuple[Way, ...], MinLen(1)] = ("homophone", "glyph", "pinyin")
    """What is tried: `homophone`, `glyph`, `pinyin`, `script` (traditional, simplified)."""
    candidates: Count = 4
    """Alternatives of each way, the most alike first."""
    table: Path | None = None
    """A table of your own: character TAB pinyin TAB look-alikes TAB traditional form; none for
    the built-in one of 1,490 common characters."""
    ordering: AnyOrdering = Importance()
    """Which characters are tried first."""
    search: AnySearch = Greedy()
    """What is asked for and kept."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        alike = ChineseCharacters(ways=self.ways, candidates=self.candidates, table=self.table)
        return compose(
            view, goal, budget, rng, transformations=(alike,), ordering=self.ordering,
            search=self.search,
        )  # fmt: skip
