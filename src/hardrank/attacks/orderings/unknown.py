"""The slots that matter most to hide come first."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.types import spec

__all__ = ["Unknown"]


@spec
class Unknown:
    """How much the attacker gains when a word is replaced by one that says nothing; the most
    first, ties as read.

    The replace-1 score of DeepWordBug (Gao et al., 2018, arXiv:1801.04354, section III-B) and
    the importance of BERT-Attack (Li et al., EMNLP 2020, arXiv:2004.09984, equation 2), which
    hides the word behind the model's mask. Unlike leaving it out, it keeps the length. W
    queries, fewer if the budget has fewer; slots that were not asked come last.
    """

    kind: Literal["unknown"] = "unknown"
    token: str = "[UNK]"
    """What stands in the word's place: whatever the victim's tokenizer does not know."""

    def __call__(self, draft: Draft, aim: Aim, rng: np.random.Generator) -> Sequence[int]:
        slots = [s for s, word in enumerate(draft.words) if word]
        left = aim.view.left
        asked = slots if left is None else slots[:left]
        texts = [draft.put(s, self.token).text for s in asked]
        gains = aim(texts).values if asked else np.zeros(0)
        order = [asked[n] for n in np.argsort(-gains, kind="stable")]
        return [*order, *(s for s in range(len(draft.words)) if s not in set(order))]
