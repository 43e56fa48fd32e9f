"""Each slot's best filling, put in by saliency times gain."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Ordering, Shop, Transformation
from hardrank.attacks.trail import Trail, moves
from hardrank.threats import Budget
from hardrank.types import spec

__all__ = ["Weighted"]


@spec
class Weighted:
    """Find each slot's best filling by itself; then put them in, one after the other, in the
    order of softmax(saliency) x gain.

    The search of PWWS (Ren et al., ACL 2019, section 3.2, equations 4 to 8). Saliency is what
    the attacker gains when the word is unknown; ours asks for the last step in one batch and
    keeps the best. It is a search and not an ordering, because the order follows from what
    the fillings gain. S slots with F fillings and a budget of n words cost S + S F + n queries
    however many words are edited. Where they do not reach, the later fillings of each slot
    are left out; slots that a given `ordering` leaves out are not touched.
    """

    kind: Literal["weighted"] = "weighted"
    unknown: str = "[UNK]"
    """What stands for an unknown word while saliency is measured."""

    def __call__(
        self,
        aim: Aim,
        transformations: Sequence[Transformation],
        ordering: Ordering,
        budget: Budget,
        shop: Shop,
        rng: np.random.Generator,
    ) -> str:
        trail, draft = Trail.of(aim), Draft.of(aim.text)
        saliency = self._saliency(draft, ordering(draft, aim, rng), aim)
        near = moves(draft, list(saliency), transformations, shop, rng)
        drafts = trail.fresh(near, _all_but(aim.view.left, budget.words))
        values = trail.ask(list(drafts)).values
        if trail.reached:
            return trail.text
        start, gains = trail.asked[aim.text], dict[int, tuple[float, str]]()
        for text, value in zip(drafts, values.tolist(), strict=True):
            slot = drafts[text].touched[0]
            if value - start > gains.get(slot, (0.0, ""))[0]:
                gains[slot] = value - start, drafts[text].words[slot]
        # The sum of the softmax is the same for all slots, so it needs no division.
        most = max(saliency.values(), default=0.0)
        order = sorted(gains, key=lambda s: -np.exp(saliency[s] - most) * gains[s][0])
        longer = []
        for slot in order:
            draft = draft.put(slot, gains[slot][1])
            longer.append(draft)
        trail.ask(list(trail.fresh(longer)))
        return trail.text

    def _saliency(self, draft: Draft, slots: Sequence[int], aim: Aim) -> dict[int, float]:
        """Slot -> gain when its word is unknown; 0 for those that the queries do not reach, and
        for all where the text as it stands is worth nothing to compare with."""
        known = [s for s in slots if draft.words[s]][: aim.view.left]
        start, found = float(aim.standing.values[0]), dict.fromkeys(slots, 0.0)
        if known and np.isfinite(start):
            gains = aim([draft.put(s, self.unknown).text for s in known]).values - start
            found.update(zip(known, np.nan_to_num(gains).tolist(), strict=True))
        return found


def _all_but(left: int | None, kept: int | None) -> int | None:
    return left if left is None or kept is None else max(left - kept, 0)
