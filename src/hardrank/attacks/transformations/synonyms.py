"""Put a word of the same meaning in the place of a word."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop
from hardrank.attacks.protected import is_protected
from hardrank.language.wordnet import PartOfSpeech, Thesaurus, find_wordnet
from hardrank.types import Count, spec

__all__ = ["Synonyms"]


@spec
class Synonyms:
    """Replace a word by its synonyms in WordNet, those that share most synsets first.

    Ren et al., ACL 2019 (PWWS), section 3.1. The paper tags parts of speech and replaces
    named entities too; here all readings of a word are tried unless `pos` says which, and
    names stay. Fillings follow the word as it stood at first, so that meaning does not drift
    over several exchanges. Raises `Unsupported` where there is no WordNet.
    """

    kind: Literal["synonyms"] = "synonyms"
    path: str = ""
    """WordNet file (`hardrank.language.wordnet`); empty for the one in the data folder."""
    pos: PartOfSpeech | None = None
    """Part of speech to read words as; None for all."""
    most: Count = 30
    """Synonyms of a word."""
    protected: bool = True
    """Leave numbers, units, prices and brands as they are; see `attacks.protected`."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        path = Path(self.path) if self.path else find_wordnet()
        if self.protected and is_protected(draft, slot, shop):
            return ()
        found = _synonyms(path, draft.original[slot], self.pos)
        return [word for word in found if word != draft.words[slot]][: self.most]


@lru_cache(maxsize=65536)
def _synonyms(path: Path, word: str, pos: PartOfSpeech | None) -> tuple[str, ...]:
    return Thesaurus.load(path).synonyms(word, pos)
