"""Words that a masked language model expects: in the place of a word, or beside it."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.own_lm import OwnLM, expected, inserted
from hardrank.attacks.parts import Shop
from hardrank.attacks.protected import is_protected
from hardrank.types import Count, spec

__all__ = ["MaskedLMInsert", "MaskedLMReplace"]


@spec
class MaskedLMReplace:
    """Replace a word by what a masked language model expects there, likeliest first.

    Li et al., EMNLP 2020 (BERT-Attack), arXiv:2004.09984, section 3.2, with `masked` off: the
    word is left where it is while the model predicts. `masked` on hides it, as BAE does (Garg
    and Ramakrishnan, EMNLP 2020, arXiv:2004.01970). One forward pass for all slots of a text.
    """

    kind: Literal["masked-lm"] = "masked-lm"
    model: OwnLM = OwnLM()
    """The attacker's language model."""
    most: Count = 30
    """Words a slot."""
    masked: bool = False
    """Hide the word while the model predicts."""
    protected: bool = True
    """Leave numbers, units, prices and brands as they are; see `attacks.protected`."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        if not draft.words[slot] or (self.protected and is_protected(draft, slot, shop)):
            return ()
        found = expected(self.model, shop, draft, self.most, self.masked)[slot]
        return [word for word in found if word != draft.words[slot]]


@spec
class MaskedLMInsert:
    """Insert a word that a masked language model expects before a slot, or after the last.

    The Insert of CLARE (Li et al., NAACL 2021, arXiv:2009.07502, section 2.2) and of BAE.
    """

    kind: Literal["masked-lm-insert"] = "masked-lm-insert"
    model: OwnLM = OwnLM()
    """The attacker's language model."""
    most: Count = 30
    """Words a place."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        return inserted(self.model, shop, draft, self.most)[slot]
