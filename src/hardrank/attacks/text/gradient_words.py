"""White box: any word of the catalogue in any place, foretold by the victim's inside."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.foresight import Foresight, ascend, between
from hardrank.attacks.parts import Shop
from hardrank.attacks.vocabulary import Positions, said
from hardrank.data import Edit, Patch
from hardrank.language.forms import like, shell
from hardrank.recommender import Change
from hardrank.threats import Budget, Demote, GradientView, Promote
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["GradientWords"]

_SHORT = 200
"""Words that promise most when they join the text as it stands: only they are tried in place
of others, as thousands of words times all slots would take seconds."""


@spec
class GradientWords:
    """Insert words, put them in place of others, leave words out: whatever the victim's inside
    foretells to gain most, with exact re-scoring of the best before anything is kept.

    Our own; the loop is that of greedy coordinate gradient (Zou et al., 2023,
    arXiv:2307.15043, algorithm 1), which swaps tokens by the gradient of their embeddings.
    That gradient hardly foretells what a word does to a sentence encoder, so here candidates
    are ranked by `GradientView.forecast`: the victim's own head on the text's vector moved
    towards a word's. Exact for bags of words. Once the budget of words is full, single edits
    are exchanged for better ones. Each step costs one query for the reading and `rescored`
    for the answers; 300 to 470 for three words.
    """

    needs: ClassVar[Knowledge] = "gradients"
    uses: ClassVar[Knowledge] = "gradients"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["gradient-words"] = "gradient-words"
    vocabulary: Count = 5000
    """Candidate words: the most bought words of the catalogue."""
    positions: Positions = ("front", "end")
    """Where a word may be inserted."""
    replace: bool = True
    """Also put words in place of others, and leave words out."""
    rescored: Count = 50
    """Texts scored exactly at each step."""
    patience: Count = 5
    """Steps in a row without a gain before it stops."""

    def __call__(
        self, view: GradientView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        shop, edits = Shop.of(view), list[Edit]()
        for target in goal.items:
            aim = Aim.of(view, target, goal)
            if aim is None or aim.standing.reached[0]:
                continue
            text = ascend(
                aim, budget, _Neighbours(self, shop), rescored=self.rescored,
                patience=self.patience,
            )  # fmt: skip
            if text != aim.text:
                edits.append(view.edit(target, text))
        return Patch(tuple(edits))


@dataclass(frozen=True)
class _Move:
    """One filling of one slot of a draft."""

    base: Draft
    slot: int
    word: str
    """Empty for leaving out what stands there."""
    place: Literal["front", "end", "instead"]

    @property
    def draft(self) -> Draft:
        now = self.base.words[self.slot]
        if self.place == "instead" or not now:
            before, core, after = shell(now)
            filling = before + like(self.word, core) + after if self.word else ""
        else:
            filling = f"{self.word} {now}" if self.place == "front" else f"{now} {self.word}"
        return self.base.put(self.slot, filling)


@dataclass(frozen=True)
class _Neighbours:
    """`Proposals`: texts that one edit more, or one edit exchanged for another, leads to."""

    spec: GradientWords
    shop: Shop

    def __call__(self, sight: Foresight, slots: Sequence[int]) -> Iterator[Draft]:
        draft = sight.draft
        words = self._words(sight)
        moves, changes = list[_Move | None](), list[Change]()
        undone = [(s, draft.put(s, draft.original[s])) for s in draft.touched]
        everywhere = range(len(draft.words))
        for base, open_to, back in [
            (draft, slots, ()),
            *((d, everywhere, between(draft.words[s], d.words[s])) for s, d in undone),
        ]:
            made = list(self._moves(base, open_to, words))
            moves += made
            changes += [(*back, *_change(move)) for move in made]
        order = np.argsort(-sight.values(changes), kind="stable") if changes else ()
        return (moves[n].draft for n in order)

    def _words(self, sight: Foresight) -> list[str]:
        """The shortlist, most promising first."""
        there = said(sight.draft.text)
        fresh = [w for w in self.shop.vocabulary(self.spec.vocabulary) if w not in there]
        if not fresh:
            return []
        gains = sight.values([((word, 1),) for word in fresh])
        return [fresh[n] for n in np.argsort(-gains, kind="stable")[:_SHORT]]

    def _moves(self, base: Draft, slots: Sequence[int], words: Sequence[str]) -> Iterator[_Move]:
        last = len(base.words) - 1
        for slot in slots:
            if "front" in self.spec.positions and slot == 0:
                yield from (_Move(base, slot, word, "front") for word in words)
            if "end" in self.spec.positions and slot == last:
                yield from (_Move(base, slot, word, "end") for word in words)
            if self.spec.replace and base.words[slot]:
                yield _Move(base, slot, "", "instead")
                yield from (_Move(base, slot, word, "instead") for word in words)


def _change(move: _Move) -> Change:
    leaves = between(move.base.words[move.slot], "") if move.place == "instead" else ()
    return (*leaves, (move.word, 1)) if move.word else leaves
