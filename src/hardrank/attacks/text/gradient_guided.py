"""White box: any transformations, led by what the victim's inside foretells."""

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import MinLen

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.foresight import Foresight, ascend, between
from hardrank.attacks.parts import Shop
from hardrank.attacks.trail import moves
from hardrank.attacks.transformations import AnyTransformation, InsertWords, SubstituteWords
from hardrank.data import Edit, Patch
from hardrank.threats import Budget, Demote, GradientView, Promote
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["GradientGuided"]


@spec
class GradientGuided:
    """Try the fillings that a forecast promises most of, score them exactly, keep the best.

    The search of `gradient-words` for transformations of your choice: synonyms, look-alikes,
    words that a language model finds fitting. What a word does that the victim's tokenizer
    cuts to pieces is foretold too, by how it reads alone. Each step costs one query for the
    reading and `rescored` for the answers.
    """

    needs: ClassVar[Knowledge] = "gradients"
    uses: ClassVar[Knowledge] = "gradients"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["gradient-guided"] = "gradient-guided"
    transformations: Annotated[tuple[AnyTransformation, ...], MinLen(1)] = (
        InsertWords(vocabulary=300),
        SubstituteWords(vocabulary=300),
    )
    """What may stand in a slot; candidates of all are weighed together."""
    rescored: Count = 50
    """Texts scored exactly at each step."""
    patience: Count = 3
    """Steps in a row without a gain before it stops."""

    def __call__(
        self, view: GradientView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        shop, edits = Shop.of(view), list[Edit]()

        def propose(sight: Foresight, slots: Sequence[int]) -> Iterator[Draft]:
            now = sight.draft
            made = list(moves(now, slots, self.transformations, shop, rng))
            changes = [_difference(now, draft) for draft in made]
            order = np.argsort(-sight.values(changes), kind="stable") if made else ()
            return (made[n] for n in order)

        for target in goal.items:
            aim = Aim.of(view, target, goal)
            if aim is None or aim.standing.reached[0]:
                continue
            text = ascend(aim, budget, propose, rescored=self.rescored, patience=self.patience)
            if text != aim.text:
                edits.append(view.edit(target, text))
        return Patch(tuple(edits))


def _difference(now: Draft, then: Draft) -> tuple[tuple[str, int], ...]:
    pairs = zip(now.words, then.words, strict=True)
    return tuple(entry for old, new in pairs if old != new for entry in between(old, new))
